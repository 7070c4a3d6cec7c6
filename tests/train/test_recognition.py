"""Training of the identity network: resume, learning, drawing, margins, export."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import draw_face, make_face_set, png, row
from tests.train.tasks import InterruptAt, same

from legan.core.config import load_config
from legan.core.errors import ConfigError, DataError
from legan.core.weights import load_metadata, load_weights
from legan.data.faces import FaceDataset
from legan.data.manifest import split_of, write_manifest
from legan.models.lightcnn import load_lightcnn
from legan.train import identity as training
from legan.train.identity import (
    PRESETS,
    WEIGHTS,
    IdentityBatches,
    IdentityConfig,
    build_identity,
    changed,
    with_margin,
)
from legan.train.loop import Rehearsal
from legan.train.recipes import RECIPES, export_run
from legan.train.run_folder import newest_checkpoint

CPU = torch.device("cpu")
TINY = [
    *("network.widths=[4, 6, 6, 6, 4]", "data.batch_size=4", "precision=fp32"),
    *("loop.n_steps=12", "loop.log_every=3", "loop.sample_every=6", "loop.checkpoint_every=100"),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn", n_identities=20, size=128, lightings=(0, 13))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each of ten people, three of whom are among those of `faces`, as plain files."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    folder.mkdir()
    rows = []
    for person in range(10):
        for expression in ("neutral", "smile"):
            name = f"{person}_{expression}.png"
            (folder / name).write_bytes(png(draw_face(person, expression == "smile", 0, 128)))
            source = "drawn" if person < 3 else "photographed"
            facts = {"domain": "photo", "split": split_of(person), "source": source, "licence": "CC-BY-4.0"}
            rows.append(row(f"d{person:03d}", expression, "00", path=name, **facts))
    write_manifest(rows, folder)
    return folder


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert RECIPES["identity"].train("lite", [faces], folder, TINY).finished
    return folder


def config(*overrides: str, data: tuple[Path, ...] = ()) -> IdentityConfig:
    made = load_config(IdentityConfig, overrides=[*TINY, *overrides], base=PRESETS["lite"])
    return replace(made, data=replace(made.data, folders=tuple(str(folder) for folder in data)))


def test_five_steps_resumed_for_seven_equal_twelve(
    run: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: IdentityConfig, device: torch.device):
        task, batches = build_identity(config, device)
        return task, InterruptAt(batches, 4)

    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "identity", replace(RECIPES["identity"], build=interrupted))
        stopped = RECIPES["identity"].train("lite", [faces], tmp_path / "parts", TINY)
    assert stopped.n_steps_done == 5 and not (tmp_path / "parts" / WEIGHTS).exists()
    assert RECIPES["identity"].train("lite", [faces], tmp_path / "parts", TINY).finished
    whole, parts = newest_checkpoint(run), newest_checkpoint(tmp_path / "parts")
    assert whole["n_steps_done"] == 12 and same(whole, parts)
    assert (run / WEIGHTS).read_bytes() == (tmp_path / "parts" / WEIGHTS).read_bytes()


def test_a_run_leaves_weights_that_say_what_they_are(run: Path) -> None:
    net, metadata = load_lightcnn(run / WEIGHTS)
    assert net.fc2 is None and net.config.widths == (4, 6, 6, 6, 4)
    assert metadata == load_metadata(run / WEIGHTS)
    assert metadata["model"] == "legan-identity" and metadata["steps"] == 12 and metadata["seed"] == 0
    assert metadata["data"] == "drawn: 16 people, 192 images" and metadata["licence"] == "CC0-1.0"
    assert metadata["training"]["data"]["folders"] == ["drawn"]
    assert str(run.parent) not in json.dumps(metadata), "no path of this machine"
    average = newest_checkpoint(run)["networks"]["ema"]
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, average[name].half().float())
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    figures = next(line for line in lines if "val/render/auc" in line)
    assert 0 <= figures["val/render/tar"] <= 1 and 0 <= figures["val/render/auc"] <= 1


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people with patterns of their own for faces, each under four slopes of light."""
    folder = tmp_path_factory.mktemp("patterns") / "patterns"
    folder.mkdir()
    rows = []
    for person in range(6):
        pattern = np.random.default_rng(person).uniform(0, 1, (8, 8, 1)).repeat(16, 0).repeat(16, 1)
        for light in range(4):
            slope = np.linspace(1 - 0.2 * light, 0.4 + 0.2 * light, 128)[:, None, None]
            name = f"{person}_{light}.png"
            (folder / name).write_bytes(png((255 * pattern * slope).repeat(3, 2).astype(np.uint8)))
            rows.append(row(f"p{person}", "neutral", f"{light:02d}", path=name, split="val" if person > 3 else "train"))
    write_manifest(rows, folder)
    return folder


