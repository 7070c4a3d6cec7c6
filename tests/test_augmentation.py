"""`legan augment`: what is made of whom, what passes, and that a run that was killed ends as any other."""

import json
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.conftest import landmarks_at
from tests.face_sets import draw_face, make_face_set, png, row
from tests.recognition_weights import write_tiny_identity
from tests.shard_jobs import make_shards_here
from typer.testing import CliRunner

from legan import augmentation
from legan.augmentation import N_ATTEMPTS, ImageCounts, LabelMap, Policy, ShardAugmenter, augment, level, set_quotas
from legan.cli import app
from legan.core.errors import ConfigError, DataError
from legan.core.files import make_folder
from legan.data.faces import LabelledFaces
from legan.data.manifest import read_bytes, read_manifest, write_manifest
from legan.models.editors import Attempt, Codes, Networks
from legan.models.generator import GeneratorOutput
from legan.requests import AugmentationRequest


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, tiny_editor: Path, tiny_quality: Path) -> dict[str, object]:
    identity = write_tiny_identity(tmp_path_factory.mktemp("identity") / "identity.safetensors")
    return {"editor": tiny_editor, "quality": tiny_quality, "identity": str(identity)}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people, eight of them for training; smiles of the first five only, surprise of the first alone."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    make_face_set(folder, n_identities=10, size=128, lightings=(0, 7))
    frame = read_manifest(folder)
    number = frame["identity"].str[1:].astype(int)
    kept = frame["expression"].eq("neutral") | (frame["expression"].eq("smile") & (number < 5))
    kept |= (frame["expression"].eq("surprise") & (number < 1)) | (number >= 8)
    rows = frame[kept].astype(object).where(frame[kept].notna(), None).to_dict("records")
    write_manifest(rows, folder)
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards, made in this process."""

    monkeypatch.setattr(augmentation, "N_SOURCES", 8)
    make_shards_here(monkeypatch)


def made(folder: Path) -> pd.DataFrame:
    frame = read_manifest(folder)
    return frame[frame["synthetic"]]


def test_two_lights_for_each_training_image(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    before = read_manifest(faces)
    report = augment(faces, tmp_path / "out", AugmentationRequest("relight:2", **networks))
    after, new = read_manifest(tmp_path / "out"), made(tmp_path / "out")
    n_train = int((before["split"] == "train").sum())
    assert report.n_original == len(before) and report.n_synthetic == len(new) == 2 * n_train
    assert set(new["split"]) == {"train"} and set(new["domain"]) == {"generated"}
    assert not set(new["identity"]) & set(before.loc[before["split"] != "train", "identity"]), "nobody who is tested"
    for _, group in new.groupby("source_image"):
        assert len(set(group["lighting"])) == 2 and group["target_expression"].eq("own").all()
    sources = before.assign(name=before["path"].str.removesuffix(".tar") + "/" + before["key"]).set_index("name")
    for one in new.to_dict("records"):
        source = sources.loc[one["source_image"]]
        assert (one["identity"], one["expression"]) == (source["identity"], source["expression"])
        assert one["lighting"] == one["target_lighting"] != source["lighting"]
    assert new["editor"].nunique() == 1 and len(new["editor"].iloc[0]) == 64
    assert new["quality"].between(0, 10).all() and new["match"].between(-1, 1).all() and (new["attempt"] == 1).all()
    assert report.before == report.after | {label: n for label, n in report.before.items()}
    assert sum(report.after.values()) == 3 * n_train
    kept = after[~after["synthetic"]]
    assert list(kept["sha256"]) == list(before["sha256"]), "originals are the same bytes, in the same order"
    assert read_bytes(tmp_path / "out", kept.iloc[0].to_dict()) == read_bytes(faces, before.iloc[0].to_dict())


def test_the_result_trains_like_the_first(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    first, second = LabelledFaces([faces], "train"), LabelledFaces([tmp_path / "out"], "train")
    assert len(second) == 2 * len(first) and set(second.person) == set(first.person)
    assert LabelledFaces([faces, tmp_path / "out"], "train").person.max() == first.person.max(), "the same people"


def test_rare_expressions_become_as_frequent(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    report = augment(faces, tmp_path / "out", AugmentationRequest("balance-expressions", **networks))
    assert report.before == {"neutral": 16, "smile": 10, "surprise": 2}
    assert report.after == {"neutral": 16, "smile": 16, "surprise": 16} and report.n_synthetic == 20
    new = made(tmp_path / "out")
    assert new["source_image"].str.contains("neutral").all(), "made of neutral faces"
    assert (new["expression"] == new["target_expression"]).all() and not new["sha256"].duplicated().any()
    assert (new["target_lighting"] == "own").all()
    assert new.groupby("expression")["identity"].nunique().to_dict() == {"smile": 6, "surprise": 8}, "spread over the people"
    assert set(new.loc[new["expression"] == "smile", "lighting"]) <= {"00", "07"}


@pytest.mark.slow
def test_no_two_images_of_a_face_are_the_same(networks: dict[str, object], tmp_path: Path) -> None:
    """Few neutral faces for many rare images, and lights that the manifest does not know."""
    folder = make_face_set(tmp_path / "faces", n_identities=10, size=128, lightings=(0, 7))
    frame = read_manifest(folder)
    number = frame["identity"].str[1:].astype(int)
    kept = frame["expression"].eq("smile") | (frame["expression"].isin(["neutral", "surprise"]) & (number < 2))
    frame = frame[kept].assign(lighting="")
    write_manifest(frame.astype(object).where(frame.notna(), None).to_dict("records"), folder)
    for policy in ("balance-expressions", "relight:9", "both:9"):
        out = tmp_path / policy.replace(":", "-")
        augment(folder, out, AugmentationRequest(policy, **networks))
        new = made(out)
        assert not new.duplicated(["source_image", "expression", "target_lighting"]).any() and len(new) > 20
        if policy == "balance-expressions":
            assert (new["target_lighting"] == "own").any(), "the first under its own light"


def test_both_gives_the_new_expressions_lights_too(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    report = augment(faces, tmp_path / "out", AugmentationRequest("both", ratio=1.5, **networks))
    new = made(tmp_path / "out")
    assert len(new) == round(1.5 * 28) and (new["target_lighting"] != "own").all()
    filled = new["target_expression"] != "own"
    assert filled.sum() == round(42 * 20 / 48), "20 are lacking and 28 may be relit: both are cut down alike"
    assert report.after["surprise"] >= 15 and set(new.loc[~filled, "expression"]) >= {"neutral", "smile"}


def test_images_are_what_the_editor_gives(
    faces: Path, networks: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle: the editor's own door, asked for the same thing, without the rounding of bfloat16."""
    monkeypatch.setattr(augmentation, "mixed_dtype", lambda precision, device: None)
    from legan.editing.loader import load_editor
    from legan.matching import match_images
    from legan.quality.scorer import load_quality

    augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    one = made(tmp_path / "out").iloc[3].to_dict()
    source = read_manifest(tmp_path / "out").set_index("source_image").loc[one["source_image"]].query("~synthetic").iloc[0]
    for name, facts in (("edit", one), ("source", source.to_dict())):
        (tmp_path / f"{name}.png").write_bytes(read_bytes(tmp_path / "out", facts))
    editor = load_editor(networks["editor"])
    wanted = editor(tmp_path / "source.png", one["expression"], one["target_lighting"], face="aligned")
    with Image.open(tmp_path / "edit.png") as image:
        difference = np.abs(np.asarray(wanted.image, int) - np.asarray(image, int))
    assert difference.max() <= 1
    assert load_quality(networks["quality"])(tmp_path / "edit.png") == pytest.approx(one["quality"], abs=1e-3)
    found = match_images(tmp_path / "source.png", tmp_path / "edit.png", networks["identity"])
    assert found.score == pytest.approx(one["match"], abs=1e-3)


