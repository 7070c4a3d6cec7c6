"""Speed of workers on Ray beside local processes, and the memory of the process that drives them.

    python benchmarks/bulk.py speed [--n 400] [--side 768 | --photos FOLDER ...] [--verbs score edit]
    python benchmarks/bulk.py memory [--rows 1000 100000] [--input manifest]
    python benchmarks/bulk.py kills [--n 240] [--kills 10]

`speed` scores and edits photos with two local processes, one Ray actor and two, on a cluster of one node on this machine. The photos
are as `benchmarks/stages.py` makes them, or copies of the files of `--photos` in turn, up to `--n`. Photos a second of wall time are
counted from the first job done to the last, without the start of the workers. On a machine that others use too they say little; so two
figures stand beside that other work changes less: the processor time of a photo in the workers, and the share of the time in which a
worker has a job. On free cores the speed is the workers' number times that share, by the processor time.

`memory` scores rows that a stub answers at once, since only the driver is looked at: the peak of its resident memory, in a process of
its own for each number of rows. The rows are those of a Parquet manifest, or empty files in a folder.

`kills` scores crops on a cluster of two nodes and kills (SIGKILL), as parts come in, in turns the process of an actor and the second node,
which is then replaced; what is lost, double or of other bytes than by one local process is counted.
"""

import argparse
import importlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), LEGAN_PRECISION="fp32")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers give way to all else by default; local processes do not

import numpy as np
import pandas as pd
from PIL import Image

from legan.core.cluster import run_on_ray
from legan.core.listing import find_images
from legan.core.weights import asset
from legan.core.workers import RunJobs
from legan.editing import folders
from legan.quality import scorer
from legan.quality.scorer import ScoreResult, score_in_parts
from legan.requests import EditRequest

JOB = 8  # photos of a job, so that all workers have several


