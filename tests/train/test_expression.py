"""Training of the expression classifier: resume, learning, imbalance as it is, export."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import make_face_set, png, row
from tests.train.tasks import InterruptAt, same

from legan.core.config import load_config
from legan.core.errors import ConfigError, DataError
from legan.core.weights import load_metadata, save_weights
from legan.data.faces import LabelledFaces
from legan.data.manifest import read_manifest, write_manifest
from legan.evaluation.expression import evaluate_expressions
from legan.models.lightcnn import load_lightcnn
from legan.train.expression import PRESETS, WEIGHTS, ExpressionBatches, ExpressionConfig, build_expression
from legan.train.identity import CropDataConfig
from legan.train.loop import Rehearsal
from legan.train.recipes import RECIPES
from legan.train.run_folder import newest_checkpoint

CPU = torch.device("cpu")
TINY = [
    *("network.widths=[4, 6, 6, 6, 4]", "data.batch_size=4", "precision=fp32"),
    *("loop.n_steps=12", "loop.log_every=3", "loop.sample_every=6", "loop.checkpoint_every=100"),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn", n_identities=10, size=128, lightings=(0,))


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert RECIPES["expression"].train("lite", [faces], folder, TINY).finished
    return folder


def test_five_steps_resumed_for_seven_equal_twelve(
    run: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: ExpressionConfig, device: torch.device):
        task, batches = build_expression(config, device)
        return task, InterruptAt(batches, 4)

    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "expression", replace(RECIPES["expression"], build=interrupted))
        stopped = RECIPES["expression"].train("lite", [faces], tmp_path / "parts", TINY)
    assert stopped.n_steps_done == 5 and not (tmp_path / "parts" / WEIGHTS).exists()
    assert RECIPES["expression"].train("lite", [faces], tmp_path / "parts", TINY).finished
    whole, parts = newest_checkpoint(run), newest_checkpoint(tmp_path / "parts")
    assert whole["n_steps_done"] == 12 and same(whole, parts)
    assert (run / WEIGHTS).read_bytes() == (tmp_path / "parts" / WEIGHTS).read_bytes()


def test_a_run_leaves_weights_that_say_what_they_are(run: Path) -> None:
    net, metadata = load_lightcnn(run / WEIGHTS)
    assert metadata["model"] == "legan-expression" and metadata["steps"] == 12
    assert metadata["labels"] == ["disgust", "neutral", "scream", "smile", "squint", "surprise"]
    assert net.config.n_classes == 6 and metadata["data"] == "drawn: 8 people, 48 images"
    assert str(run.parent) not in json.dumps(metadata), "no path of this machine"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    figures = next(line for line in lines if "val/auc" in line)
    assert 0 <= figures["val/auc/smile"] <= 1 and 0 <= figures["val/accuracy"] <= 1


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels of another data set, each a direction of stripes: 20 of one, 10 of another, 2 of the third."""
    folder = tmp_path_factory.mktemp("stripes") / "stripes"
    folder.mkdir()
    y, x = np.mgrid[:128, :128]
    rows = []
    for label, angle, n in (("anger", x, 20), ("contempt", y, 10), ("fear", x + y, 2), ("", x, 5)):
        for number in range(n + 6):
            noise = np.random.default_rng(len(rows)).normal(0, 20, (128, 128, 3))
            image = 128 + 60 * np.sin(angle / 5 + number)[..., None] + noise
            name = f"{label or 'unknown'}_{number}.png"
            (folder / name).write_bytes(png(image.clip(0, 255).astype(np.uint8)))
            rows.append(row(f"{label}{number}", label, "", path=name, split="train" if number < n else "val"))
    write_manifest(rows, folder)
    return folder


def test_it_learns_labels_of_any_name(stripes: Path, tmp_path: Path) -> None:
    settings = [
        *TINY,
        "data.augment=0.0",
        "network.dropout=0.0",
        "data.batch_size=8",
        "optimizer.lr=0.005",
        "optimizer.warmup_steps=1",
    ]
    settings += [
        "optimizer.weight_decay=0.0",
        "optimizer.ema_decay=0.9",
        "loop.n_steps=40",
        "loop.log_every=5",
        "loop.sample_every=40",
    ]
    RECIPES["expression"].train("lite", [stripes], tmp_path / "run", settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["accuracy"] for line in lines if "accuracy" in line][-1] > 0.8  # the commonest label alone: 0.63
    figures = next(line for line in lines if "val/auc" in line)
    # Of the labels with examples to learn from; two of the third are too few, whatever the machine's arithmetic.
    assert min(figures["val/auc/anger"], figures["val/auc/contempt"]) > 0.7


def test_images_are_drawn_as_they_are(stripes: Path) -> None:
    """As often as any other: no class is weighed, and images without a label are not drawn."""
    drawn = LabelledFaces([stripes], "train")
    config = ExpressionConfig(data=CropDataConfig(batch_size=64, augment=0.0))
    batches = ExpressionBatches(drawn, ["anger", "contempt", "fear"], config)
    labels = np.concatenate([batches(step, 0, 1)["label"].numpy() for step in range(30)])
    assert np.bincount(labels) / len(labels) == pytest.approx([20 / 32, 10 / 32, 2 / 32], abs=0.04)
    whole, halves = batches(7, 0, 1), [batches(7, rank, 2) for rank in range(2)]
    for name in ("image", "label"):
        assert torch.equal(whole[name], torch.stack([half[name] for half in halves], 1).flatten(0, 1))


def test_what_cannot_be_trained_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        RECIPES["expression"].configure("light", [], Path())
    config = load_config(ExpressionConfig, overrides=[*TINY, "network.n_classes=3"], base=PRESETS["lite"])
    with pytest.raises(ConfigError, match="n_classes comes from the data"):
        build_expression(config, CPU)
    folder = tmp_path / "one"
    make_face_set(folder, 10, 128, (0,))
    frame = read_manifest(folder).assign(expression="smile")
    write_manifest(frame.astype(object).where(frame.notna(), None).to_dict("records"), folder)
    with pytest.raises(DataError, match="have 1 labels: give at least two"):
        RECIPES["expression"].train("lite", [folder], tmp_path / "run", TINY)
    task, _ = build_expression(load_config(ExpressionConfig, overrides=[*TINY, f"data.folders={[str(faces)]}"]), CPU)
    with pytest.raises(DataError, match="data has changed"):
        task.load_extra_state({"data": [], "labels": task.labels})


def test_dry_run_writes_nothing(faces: Path, tmp_path: Path) -> None:
    plan = RECIPES["expression"].train("lite", [faces], tmp_path / "run", TINY, dry_run=True)
    assert isinstance(plan, Rehearsal) and plan.n_steps == 12 and not (tmp_path / "run").exists()


def test_the_figures_are_those_of_the_verb(run: Path, faces: Path, tmp_path: Path) -> None:
    """By the weights as they were trained: rounded to float16, as the run leaves them, one swapped pair moves AUC by 1/30 here."""
    logged = [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "val/auc" in line][-1]
    weights = tmp_path / "whole.safetensors"
    save_weights(weights, newest_checkpoint(run)["networks"]["ema"], load_metadata(run / WEIGHTS))
    found = evaluate_expressions(faces, weights, "val")
    assert logged["val/auc"] == pytest.approx(found.mean_auc, abs=1e-6)
    assert logged["val/accuracy"] == pytest.approx(found.accuracy, abs=1e-6)
