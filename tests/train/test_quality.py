"""Training of Q: it learns, resumes bit for bit, fine-tunes, and its weights say what they were made from."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.rated_sets import make_rated_set, write_labels
from tests.train.tasks import same

from legan.core.config import load_config
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.weights import load_metadata
from legan.data.degradations import degrade
from legan.data.rated import RatedBatches, RatedImages, shifted
from legan.data.ratings import read_labels
from legan.models.quality import load_quality_net
from legan.train import quality as quality_ranks
from legan.train.config import LoopConfig
from legan.train.hooks import _lines
from legan.train.loop import Outcome, Rehearsal
from legan.train.quality import PRESETS, WEIGHTS, QualityTrainingConfig, RankedBatches, build_quality
from legan.train.recipes import RECIPES
from legan.train.run_folder import newest_checkpoint
from legan.train.task import reseed


def train_quality(
    preset: str, data: list[Path], labels: Path | None, run: Path, settings: Sequence[str] = (), init: Path | None = None
) -> Outcome | Rehearsal:
    return RECIPES["quality"].train(preset, data, run, settings, init=init, labels=labels)


SMALL = ["network.size=64", "network.width=4", "network.n_hidden=8", "data.batch_size=16", "precision=fp32"]


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rated")
    data = make_rated_set(folder / "set")
    return data, write_labels(data, folder / "labels.csv")


def test_learns_and_logs(rated: tuple[Path, Path], tmp_path: Path) -> None:
    words = [
        *SMALL,
        "network.width=8",
        "optimizer.lr=2e-3",
        "loop.n_steps=150",
        "loop.sample_every=75",
        "optimizer.warmup_steps=10",
        "optimizer.ema_decay=0.9",
    ]
    outcome = train_quality("lite", [rated[0]], rated[1], tmp_path / "run", words)
    assert outcome.finished
    figures = [line for line in _lines(tmp_path / "run" / "log.jsonl") if "val/pearson" in line]
    assert figures[-1]["val/pearson"] > 0.8 and figures[-1]["val/spearman"] > 0.7 and figures[-1]["val/mae"] < 2
    assert list((tmp_path / "run" / "samples").glob("step_*.png"))


@pytest.mark.parametrize("loss", ["margin", "squared-hinge", "l2", "nll"])
def test_each_loss_moves_the_scores_towards_the_labels(rated: tuple[Path, Path], tmp_path: Path, loss: str) -> None:
    words = [
        *SMALL,
        "network.width=8",
        f"loss={loss}",
        "optimizer.lr=6e-3",
        "optimizer.warmup_steps=1",
        "loop.n_steps=120",
        "optimizer.ema_decay=0.5",
        "loop.sample_every=120",
    ]
    train_quality("lite", [rated[0]], rated[1], tmp_path / "run", words)
    errors = [line["val/mae"] for line in _lines(tmp_path / "run" / "log.jsonl") if "val/mae" in line]
    assert errors[-1] < 2.1  # a constant 5 has 2.28
    state = newest_checkpoint(tmp_path / "run")
    assert state is not None and state["networks"]["ema"]["out.weight"].shape[0] == 2


def test_five_steps_and_seven_equal_twelve(rated: tuple[Path, Path], tmp_path: Path) -> None:
    from lightning_fabric import Fabric

    from legan.core.config import load_config
    from legan.train.loop import fit
    from legan.train.run_folder import load_task_state, task_state

    words = [*SMALL, f"data.folders={[str(rated[0])]}", f"data.labels={str(rated[1])!r}"]
    config = load_config(QualityTrainingConfig, overrides=words, base=PRESETS["lite"])

    def trained(start: int, stop: int, state: dict | None) -> dict:
        reseed(0, -1)
        task, batches = build_quality(config, torch.device("cpu"))
        if state is not None:
            load_task_state(task, state)
        fit(Fabric(accelerator="cpu", devices=1), task, batches, LoopConfig(n_steps=stop), [], start)
        return task_state(task, stop)

    whole = trained(0, 12, None)
    parts = trained(5, 12, trained(0, 5, None))
    assert same(whole, parts)


def test_weights_say_what_they_were_made_from(rated: tuple[Path, Path], tmp_path: Path) -> None:
    train_quality("lite", [rated[0]], rated[1], tmp_path / "run", [*SMALL, "loop.n_steps=2"])
    net, metadata = load_quality_net(tmp_path / "run" / WEIGHTS)
    assert net.config.width == 4 and not net.training and not any(p.requires_grad for p in net.parameters())
    assert metadata["data"] == "drawn: 16 people, 64 images, raters: as the label file gives them"
    assert metadata["licence"] == "CC0-1.0" and metadata["steps"] == 2
    assert metadata["training"]["data"]["folders"] == ["set"] and metadata["training"]["data"]["labels"] == "labels.csv"
    assert str(tmp_path) not in str(metadata)

    # Fine-tuning starts from these weights, whatever shape the preset has, and says so.
    again = train_quality(
        "lite", [rated[0]], rated[1], tmp_path / "tuned", ["loop.n_steps=1", "optimizer.lr=1e-9"], tmp_path / "run" / WEIGHTS
    )
    assert again.finished
    tuned = load_quality_net(tmp_path / "tuned" / WEIGHTS)[0]
    for before, after in zip(net.parameters(), tuned.parameters(), strict=True):
        torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-3)
    facts = load_metadata(tmp_path / "tuned" / WEIGHTS)
    assert facts["init"]["steps"] == facts["n_steps_before"] == 2
    assert facts["images_seen"] == metadata["images_seen"] + 64 == 2 * 16 + 64


def test_what_cannot_be_trained_is_refused(rated: tuple[Path, Path], tmp_path: Path) -> None:
    data, labels = rated
    with pytest.raises(ConfigError, match="--ratings"):
        train_quality("lite", [data], None, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"network\.head"):
        train_quality("lite", [data], labels, tmp_path / "b", [*SMALL, "loss=nll", 'network.head="mean"'])
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        train_quality("light", [data], labels, tmp_path / "c")
    with pytest.raises(DataError, match="64x64 pixels, not 128x128"):
        train_quality("lite", [data], labels, tmp_path / "d")
    text = labels.read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([text[0], "nowhere.png,5,1,train"]))
    with pytest.raises(DataError, match=r"nowhere\.png"):
        train_quality("lite", [data], tmp_path / "other.csv", tmp_path / "e", SMALL)
    (tmp_path / "mixed.csv").write_text(
        "\n".join([*text[:5], text[1].replace("p000_0.png", "p001_0.png").replace("train", "val")])
    )
    (tmp_path / "split.csv").write_text("\n".join([*text[:3], text[3].replace("train", "val"), *text[4:]]))
    with pytest.raises(DataError, match="in different splits"):
        train_quality("lite", [data], tmp_path / "split.csv", tmp_path / "f", SMALL)
    with pytest.raises(WeightsError, match="does not exist"):
        train_quality("lite", [data], labels, tmp_path / "g", SMALL, tmp_path / "none.safetensors")


def test_ratings_of_two_folders_keep_the_splits_of_both(tmp_path: Path) -> None:
    """Images of one person stay together, whichever folder they are in."""
    folders = [make_rated_set(tmp_path / name, n_identities=10) for name in ("a", "b")]
    manifest = pd.read_parquet(folders[1] / "manifest.parquet")
    for name in manifest["path"]:
        (folders[1] / name).rename(folders[1] / f"b{name}")
    manifest.assign(path="b" + manifest["path"], identity="b" + manifest["identity"]).to_parquet(
        folders[1] / "manifest.parquet"
    )
    names = [name for folder in folders for name in pd.read_parquet(folder / "manifest.parquet")["path"]]
    rows = [(rater, name, 9 - 7 * float(name.split("_")[1][:-4]) + 0.1 * i) for name in names for i, rater in enumerate("xyz")]
    pd.DataFrame(rows, columns=["rater", "image", "rating"]).to_csv(tmp_path / "ratings.csv", index=False)
    done = train_quality("lite", folders, tmp_path / "ratings.csv", tmp_path / "run", [*SMALL, "loop.n_steps=1"])
    assert done.finished


def test_ladders_are_one_fault_that_grows(rated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, labels = rated
    images = RatedImages([data], read_labels(labels), "train", 64)
    batches = RankedBatches(RatedBatches(images, 16, 3, True, 0), 8)
    assert set(images.rows["degradation"].iloc[batches.clean]) == {"none"} and len(batches.clean) == 16
    batch = batches(3, 0, 1)
    assert same(batch, batches(3, 0, 1)) and not torch.equal(batch["ladders"], batches(4, 0, 1)["ladders"])
    assert batch["ladders"].shape == (8, 5, 3, 64, 64) and batch["x"].shape == (16, 3, 64, 64)
    assert ((batch["rise"] >= 0.15) & (batch["rise"] <= 0.25)).all()
    assert not any(torch.equal(*pair) for ladder in batch["ladders"] for pair in pairwise(ladder))
    parts = [batches(3, rank, 2)["ladders"] for rank in (0, 1)]
    assert [len(part) for part in parts] == [4, 4] and not torch.equal(*parts)

    asked: list[tuple[str, float, int]] = []

    def note(name: str, image: np.ndarray, points: np.ndarray, strength: float, seed: int) -> np.ndarray:
        asked.append((name, strength, seed))
        return degrade(name, image, points, strength, seed)

    monkeypatch.setattr(quality_ranks, "degrade", note)
    rises = batches(3, 0, 1)["rise"]
    for ladder, rise in zip(np.array(asked, object).reshape(8, 5, 3), rises, strict=True):
        assert len(set(ladder[:, 0])) == len(set(ladder[:, 2])) == 1  # one fault, one seed
        np.testing.assert_allclose(np.diff(ladder[:, 1].astype(float)), float(rise), atol=1e-6)
        assert ladder[0, 1] >= 0 and ladder[-1, 1] <= 1


def test_faults_of_ladders_are_those_named_and_as_often(rated: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, labels = rated
    images = RatedImages([data], read_labels(labels), "train", 64)
    seen: list[str] = []
    places: list[tuple[int, int]] = []

    def note(name: str, *rest: Any) -> np.ndarray:
        seen.append(name)
        return degrade(name, *rest)

    def note_place(image: np.ndarray, down: int, right: int, most: int) -> np.ndarray:
        places.append((down, right))
        return shifted(image, down, right, most)

    monkeypatch.setattr(quality_ranks, "degrade", note)
    monkeypatch.setattr(quality_ranks, "shifted", note_place)
    RankedBatches(RatedBatches(images, 16, 3, True, 0), 200, ["jpeg", "eyes", "jpeg", "jpeg"])(0, 0, 1)
    assert set(seen) == {"jpeg", "eyes"} and 0.65 < seen.count("jpeg") / len(seen) < 0.85
    assert 0.4 < np.mean([place == (0, 0) for place in places]) < 0.6, "half of them as they lie"
    with pytest.raises(ConfigError, match="rank_faults is empty"):
        RankedBatches(RatedBatches(images, 16, 3, True, 0), 8, [])
    with pytest.raises(ConfigError, match="rank_ladders=0 is less"):
        train_quality("lite", [data], labels, data.parent / "none", [*SMALL, "rank=1", "rank_ladders=0"])
    with pytest.raises(ConfigError, match=r"unknown degradation 'jpg'.*did you mean 'jpeg'"):
        train_quality("lite", [data], labels, data.parent / "wrong", [*SMALL, "rank=1", 'rank_faults=["jpg"]'])


def test_rank_teaches_the_order_of_strengths(rated: tuple[Path, Path]) -> None:
    data, labels = rated
    config = load_config(QualityTrainingConfig, overrides=[*SMALL, "rank=1", "rank_ladders=4"], base=PRESETS["lite"])
    reseed(0, -1)
    task, batches = build_quality(
        replace(config, data=replace(config.data, folders=(str(data),), labels=labels)), torch.device("cpu")
    )
    batch, optimizer, found = batches(0, 0, 1), torch.optim.Adam(task.networks["net"].parameters(), 3e-3), []
    for step in range(80):
        for update in task.updates(batch, step):
            optimizer.zero_grad()
            update.loss.backward()
            optimizer.step()
            found.append(float(update.logs["rank"].detach()))
    assert found[-1] < 0.5 * found[0]