def test_an_editor_that_keeps_is_not_asked_for_what_stays(
    faces: Path, networks: dict[str, object], keeping_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    plain = Networks.translate

    def noted(self: Networks, x: torch.Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        asked.append((codes.expression.sum(1), codes.lighting.sum(1)))
        return plain(self, x, codes, batch_size)

    monkeypatch.setattr(Networks, "translate", noted)
    augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **{**networks, "editor": keeping_editor}))
    assert asked and all((light == 1).all() and (expression == 0).all() for expression, light in asked)


def test_what_the_editor_refuses_is_tried_under_other_lights_and_counted(
    faces: Path, networks: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Networks.attempt

    def first_refused(self: Networks, x: torch.Tensor, codes: Codes, batch_size: int = 16) -> Attempt:
        return Attempt(plain(self, x, codes, batch_size).image, np.arange(len(x)) == 0)

    monkeypatch.setattr(Networks, "attempt", first_refused)
    report = augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    new, n_shards = made(tmp_path / "out"), len(list((tmp_path / "out" / "shards").glob("*.tar")))
    refused = report.rejected["refused by the editor"]
    assert n_shards <= refused <= N_ATTEMPTS * n_shards and report.n_given_up > 0
    assert len(new) == report.n_synthetic == 28 - report.n_given_up


def test_rejected_images_are_made_again_at_most_three_times(
    faces: Path, networks: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: dict[tuple[int, int], list[str]] = {}
    plain = ShardAugmenter._target

    def noted(self: ShardAugmenter, row: dict, wish: augmentation.PlannedEdit, attempt: int) -> tuple[str, str]:
        found = plain(self, row, wish, attempt)
        tries.setdefault((row["row"], wish.number), []).append(found[1])
        return found

    monkeypatch.setattr(ShardAugmenter, "_target", noted)
    free = augment(faces, tmp_path / "free", AugmentationRequest("relight:1", **networks))
    bound = float(made(tmp_path / "free")["match"].median())
    tries.clear()
    report = augment(faces, tmp_path / "out", AugmentationRequest("relight:1", min_match=bound, **networks))
    new = made(tmp_path / "out")
    assert (new["match"] >= bound - 1e-4).all() and new["attempt"].between(1, N_ATTEMPTS).all()
    lengths = [len(lights) for lights in tries.values()]
    assert max(lengths) <= N_ATTEMPTS and all(len(set(lights)) == len(lights) for lights in tries.values()), "other targets"
    assert sum(lengths) == len(new) + report.rejected["below min-match"]
    assert len(new) + report.n_given_up == free.n_synthetic
    none = augment(faces, tmp_path / "none", AugmentationRequest("relight:1", min_quality=10.0, **networks))
    assert none.n_synthetic == 0 and none.n_given_up == 28 and none.rejected == {"below min-quality": 28 * N_ATTEMPTS}


def test_nobody_who_is_tested_comes_into_training(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    frame = read_manifest(faces)
    frame.loc[frame.index[-1], "split"] = "train"  # one image of a person whose others are for testing
    folder = tmp_path / "mixed"
    shutil.copytree(faces, folder)
    write_manifest(frame.astype(object).where(frame.notna(), None).to_dict("records"), folder)
    with pytest.raises(DataError, match=r"identity 'd009' in more than one split"):
        augment(folder, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    assert not (tmp_path / "out").exists()


def test_unknown_labels_are_named_or_mapped(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    frame = read_manifest(faces).replace({"expression": {"smile": "happy", "surprise": "fear"}})
    folder = tmp_path / "other"
    shutil.copytree(faces, folder)
    write_manifest(frame.astype(object).where(frame.notna(), None).to_dict("records"), folder)
    report = augment(folder, tmp_path / "out", AugmentationRequest("balance-expressions", **networks))
    assert report.after == {"fear": 2, "happy": 16, "neutral": 16} and report.unmakeable == ["fear"]
    assert "--map fear=EXPRESSION" in str(report)
    new = made(tmp_path / "out")
    assert set(new["expression"]) == {"happy"} and set(new["target_expression"]) == {"smile"}
    report = augment(
        folder, tmp_path / "mapped", AugmentationRequest("balance-expressions", names=("fear=scream",), **networks)
    )
    assert report.after["fear"] == 16 and report.unmakeable == []
    report = augment(folder, tmp_path / "new", AugmentationRequest("balance-expressions", names=("grim=squint",), **networks))
    assert report.before["grim"] == 0 and report.after["grim"] == 16, "a label that the data does not have begins at none"


def test_images_that_are_no_crops_are_aligned_by_the_manifest(networks: dict[str, object], tmp_path: Path) -> None:
    """An image of 256 pixels whose alignment halves it."""
    folder = tmp_path / "wide"
    folder.mkdir()
    large = draw_face(3, 1, 7, 128).repeat(2, 0).repeat(2, 1)
    (folder / "large.png").write_bytes(png(large))
    (folder / "none.png").write_bytes(png(large))
    facts = row("p", "neutral", "07", path="large.png", alignment=[0.5, 0, 0, 0, 0.5, 0])
    write_manifest([facts], folder)
    augment(folder, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    assert np.array_equal(LabelledFaces([tmp_path / "out"], "train").images([0])[0], draw_face(3, 1, 7, 128))
    write_manifest([facts | {"path": "none.png", "alignment": None}], folder)
    with pytest.raises(DataError, match=r"none.png of .* is 256x256 pixels .*legan import"):
        augment(folder, tmp_path / "again", AugmentationRequest("relight:1", **networks))


def test_orders_fill_the_rarest_first() -> None:
    assert level({"a": 10, "b": 2, "c": 0}, 10, 100) == {"a": 0, "b": 8, "c": 10}
    assert level({"a": 10, "b": 2, "c": 0}, 10, 5) == {"a": 0, "b": 1, "c": 4}
    assert level({"a": 10, "b": 2, "c": 0}, 10, 6) == {"a": 0, "b": 2, "c": 4}
    counts = ImageCounts(100, {"neutral": 50, "smile": 20, "sad": 3, "": 7})
    quotas = set_quotas(counts, Policy.parse("both:2"), 0.5, LabelMap())
    assert quotas.filled == {"smile": round(40 * 30 / 190)} and quotas.n_relit == 34 and quotas.unmakeable == ("sad",)
    quotas = set_quotas(counts, Policy.parse("both:2"), None, LabelMap())
    assert quotas.filled == {"smile": 30} and quotas.n_relit == 160
    assert set_quotas(counts, Policy.parse("relight"), None, LabelMap()).n_relit == 80


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            AugmentationRequest("relit:2"),
            "unknown policy 'relit:2': choose from balance-expressions, relight:2, both; did you mean 'relight:2'",
        ),
        (AugmentationRequest("relight:0"), "unknown policy"),
        (AugmentationRequest("relight:2", ratio=0.0), "--ratio 0 is out of range"),
        (AugmentationRequest("relight:2", min_quality=11.0), "--min-quality 11 is out of range"),
        (AugmentationRequest("relight:2", names=("happy=sad",)), "cannot read --map 'happy=sad'"),
        (AugmentationRequest("relight:2", seed=-1), "--seed -1 is out of range"),
    ],
)
def test_wrong_wishes_are_refused(faces: Path, tmp_path: Path, request_: AugmentationRequest, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        augment(faces, tmp_path / "out", request_)
    assert not (tmp_path / "out").exists()


def test_another_request_or_other_files_are_not_mixed(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    first = augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **networks))
    assert augment(faces, tmp_path / "out", AugmentationRequest("relight:1", **networks)) == first, "all is there already"
    with pytest.raises(DataError, match="made with seed 0, not 1"):
        augment(faces, tmp_path / "out", AugmentationRequest("relight:1", seed=1, **networks))
    with pytest.raises(DataError, match="is augmented already"):
        augment(tmp_path / "out", tmp_path / "twice", AugmentationRequest("relight:1", **networks))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match="holds other files"):
        augment(faces, tmp_path / "mine", AugmentationRequest("relight:1", **networks))
    with pytest.raises(DataError, match=r"is not a data set.*people="):
        augment(tmp_path / "mine", tmp_path / "new", AugmentationRequest("relight:1", **networks))
    with pytest.raises(DataError, match="as frequent as the others"):
        augment(
            make_face_set(tmp_path / "even", 3, 128, (0,)),
            tmp_path / "new",
            AugmentationRequest("balance-expressions", **networks),
        )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Runs the command with small shards and one process, and stops for ever once two shards are there, so that it can be killed.
STALLING = """
import sys, time
from legan import augmentation
from legan.data import shards

def jobs(function, places, n_workers, start, arguments, apart):
    start(*arguments)
    yield from map(function, places)

class Slow(shards.ShardWriter):
    def add(self, key, data):
        time.sleep(100_000 if "000002" in self.path.name else 0)
        return super().add(key, data)

augmentation.N_SOURCES, shards.run_jobs, shards.ShardWriter = 8, jobs, Slow
from legan.cli import app
app(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_run_ends_as_one_run(faces: Path, networks: dict[str, object], tmp_path: Path) -> None:
    words = ["augment", str(faces), "--policy", "relight:2", "--min-match", "0.3", "--seed", "5", "--json", "-o"]
    words[2:2] = [word for name, value in networks.items() for word in (f"--{name}", str(value))]
    out, once = tmp_path / "out", tmp_path / "once"
    process = subprocess.Popen([sys.executable, "-c", STALLING, *words, str(out)], stdout=subprocess.DEVNULL)
    while not list((out / "shards").glob(".000002*")):  # as long as it takes on a busy machine
        assert process.poll() is None, "it ended before the third shard"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert len(list((out / "shards").iterdir())) == 3 and not (out / "manifest.parquet").exists()

    again, whole = (CliRunner().invoke(app, [*words, str(folder)]) for folder in (out, once))
    assert again.exit_code == 0, again.output
    first, second = json.loads(again.stdout), json.loads(whole.stdout)
    assert first.pop("manifest") == str(out / "manifest.parquet") and second.pop("manifest")
    assert first == second and first["n_synthetic"] == 56 - first["n_given_up"]
    ours, theirs = contents(out), contents(once)
    assert len(list((out / "shards").iterdir())) == 7 and ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name != "report.json"), "but for its folder's name"


def test_memory_does_not_grow_with_the_data(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the rows: the plan and the manifest are streams. Images are the shard's alone."""
    for name in ("N_SOURCES", "ROWS_AT_ONCE"):
        monkeypatch.setattr(augmentation, name, 256)
    frame = read_manifest(faces)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    peaks = []
    for n in (2000, 2000, 6000):
        folder = make_folder(tmp_path / str(n))
        write_manifest((rows[i % len(rows)] for i in range(n)), folder)
        tracemalloc.start()
        counts = augmentation.count_images(folder)
        quotas = set_quotas(counts, Policy.parse("both"), None, LabelMap())
        augmentation.write_plan(folder, folder / "plan.parquet", counts, quotas, LabelMap(), 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    wanted = pd.read_parquet(tmp_path / "6000" / "plan.parquet")["wanted"].map(len)
    assert wanted.sum() == quotas.n_relit + sum(quotas.filled.values())
    assert peaks[2] < 1.3 * peaks[1], peaks


def affectnet(folder: Path) -> Path:
    """Nine images of 200 pixels with the face in a corner, in AffectNet's layout of eight labels: five neutral, two happy, two tested."""
    for number, (split, code) in enumerate([("train_set", 0)] * 5 + [("train_set", 1)] * 2 + [("val_set", 1), ("val_set", 0)]):
        for part in ("images", "annotations"):
            (folder / split / part).mkdir(parents=True, exist_ok=True)
        image = np.full((200, 200, 3), 30, np.uint8)
        image[60:188, 50:178] = draw_face(number, code, 0, 128)
        Image.fromarray(image).save(folder / split / "images" / f"{number}.png")
        stem = folder / split / "annotations" / str(number)
        np.save(f"{stem}_exp.npy", np.array(str(code)))
        np.save(f"{stem}_lnd.npy", landmarks_at(50, 60, 128).ravel())
    return folder


def test_a_public_layout_in_one_command(networks: dict[str, object], tmp_path: Path) -> None:
    """Aligned by its own landmarks, augmented, and the aligned originals not kept twice."""
    source = f"affectnet={affectnet(tmp_path / 'AffectNet')}"
    request = AugmentationRequest("balance-expressions", **networks)
    report = augment(source, tmp_path / "out", request)
    assert report.before == {"happy": 2, "neutral": 5} and report.after == {"happy": 5, "neutral": 5}
    assert not (tmp_path / "out" / "imported").exists()
    frame = read_manifest(tmp_path / "out")
    assert sorted(frame.loc[frame["split"] == "val", "expression"]) == ["happy", "neutral"]
    assert set(frame.loc[frame["synthetic"], "expression"]) == {"happy"} and frame["identity"].nunique() == 9
    crop = LabelledFaces([tmp_path / "out"], "train").images([0])[0].astype(int)
    assert np.abs(crop - draw_face(0, 0, 0, 128)).mean() < 12, "the face is where crops have it"
    assert augment(source, tmp_path / "out", request) == report, "finished: nothing is imported again"
    assert not (tmp_path / "out" / "imported").exists()
    with pytest.raises(DataError, match="made with policy balance-expressions, not relight:1"):
        augment(source, tmp_path / "out", AugmentationRequest("relight:1", **networks))
