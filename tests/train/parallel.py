"""Small trainings of every recipe, for tests that compare one process with several: `torchrun -m tests.train.parallel FOLDER`.

Each process that torchrun starts runs all of them, one after another, into FOLDER/two; then the second one kills itself.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tests.face_sets import draw_face, make_face_set, png, row
from tests.rated_sets import make_rated_set, write_labels

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.config import config_to_dict
from legan.core.weights import save_weights
from legan.data.manifest import split_of, write_manifest
from legan.models.quality import MODEL, QualityConfig, QualityModel
from legan.train.recipes import RECIPES

N_STEPS = 4
LOOP = [f"loop.n_steps={N_STEPS}", "loop.log_every=1", "loop.sample_every=100", "loop.checkpoint_every=2", "precision=fp32"]
SMALL = [
    "optimizer.lr_critic=3e-5",
    "critic.size=32",
    "critic.width=4",
    "critic.n_layers=3",
    "generator.width=4",
    "generator.n_residual=1",
]
RATES = ["optimizer.lr=3e-5", "optimizer.warmup_steps=1", "data.batch_size=8"]
EDITOR = [*SMALL, *RATES, "generator.mask_channels=4", "loss.identity=0", "quality=Q"]
FACES = ["network.widths=[4, 6, 6, 6, 4]", *RATES]


class Case(NamedTuple):
    """A training: its recipe, preset, data and settings; Q stands for a quality network's file."""

    recipe: str
    preset: str
    data: tuple[str, ...]
    settings: list[str]


CASES = {
    # Pairs, R1 on half of the batch, a way back for a quarter of it: two rows.
    "lite": Case("legan", "lite", ("faces", "photos"), [*EDITOR, "adversarial.penalty_every=2"]),
    # Edits under any light, other backdrops, landmarks.
    "fields": Case("legan", "fields", ("faces", "photos"), [*EDITOR, "loss.perceptual=0", "adversarial.penalty_every=2"]),
    # The published game: WGAN-GP and several updates of the critic for one of the generator.
    "wgan-gp": Case("legan", "lite-unpaired", ("faces", "photos"), [*EDITOR, "adversarial.kind=wgan-gp", "adversarial.n_critic=2"]),
    "stargan": Case(
        "stargan", "lite", ("faces", "photos"), [*SMALL, *RATES, "adversarial.n_critic=2", "loss.quality=0.5", "quality=Q"]
    ),
    "starganv2": Case(
        "starganv2",
        "lite",
        ("faces", "photos"),
        [*RATES, "network.size=32", "network.width=4", "network.max_width=8", "network.n_style=5", "network.n_hidden=6",
         "loss.penalty_every=2", "network.domains=lighting", "optimizer.lr_mapping=3e-5"],
    ),
    "quality": Case(
        "quality",
        "lite",
        ("rated",),
        [*RATES, "network.size=64", "network.width=4", "network.n_hidden=8", "rank=0.5", "rank_ladders=4"],
    ),
    "identity": Case("identity", "lite", ("large",), FACES),
    "expression": Case("expression", "lite", ("large",), FACES),
}  # fmt: skip
# Trained in bfloat16 too: in one process, and by two that take their rows in two parts each.
BF16 = ("identity", "fields")
BF16_STEPS = 12
BF16_SETTINGS = ["precision=bf16", "optimizer.lr=1e-3", f"loop.n_steps={BF16_STEPS}"]


def make_data(folder: Path) -> Path:
    """Write the data sets, and a quality network's weights, and return the folder.

    The images have grain: in flat ones half of all differences are ties, and which way an L1 or a maximum pulls there depends on rounding.
    """
    matte = (np.hypot(*np.mgrid[-16:16, -16:16]) < 13).astype(np.uint8) * 255
    make_face_set(folder / "faces", n_identities=10, lightings=tuple(range(len(LIGHTINGS))), matte=matte, grain=12)
    make_face_set(folder / "large", n_identities=10, size=128, lightings=(0,), grain=12)
    write_labels(make_rated_set(folder / "rated", n_identities=10, strengths=(0, 1)), folder / "labels.csv")
    # Photos under their own light, which is none of the classes.
    (folder / "photos").mkdir()
    rows = []
    for person in range(10):
        name = f"{person}.png"
        (folder / "photos" / name).write_bytes(png(draw_face(person, person % len(EXPRESSIONS), 5, 32)))
        facts = {"domain": "photo", "split": split_of(person), "source": "photographed"}
        rows.append(row(f"p{person}", EXPRESSIONS[person % len(EXPRESSIONS)], "even", path=name, **facts))
    write_manifest(rows, folder / "photos")
    shape = QualityConfig(size=32, width=4, n_layers=3, n_hidden=8)
    torch.manual_seed(0)
    save_weights(folder / "q.safetensors", QualityModel(shape).state_dict(), {"model": MODEL, "network": config_to_dict(shape)})
    return folder


def train(folder: Path, name: str, run: str, *settings: str) -> Path:
    """Train a case into `folder/run/name`, or continue it, and return that folder."""
    case, out = CASES[name], folder / run / name
    words = [f"quality={folder / 'q.safetensors'}" if word == "quality=Q" else word for word in case.settings]
    data = [folder / one for one in case.data]
    labels = folder / "labels.csv" if case.recipe == "quality" else None
    RECIPES[case.recipe].train(case.preset, data, out, [*LOOP, *words, *settings], labels=labels)
    return out


def end(folder: Path) -> None:
    """A training whose second process is killed in the middle."""
    recipe = RECIPES["stargan"]

    def build(config, device):
        task, batches = recipe.build(config, device)
        after_step = task.after_step

        def killed(step: int) -> None:
            if step == 2 and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            after_step(step)

        task.after_step = killed
        return task, batches

    RECIPES["stargan"] = replace(recipe, build=build)
    train(folder, "stargan", "killed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in CASES:
        train(Path(sys.argv[1]), name, "two")
        if (Path(sys.argv[1]) / "resumed" / name).exists():
            train(Path(sys.argv[1]), name, "resumed")
    for name in BF16:
        train(Path(sys.argv[1]), name, "two-bf16", *BF16_SETTINGS, "loop.accumulate=2")
    end(Path(sys.argv[1]))
