"""The engine ray on a real cluster of two nodes: the bytes of the local engine, whatever dies on the way; what kills workers is named."""

import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.conftest import textured
from tests.evaluation.sets import make_set, tiny_choice
from tests.face_sets import make_face_set
from tests.photo_makers import build_deadly, build_plain, write_photos
from tests.ray_jobs import at_items, kill_worker, on_node, squared, start, started_with
from tests.recognition_weights import write_tiny_identity

from legan.augmentation import augment
from legan.core.cluster import run_on_ray
from legan.core.errors import ConfigError, LeganError
from legan.data.manifest import read_manifest
from legan.editing.folders import edit_photos
from legan.evaluation.benchmark import evaluate
from legan.quality import scorer
from legan.quality.scorer import score_images, score_in_parts
from legan.requests import AugmentationRequest, EditRequest, Engine, EvaluationRequest
from legan_faces3d.photos import build_photo_set, list_photos

ray = pytest.importorskip("ray", reason="the engine ray needs Ray: pip install 'legan[bulk]'")

pytestmark = pytest.mark.slow

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
    "worker_niceness": 0,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and a second node, of one CPU each; this process is connected to it."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200_000_000}
    head = {"include_dashboard": False, "_system_config": QUICK_TO_NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
    cluster.second = cluster.add_node(**node)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Twenty crops, one image without a face and one that is broken."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for i in range(20):
        textured(128, 128, seed=i).save(folder / f"{i:02d}.png")
    Image.new("RGB", (200, 150), (90, 120, 160)).save(folder / "sky.png")
    (folder / "broken.png").write_text("no image")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(function: Callable[[Any], Any], jobs: Any, **options: Any) -> list[Any]:
    return list(run_on_ray(function, jobs, 2, start, (1,), **options))


def test_every_job_is_done_once_drawn_as_workers_are_free_and_errors_come_through(cluster: Any) -> None:
    drawn = []
    results = run_on_ray(started_with, (drawn.append(job) or job for job in range(40)), 2, start, (1,))
    first = [next(results) for _ in range(3)]
    assert len(drawn) <= 5, "two workers, three results"
    assert sorted([*first, *results]) == list(range(1, 41)), "the job and what each worker was started with"
    assert run(squared, []) == []
    with pytest.raises(ConfigError, match="-1 is negative: give another"):
        run(squared, [-1])


def test_it_is_said_that_the_cluster_has_no_room(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(self: logging.Logger, text: str, *values: object) -> None:
        raise InterruptedError(text % values)  # it would wait for ever

    monkeypatch.setattr("legan.core.cluster._PATIENCE_S", 0.5)
    monkeypatch.setattr("logging.Logger.warning", warn)
    with pytest.raises(
        InterruptedError, match=r"no worker has started for 0\.5 s: the cluster has no free CPU \(or GPU\) for one"
    ):
        run(squared, [1], gpus=1)


def test_what_fails_twice_is_named_and_the_rest_done(cluster: Any) -> None:
    results = run(at_items, [["a", "kill", "c"], ["a", "slow", "c"]], timeout_s=3)
    assert sorted(results) == [
        ["A", "a worker died twice at this image: left out", "C"],
        ["A", "a worker took more than 3 s twice at this image: left out", "C"],
    ]


def test_a_job_that_names_no_item_fails_with_its_name(cluster: Any) -> None:
    with pytest.raises(LeganError, match="a worker died 2 times at the job SIGKILL: run it alone to see why"):
        run(kill_worker, ["SIGKILL"])


def test_scores_and_edits_are_those_of_local_processes(
    cluster: Any, crops: Path, tmp_path: Path, tiny_quality: Path, tiny_editor: Path
) -> None:
    request = EditRequest(expression="smile", lightings=("left",), face="aligned")
    tables = {}
    for name, driver in (("local", None), ("ray", run_on_ray)):
        score_images([crops], tmp_path / f"{name}.csv", tiny_quality, run=driver)
        tables[name] = (tmp_path / f"{name}.csv").read_bytes()
        report = edit_photos([crops], tmp_path / name, request, tiny_editor, n_workers=2 if driver else 1, run=driver)
        assert report.n_edited == 21 and list(report.failed) == [crops / "broken.png"]
    assert tables["local"] == tables["ray"]
    assert bytes_of(tmp_path / "local") == bytes_of(tmp_path / "ray")


def test_sets_are_those_of_local_processes_without_what_kills_workers(cluster: Any, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", ["a_1.png", "a_2.png", "b_1.png"])
    options = {"identity_from_name": "^[a-z]", "source": "s", "licence": "l"}
    build_photo_set(tmp_path / "local", list_photos(photos, **options), {"version": 1}, build_plain)
    write_photos(photos / "more", ["b_deadly.png"])
    entries = list_photos(photos, **options)
    report = build_photo_set(tmp_path / "ray", entries, {"version": 1}, build_deadly, 1, run=run_on_ray)
    assert [(drop.file, drop.detail) for drop in report.dropped] == [
        ("b_deadly.png", "a worker died twice at this image: left out")
    ]
    local, other = (read_manifest(tmp_path / name) for name in ("local", "ray"))
    assert len(local) == 6 and local.equals(other)


def test_measures_and_augmented_sets_are_those_of_local_processes(
    cluster: Any, tmp_path: Path, tiny_quality: Path, tiny_editor: Path
) -> None:
    drawn, people = make_set(tmp_path / "drawn"), make_face_set(tmp_path / "people", n_identities=3, size=128, lightings=(0,))
    identity = write_tiny_identity(tmp_path / "identity.safetensors")
    networks = tiny_choice(tmp_path / "networks", tiny_quality)
    asked = EvaluationRequest((str(drawn),), (f"a={tiny_editor}",), n=16, n_resamples=2)
    wanted = AugmentationRequest("relight:1", editor=tiny_editor, quality=tiny_quality, identity=str(identity))
    for name, driver in (("local", None), ("ray", run_on_ray)):
        evaluate(asked, tmp_path / name / "report", networks, run=driver)
        augment(people, tmp_path / name / "more", wanted, run=driver)
    local, other = bytes_of(tmp_path / "local"), bytes_of(tmp_path / "ray")
    assert local.keys() == other.keys() and {"report/images.csv", "more/manifest.parquet"} <= local.keys()
    assert [name for name in local if local[name] != other[name] and not name.endswith(("report.json", ".npz"))] == []


KILLED = """
from legan.core.cluster import run_on_ray
from legan.quality import scorer
scorer.PART_SIZE = 2
scorer.score_in_parts([{crops!r}], {out!r}, {weights!r}, n_workers=1, run=lambda *a, **o: run_on_ray(*a, address={address!r}, **o))
"""


def test_a_killed_driver_resumes(
    cluster: Any, crops: Path, tmp_path: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "PART_SIZE", 2)
    out = tmp_path / "ray"
    words = {"crops": str(crops), "out": str(out), "weights": str(tiny_quality), "address": cluster.address}
    driver = subprocess.Popen([sys.executable, "-c", KILLED.format(**words)])
    while len(list(out.glob("shards/*.parquet"))) < 3:
        assert driver.poll() is None, "killed while it works"
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("shards/*.parquet")}
    assert 3 <= len(made) < 11
    result = score_in_parts([crops], out, tiny_quality, run=run_on_ray)
    assert (result.n_images, result.n_scored) == (22, 20)
    assert made.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("shards/*.parquet")}.items()
    score_in_parts([crops], tmp_path / "local", tiny_quality)
    assert bytes_of(tmp_path / "local") == bytes_of(out)


def test_a_killed_worker_and_a_killed_node_lose_and_double_nothing(cluster: Any, tmp_path: Path) -> None:
    """The last test: the second node is gone after it."""
    results = []
    for job, node in run_on_ray(partial(on_node, tmp_path / "flag"), range(30), 2, start, (1,)):
        results.append((job, node))
        if len(results) == 10:
            cluster.second.all_processes["raylet"][0].process.kill()
    assert (tmp_path / "flag").exists(), "a worker was killed"
    assert sorted(job for job, _ in results) == list(range(30))
    nodes = Counter(node for _, node in results)
    # How many each did is a matter of when the killed node's workers end.
    assert min(nodes[one.node_id] for one in (cluster.second, cluster.head_node)) >= 3, "both worked"


def test_options_of_the_engine() -> None:
    assert Engine().driver() is None
    driver = Engine("ray", "ray://head:10001", 0.5).driver()
    assert isinstance(driver, partial) and driver.keywords == {"address": "ray://head:10001", "gpus": 0.5}
    with pytest.raises(ConfigError, match="add --engine ray"):
        Engine(address="auto").driver()
    with pytest.raises(ConfigError, match="unknown --engine 'rays': choose from local, ray; did you mean 'ray'"):
        Engine("rays").driver()
