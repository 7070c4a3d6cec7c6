"""Trains the models of the comparison on the same data, sampler, batch and number of images, and exports each as an editor.

    python experiments/comparison/train.py --data SET [--data SET ...] --runs RUNS --images 80000 [--size 64] [--warm-start 5000] \
        [--seed 0] [--only NAME ...] [settings ...]

`--warm-start` images first teach each generator to reproduce its input under the input's own condition; they count. A setting
goes to every model (`loop.log_every=50`) or to one (`stargan:adversarial.n_critic=5`). The models take turns, so that an experiment that
is stopped early has shown all of them the same number of images; the same command again continues. In RUNS: `NAME/` the run folder,
`NAME/snapshots/images_00012345.safetensors` the editor along its training, `NAME.safetensors` at the end, and `curves.csv`: the
figures on held-out people against images seen, written anew after each turn.
"""

import argparse
import csv
import json
import math
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from legan import losses
from legan.core.errors import LeganError
from legan.core.files import atomic_write, make_folder
from legan.core.geometry import CROP_SIZE
from legan.data.batches import face_dataset
from legan.models.stargan import joint_label
from legan.models.starganv2 import domain_of
from legan.train import legan, stargan, starganv2
from legan.train.legan import LeganTask
from legan.train.loop import run_task
from legan.train.recipes import RECIPES, Recipe, export_run
from legan.train.stargan import StarGANTask
from legan.train.starganv2 import StarGANv2Task
from legan.train.task import Batch, Batches, Task, Update

# LEGAN's lite game for StarGAN too: WGAN-GP with five critic updates each would leave its generator a fifth of the others' updates.
SAME_GAME = [
    *('adversarial.kind="hinge"', "adversarial.n_critic=1", "adversarial.penalty=4.0", "adversarial.penalty_every=8"),
    *("adversarial.penalty_fraction=0.5", "optimizer.ema_decay=0.996", "optimizer.decay_fraction=0.4"),
]
# StarGAN as published (yunjey/stargan): WGAN-GP with five critic updates for each of the generator, its rates, no averaged weights.
OFFICIAL = ["generator.width=24", "critic.width=24"]
# For all: no image has a truth, tones and sides vary alike; Q scores two images of sixteen.
SAME_DATA = ["data.batch_size=16", "data.pair_probability=0.0", "data.tone=0.5"]
Q_LOSS = ["loss.quality=0.1", "loss.quality_share=0.125"]


@dataclass(frozen=True)
class Model:
    """One line of the table: its recipe and preset, and what is changed."""

    recipe: Recipe
    preset: str
    settings: list[str]

    def sized(self, size: int) -> list[str]:
        """Settings for crops of another size: a halving fewer in the critic for each halving of the crop, so that its heads see alike."""
        if size == CROP_SIZE:
            return []
        if self.recipe is RECIPES["starganv2"]:
            return [f"network.size={size}"]
        n_layers = self.recipe.presets[self.preset].critic.n_layers - round(math.log2(CROP_SIZE / size))
        return [f"critic.size={size}", f"critic.n_layers={n_layers}"]


STARGAN = Model(RECIPES["stargan"], "lite", SAME_GAME)
LEGAN = Model(RECIPES["legan"], "lite-unpaired", Q_LOSS)
MODELS = {
    "stargan": STARGAN,
    "stargan-qual": replace(STARGAN, settings=[*SAME_GAME, *Q_LOSS]),
    "starganv2": Model(RECIPES["starganv2"], "lite", []),
    "legan": LEGAN,
    "legan-noqual": replace(LEGAN, settings=["loss.quality=0.0"]),
    "stargan-official": Model(RECIPES["stargan"], "paper", OFFICIAL),
}
# The poster's, without a look at the published recipe.
TABLE = [name for name in MODELS if name != "stargan-official"]


class StopAfter:
    """Batches that ask the training to stop once `n_steps` are done, as Ctrl-C does: it saves a checkpoint and ends."""

    def __init__(self, batches: Batches, n_steps: int) -> None:
        self.batches, self.n_steps, self.batch_size = batches, n_steps, batches.batch_size

    def __call__(self, step: int, rank: int, n_ranks: int) -> Mapping[str, Tensor]:
        if step + 1 >= self.n_steps:
            signal.raise_signal(signal.SIGINT)
        return self.batches(step, rank, n_ranks)