def speed(n: int, side: int, sources: Sequence[Path], verbs: Sequence[str]) -> None:
    """Print photos a second, and the ratios of the speeds."""
    import ray
    from benchmarks.stages import photos

    ray.init("local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as place, mock.patch.object(scorer, "PART_SIZE", JOB):
        folder = Path(place) / "photos"
        folder.mkdir()
        if sources:
            files = find_images(sources)
            for i in range(n):
                shutil.copy(files[i % len(files)], folder / f"{i:06d}{files[i % len(files)].suffix}")
        else:
            photos(folder, side, n)
        what = f"made of {len(files)} files" if sources else f"of {side} pixels"
        print(f"n={n} photos {what}\n| verb | workers | load before | photos/s | processor ms a photo | with a job |")
        print("| --- | --- | --- | --- | --- | --- |")
        ratios = []
        for verb in verbs:
            rates = {}
            for name, n_workers, run in (("2 local", 2, None), ("1 Ray", 1, run_on_ray), ("2 Ray", 2, run_on_ray)):
                out, load = Path(place) / f"{verb} {name}", os.getloadavg()[0]
                log = Path(place) / f"log {verb} {name}"
                log.mkdir()
                rates[name] = rate = _rate(partial(_work, verb, folder, out, n_workers, run, log))
                milliseconds, busy = _of_workers(log, n)
                print(f"| {verb} | {name} | {load:.1f} | {rate:.2f} | {milliseconds:.1f} | {busy:.1%} |", flush=True)
            of_one, of_local = rates["2 Ray"] / rates["1 Ray"], rates["2 Ray"] / rates["2 local"]
            ratios.append(f"{verb}: 2 Ray is {of_one:.2f} times 1 Ray, and {of_local:.2f} times 2 local")
        print("", *ratios, sep="\n")


def _work(
    verb: str, folder: Path, out: Path, n_workers: int, run: RunJobs | None, log: Path, done: Callable[[int], None]
) -> None:
    owner, name = (scorer, "_score_job") if verb == "score" else (folders, "_edit_group")
    with mock.patch.object(owner, name, Timed(owner.__name__, name, log)):
        if verb == "score":
            score_in_parts([folder], out, n_workers=n_workers, run=run, progress=lambda n_done, n: done(n_done))
            return
        with mock.patch.object(folders, "shown_progress", partial(_Counted, done)):
            wanted = EditRequest(expression="smile", lightings=("left",))
            folders.edit_photos([folder], out, wanted, n_workers=n_workers, run=run)


class Timed:
    """A worker's function that writes down when each of its jobs began and ended, and its processor time."""

    def __init__(self, module: str, name: str, log: Path) -> None:
        self.module, self.name, self.log = module, name, log

    def __call__(self, job: Any) -> Any:
        """Do the job."""
        function = getattr(importlib.import_module(self.module), self.name)  # in a worker nothing stands in its place
        start, processor = time.time(), time.process_time()
        result = function(job)
        with open(self.log / str(os.getpid()), "a") as file:
            file.write(f"{start} {time.time()} {time.process_time() - processor}\n")
        return result


def _of_workers(log: Path, n: int) -> tuple[float, float]:
    """Milliseconds of processor time a photo, and the share of the time with a job, both without each worker's first, which loads."""
    seconds = busy = whole = 0.0
    n_jobs = n_first = 0
    for path in log.iterdir():
        jobs = np.loadtxt(path, ndmin=2)
        n_jobs, n_first = n_jobs + len(jobs), n_first + 1
        seconds += jobs[1:, 2].sum()
        # Up to its last job: then another worker may still have one.
        busy += (jobs[1:, 1] - jobs[1:, 0]).sum()
        whole += jobs[-1, 1] - jobs[0, 1]
    return 1000 * seconds / (n * (n_jobs - n_first) / n_jobs), busy / whole


class _Counted:
    """In place of a progress bar."""

    def __init__(self, done: Callable[[int], None], *_: Any, **__: Any) -> None:
        self._done, self._n = done, 0

    def __enter__(self) -> Callable[[], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        pass

    def _advance(self) -> None:
        self._n += 1
        self._done(self._n)


def _rate(work: Callable[[Callable[[int], None]], None]) -> float:
    """Photos a second, from the first done."""
    times: list[tuple[int, float]] = []
    work(lambda n_done: times.append((n_done, time.perf_counter())))
    (first, start), (last, end) = times[0], times[-1]
    return (last - first) / (end - start)


def memory(rows: Sequence[int], kind: str) -> None:
    """Print the driver's peak memory."""
    print(f"| rows ({kind}) | peak, MB | seconds | rows a second of the driver's processor time |\n| --- | --- | --- | --- |")
    for n in rows:
        subprocess.run([sys.executable, __file__, "driver", "--rows", str(n), "--input", kind], check=True)


def stub(job: tuple[int, tuple[Sequence[Any], str]]) -> tuple[int, list[ScoreResult]]:
    """In place of the scoring of a part."""
    number, (images, _) = job
    return number, [ScoreResult(str(image), 5.0, 1.0) for image in images]


def nothing(load: Any) -> None:
    """In place of the start of a worker."""


def driver(n: int, kind: str) -> None:
    """Score rows by the stub, and print the peak of this process."""
    import ray

    with tempfile.TemporaryDirectory() as place:
        given = Path(place) / "images"
        given.mkdir()
        names = [f"{i // 1000:04d}/a name of usual length {i:09d}.jpg" for i in range(n)]
        if kind == "manifest":
            given = given / "manifest.parquet"
            pd.DataFrame({"path": names}).to_parquet(given)
        else:
            for name in names:
                (given / name).parent.mkdir(exist_ok=True)
                (given / name).touch()
        del names
        ray.init("local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
        start, processor = time.perf_counter(), time.process_time()
        with mock.patch.multiple(scorer, _score_job=stub, keep=nothing):
            result = score_in_parts([given], Path(place) / "out", n_workers=2, run=run_on_ray)
        assert result.n_scored == n, result
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = n / (time.process_time() - processor)
    print(f"| {n} | {peak:.0f} | {time.perf_counter() - start:.0f} | {rate:.0f} |", flush=True)


def kills(n: int, n_kills: int) -> None:
    """Print what kills of actors and nodes cost."""
    import psutil
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200_000_000}
    config = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
    head = {**node, "include_dashboard": False, "_system_config": {**config, "worker_niceness": 0}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**node)
    ray.init(cluster.address, log_to_driver=False)
    killed = {"actor": 0, "node": 0}
    with tempfile.TemporaryDirectory() as place, mock.patch.object(scorer, "PART_SIZE", 4):
        crops = Path(place) / "crops"
        crops.mkdir()
        sources = sorted(asset("faces").glob("r*.png"))
        for i in range(n):
            random = np.random.default_rng(i)
            pixels = np.asarray(Image.open(sources[i % len(sources)]).convert("RGB"))
            noisy = (pixels + random.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(crops / f"{i:05d}.png")
        every = n // (n_kills + 2)

        def progress(n_done: int, n_listed: int) -> None:
            nonlocal second
            if n_done < every * (1 + sum(killed.values())) or sum(killed.values()) == n_kills:
                return
            if sum(killed.values()) % 2:
                second.all_processes["raylet"][0].process.kill()
                second = cluster.add_node(**node)
                killed["node"] += 1
            else:
                processes = psutil.process_iter(["cmdline"])
                actors = [one for one in processes if (one.info["cmdline"] or [""])[0].startswith("ray::_Worker")]
                if actors:  # else both are being started: at the next part
                    actors[0].kill()
                    killed["actor"] += 1

        result = score_in_parts([crops], Path(place) / "ray", n_workers=2, run=run_on_ray, progress=progress)
        score_in_parts([crops], Path(place) / "local")
        tables = [pd.read_parquet(Path(place) / name / "shards") for name in ("ray", "local")]
        files = [
            {path.name: path.read_bytes() for path in (Path(place) / name / "shards").iterdir()} for name in ("ray", "local")
        ]
    lost, double = len(set(tables[1]["image"]) - set(tables[0]["image"])), int(tables[0]["image"].duplicated().sum())
    print(
        f"{n} crops, killed: {killed}; lost {lost}, double {double}, equal bytes: {files[0] == files[1]}; {result.n_scored} scored"
    )
    ray.shutdown()
    cluster.shutdown()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=("speed", "memory", "kills", "driver"))
    words.add_argument("--n", type=int)
    words.add_argument("--side", type=int, default=768)
    words.add_argument("--photos", type=Path, nargs="+", default=[], help="folders whose photos are used instead")
    words.add_argument("--verbs", nargs="+", default=["score", "edit"], choices=("score", "edit"))
    words.add_argument("--kills", type=int, default=10)
    words.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000])
    words.add_argument("--input", choices=("manifest", "folder"), default="manifest")
    given = words.parse_args()
    if given.what == "speed":
        speed(given.n or 400, given.side, given.photos, given.verbs)
    elif given.what == "kills":
        kills(given.n or 240, given.kills)
    elif given.what == "memory":
        memory(given.rows, given.input)
    else:
        driver(given.rows[0], given.input)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
