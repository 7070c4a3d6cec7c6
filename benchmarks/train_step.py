"""Images a second of an editor's training: making batches, and steps with all their updates, on a toy set of packaged faces.

    python benchmarks/train_step.py [--model legan|stargan|starganv2] [--presets lite fields-paired] [--threads 1] [--steps 8]
                                    [--profile 15] [--set KEY=VALUE]

Speeds are given by the clock and by processor time, which other work on the machine changes less, beside a bare convolution that is
measured between the presets, so that machines can be compared. `--profile N` prints the N operations that take most of a step.
"""

import argparse
import io
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.files import make_folder
from legan.core.weights import asset
from legan.data.manifest import MATTE_COLUMNS, matte_columns, write_manifest
from legan.data.shards import ShardWriter
from legan.train.loop import Means, compile_networks, run_step
from legan.train.recipes import RECIPES
from legan.train.task import Batches, Task, networks_of

EDITORS = ("legan", "stargan", "starganv2")


class Speed(NamedTuple):
    """Images a second, by the clock and by processor time of this process."""

    wall: float
    processor: float


def write_toy_set(folder: Path, n_people: int = 4) -> Path:
    """A data set of packaged faces: every expression is the same face, and a light a ramp of brightness over it; one person val."""
    make_folder(folder / "shards")
    ramp, rows = np.linspace(-0.5, 0.5, 128)[None, :, None], []
    matte = Image.fromarray((np.hypot(*np.mgrid[-64:64, -64:64]) < 56).astype(np.uint8) * 255)
    landmarks = np.random.default_rng(0).uniform(32, 96, 136).tolist()
    for number, path in enumerate(sorted(asset("faces").glob("*.png"))[:n_people]):
        face = np.asarray(Image.open(path).convert("RGB").resize((128, 128)), float)
        with ShardWriter(folder / "shards" / f"{number}.tar") as shard:
            columns = matte_columns(shard.add("matte.png", _png(matte)))
            for light in LIGHTINGS:
                lit = face * (1 + ramp * np.sin(np.radians(light.azimuth or 0)))
                offset, n_bytes = shard.add(f"{light.name}.png", _png(Image.fromarray(lit.clip(0, 255).astype(np.uint8))))
                place = {"path": f"shards/{number}.tar", "offset": offset, "n_bytes": n_bytes, **columns}
                rows += [
                    {
                        **place, "key": f"{expression}/{light.name}.png", "identity": f"p{number}", "expression": expression,
                        "lighting": light.name, "domain": "render", "split": "train" if number else "val", "source": "benchmark",
                        "licence": "CC0-1.0", "sha256": "", "alignment": None, "landmarks": landmarks,
                    }
                    for expression in EXPRESSIONS
                ]  # fmt: skip
    write_manifest(rows, folder, MATTE_COLUMNS)
    return folder


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def batch_speed(batches: Batches, n: int) -> Speed:
    """Time `n` batches, made in this process, after one to warm up."""
    batches(0, 0, 1)
    start, processor = time.perf_counter(), time.process_time()
    for step in range(n):
        batches(step, 0, 1)
    n_images = n * batches.batch_size
    return Speed(n_images / (time.perf_counter() - start), n_images / (time.process_time() - processor))


def step_speed(fabric: Fabric, task: Task, batches: Batches, config: Any, n_steps: int) -> Speed:
    """Time `n_steps` steps on one batch, the penalty's among them in its usual share, after one to warm up."""
    batch = fabric.to_device(batches(0, 0, 1))
    run_step(fabric, task, batch, config.loop, 1, Means())
    start, processor = time.perf_counter(), time.process_time()
    for step in range(n_steps):
        run_step(fabric, task, batch, config.loop, step, Means())
    n_images = n_steps * batches.batch_size
    return Speed(n_images / (time.perf_counter() - start), n_images / (time.process_time() - processor))


def print_profile(fabric: Fabric, task: Task, batches: Batches, config: Any, n_rows: int) -> None:
    """Print the operations of one step of step 1, without penalties, by their own time."""
    from torch.profiler import ProfilerActivity, profile

    batch = fabric.to_device(batches(0, 0, 1))
    is_cuda = fabric.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]) as profiler:
        run_step(fabric, task, batch, config.loop, 1, Means())
    order = "self_cuda_time_total" if is_cuda else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=n_rows, max_name_column_width=44))


def gflops_of_convolution() -> Speed:
    """Return GFLOP/s of a 3x3 convolution forward and backward, (16, 128, 16, 16): the bulk of an hourglass."""
    layer, x = nn.Conv2d(128, 128, 3, padding=1), torch.randn(16, 128, 16, 16, requires_grad=True)
    n_flop = 3 * 2 * 16 * 16 * 16 * 128 * 128 * 9
    layer(x).sum().backward()
    start, processor, n = time.perf_counter(), time.process_time(), 10
    for _ in range(n):
        layer(x).sum().backward()
    gflop = n * n_flop / 1e9
    return Speed(gflop / (time.perf_counter() - start), gflop / (time.process_time() - processor))


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=EDITORS, default="legan")
    parser.add_argument("--presets", nargs="+", help="lite and fields-paired of legan, lite of the others by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="also print the N slowest operations of a step")
    # As options, not as words at the end: those would go to --presets.
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, such as precision=bf16")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    recipe = RECIPES[words.model]
    first = None
    with tempfile.TemporaryDirectory() as folder:
        data = write_toy_set(Path(folder) / "toy")
        for name in words.presets or (["lite", "fields-paired"] if words.model == "legan" else ["lite"]):
            config = recipe.configure(name, [data], Path(folder), words.set)
            config = replace(config, loop=replace(config.loop, n_steps=max(words.steps, 2)))
            fabric = Fabric(devices=1)
            task, batches = recipe.build(config, fabric.device)
            for net in networks_of(task).values():
                net.to(fabric.device)
            if config.loop.compile:
                compile_networks(task)
            reference = gflops_of_convolution()
            made, trained = batch_speed(batches, words.steps), step_speed(fabric, task, batches, config, words.steps)
            first = first or (name, trained)
            print(
                f"{words.model} {name}: {trained.processor:.2f} images a processor second ({trained.wall:.2f} a second), "
                f"{trained.processor / first[1].processor:.2f} times {first[0]}; its batches {made.processor:.1f} ({made.wall:.1f}); "
                f"batch {batches.batch_size}, {words.threads} threads, {task.dtype or torch.float32}; a bare convolution "  # type: ignore[attr-defined]
                f"{reference.processor:.0f} GFLOP a processor second ({reference.wall:.0f})",
                flush=True,
            )
            if words.profile:
                print_profile(fabric, task, batches, config, words.profile)


if __name__ == "__main__":
    main()