def copy_update(task: Task, batch: Batch) -> Update:
    """Return the update that teaches a generator to reproduce its input (B, 3, S, S) under the input's own condition, by L1."""
    x, expression, lighting = batch["x_real"], batch["expression_src"], batch["lighting_src"]
    match task:
        case StarGANTask():
            net, copy = "generator", task.run_mixed(task.generator, x, joint_label(expression, lighting))
        case StarGANv2Task():
            own = domain_of(task.config.network.domains, expression, lighting).domain
            net, copy = "translator", task.run_mixed(task.generator, x, task.run_mixed(task.encoder, x, own))
        case LeganTask():
            net, copy = "generator", task.translate(x, expression, lighting).image
        case _:
            raise TypeError(f"no way to copy with {type(task).__name__}")
    loss = losses.reconstruction(copy, x)
    return Update(net, loss, {"warm_start/reconstruction": loss})


def build(model: Model, until: int, n_warm: int, config: Any, device: torch.device) -> tuple[Task, Batches]:
    """Make a training whose first `n_warm` steps copy, and that stops after `until` steps."""
    task, batches = model.recipe.build(config, device)
    train = task.updates

    def updates(batch: Batch, step: int) -> Iterator[Update]:
        if step < n_warm:
            yield copy_update(task, batch)
        else:
            yield from train(batch, step)

    task.updates = updates
    return task, StopAfter(batches, until) if until < config.loop.n_steps else batches


def read_once() -> None:
    """Let all turns of this process share the images that one has read: each would read and decode them anew."""
    shared = cache(face_dataset)
    for training in (legan, stargan, starganv2):
        training.face_dataset = shared


def config_of(name: str, data: Sequence[Path], size: int, n_images: int, n_snapshots: int, settings: Sequence[str]) -> Any:
    """Return a model's config: its own, for crops of a size, then what all share, then settings for all or for it."""
    model = MODELS[name]
    words = [word.partition(":")[2] if ":" in word.partition("=")[0] else word for word in settings if _is_for(word, name)]
    config = model.recipe.configure(model.preset, data, Path(), [*model.sized(size), *SAME_DATA, *model.settings, *words])
    n_steps = n_images // config.data.batch_size
    every = max(1, n_steps // n_snapshots)
    return replace(config, loop=replace(config.loop, n_steps=n_steps, sample_every=every, checkpoint_every=every))


def _is_for(word: str, name: str) -> bool:
    owner, colon, _ = word.partition("=")[0].partition(":")
    return not colon or owner == name


def take_turn(name: str, config: Any, n_warm: int, run: Path, until: int) -> bool:
    """Train until a step, one beyond that of an image and figures, and export; False where the user stopped it before."""
    snapshot = run / "snapshots" / f"images_{until * config.data.batch_size:08d}.safetensors"
    if snapshot.exists():
        return True
    done = run_task(partial(build, MODELS[name], until, n_warm), config, run)
    if done.n_steps_done < until:
        return False
    make_folder(snapshot.parent)
    export_run(run, snapshot)
    return True


def write_curves(runs: Path, batch_size: int) -> None:
    """Write every figure on held-out people, of all models that were trained in `runs`, as `model,images,figure,value`."""
    rows = []
    for name in MODELS:
        log = runs / name / "log.jsonl"
        for line in map(json.loads, log.read_text().splitlines() if log.exists() else ()):
            figures = {key: value for key, value in line.items() if key.startswith("val/")}
            rows += [(name, line["step"] * batch_size, key, value) for key, value in figures.items()]
    with atomic_write(runs / "curves.csv", "w") as file:
        csv.writer(file).writerows([("model", "images", "figure", "value"), *rows])


def main() -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True, help="images that each model is shown")
    parser.add_argument(
        "--size", type=int, default=CROP_SIZE, help="side of the data's crops in pixels (shrink.py makes smaller ones)"
    )
    parser.add_argument(
        "--warm-start", type=int, default=0, metavar="IMAGES", help="of these, images that are only copied, at first"
    )
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--turns", type=int, help="stop after so many of the snapshots; the same command with more continues")
    parser.add_argument("--only", choices=MODELS, action="append", help="may be repeated; the five of the table by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("settings", nargs="*", help="key=value for all models, NAME:key=value for one")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    read_once()
    make_folder(words.runs)
    settings = [f"loop.seed={words.seed}", *words.settings]
    configs = {
        name: config_of(name, words.data, words.size, words.images, words.snapshots, settings) for name in words.only or TABLE
    }
    for turn in range(1, (words.turns or words.snapshots) + 1):
        for name, config in configs.items():
            loop, run = config.loop, words.runs / name
            until = loop.n_steps if turn == words.snapshots else min(turn * loop.sample_every + 1, loop.n_steps)
            print(f"{name}: to step {until} of {loop.n_steps}", file=sys.stderr, flush=True)
            if not take_turn(name, config, words.warm_start // config.data.batch_size, run, until):
                print("stopped: the same command again continues", file=sys.stderr)
                return 130
            if turn == words.snapshots:
                export_run(run, words.runs / f"{name}.safetensors")
            write_curves(words.runs, config.data.batch_size)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LeganError as error:
        sys.exit(f"error: {error}")