@pytest.mark.parametrize("kind", ["softmax", "cosface", "arcface"])
def test_it_learns_to_tell_people_apart(patterns: Path, tmp_path: Path, kind: str) -> None:
    settings = [
        *TINY,
        *(f"margin.kind={kind}", "margin.n_rise_steps=0", "margin.scale=8", "margin.margin=0.1", "data.augment=0.0"),
        *("network.dropout=0.0", "data.batch_size=8", "optimizer.lr=0.005", "optimizer.warmup_steps=1", "loop.n_steps=30"),
        *("optimizer.weight_decay=0.0", "loop.log_every=5", "loop.sample_every=100"),
    ]
    RECIPES["identity"].train("lite", [patterns], tmp_path / "run", settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["net/loss"] for line in lines if "net/loss" in line]
    assert losses[-1] < 0.6 * losses[0], losses
    assert [line["accuracy"] for line in lines if "accuracy" in line][-1] > 0.8, "of four people"


def test_every_person_and_domain_is_drawn_as_often(faces: Path, photos: Path) -> None:
    data = config(data=(faces, photos)).data
    drawn = FaceDataset([faces, photos], "train", ())
    assert drawn.person.max() + 1 == len(np.unique(drawn.person)) == 16 + 5, "three people are in both folders"
    batches = IdentityBatches(drawn, data, seed=3)
    indices = np.array([batches._draw(np.random.default_rng([3, i])) for i in range(4000)])
    assert np.bincount(drawn.folder[indices]) / 4000 == pytest.approx([0.5, 0.5], abs=0.03)
    of_faces = np.bincount(drawn.person[indices[drawn.folder[indices] == 0]], minlength=21)
    assert of_faces[of_faces > 0] / of_faces.sum() == pytest.approx(np.full(16, 1 / 16), abs=0.02)
    both = drawn.person[drawn.domain == "photo"]
    assert set(both) & set(drawn.person[drawn.domain == "render"])


def test_batches_do_not_depend_on_the_number_of_processes(faces: Path) -> None:
    batches = IdentityBatches(FaceDataset([faces], "train", ()), config(data=(faces,)).data, seed=1)
    whole, halves = batches(7, 0, 1), [batches(7, rank, 2) for rank in range(2)]
    for name in ("image", "person"):
        assert torch.equal(whole[name], torch.stack([half[name] for half in halves], 1).flatten(0, 1))
    assert not torch.equal(whole["image"], batches(8, 0, 1)["image"])
    assert whole["image"].shape == (4, 3, 128, 128) and whole["image"].abs().max() <= 1


def test_changed_images_are_functions_of_the_random_state() -> None:
    crop = draw_face(3, 1, 7, 128)
    first, again, other = (changed(crop, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.dtype == np.uint8 and first.shape == crop.shape
    plain = changed(crop, np.random.default_rng(0), strength=0.0)
    assert np.array_equal(plain, crop) or np.array_equal(plain, crop[:, ::-1])


def test_margins_equal_their_definitions() -> None:
    torch.manual_seed(0)
    cosine, person = torch.rand(50, 4) * 2 - 1, torch.randint(0, 4, (50,))
    own = torch.nn.functional.one_hot(person, 4).bool()
    assert torch.allclose(with_margin(cosine, person, "cosface", 0.3), torch.where(own, cosine - 0.3, cosine))
    turned = with_margin(cosine, person, "arcface", 0.4)
    angle = cosine.acos()
    easy = own & (angle + 0.4 < np.pi)
    assert torch.allclose(turned[easy], (angle[easy] + 0.4).cos(), atol=1e-3)
    assert torch.equal(turned[~own], cosine[~own]) and (turned[own] < cosine[own]).all()


def test_changed_data_is_noticed_on_resume(faces: Path) -> None:
    task, _ = build_identity(config(data=(faces,)), CPU)
    state = task.extra_state()
    task.data = [{**task.data[0], "manifest_sha256": "other"}]
    with pytest.raises(DataError, match="data has changed"):
        task.load_extra_state(state)


def test_what_cannot_be_trained_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lightcnn29'"):
        RECIPES["identity"].configure("lightcn29", [], Path())
    with pytest.raises(ConfigError, match="weights"):
        build_identity(config("data.weights=[1.0, 2.0]", data=(faces,)), CPU)
    with pytest.raises(ConfigError, match="n_classes"):
        build_identity(config("network.n_classes=3", data=(faces,)), CPU)
    with pytest.raises(DataError, match="no data"):
        RECIPES["identity"].train("lite", [], tmp_path / "run", TINY)


def test_dry_run_writes_nothing(faces: Path, tmp_path: Path) -> None:
    plan = RECIPES["identity"].train("lite", [faces], tmp_path / "run", TINY, dry_run=True)
    assert isinstance(plan, Rehearsal) and plan.n_steps == 12 and not (tmp_path / "run").exists()


def test_export_writes_what_the_training_left(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported.safetensors"
    export_run(run, out, ["too few people"])
    assert load_metadata(out) == {**load_metadata(run / WEIGHTS), "known_faults": ["too few people"]}
    assert same(load_weights(out)[0], load_weights(run / WEIGHTS)[0])


def test_many_people_are_paired_by_lot(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_N_PAIRED", 10)
    task, _ = build_identity(config(data=(faces,)), CPU)
    figures = task.evaluate(0)
    assert figures and all(0 <= value <= 1 for value in figures.values())
