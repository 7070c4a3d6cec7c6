"""Images a second of an editor's training step, all its updates, on batches of 16 random crops.

    python benchmarks/train_step.py [--model legan|stargan|starganv2] [--preset lite] [--threads 2] [--steps 8] [key=value ...]

Prints the speed beside that of a bare convolution, so that machines can be compared.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from legan.core.config import load_config
from legan.train import legan_config, stargan_config, starganv2_config
from legan.train.frozen import load_identity, load_quality
from legan.train.legan import LeganTask
from legan.train.loop import Means, run_step
from legan.train.stargan import StarGANTask
from legan.train.starganv2 import StarGANv2Task
from legan.train.task import Task, mixed_dtype, networks_of

CONFIGS = {
    "legan": (legan_config.LeganConfig, legan_config.preset),
    "stargan": (stargan_config.StarGANConfig, stargan_config.preset),
    "starganv2": (starganv2_config.StarGANv2TrainingConfig, starganv2_config.preset),
}


def random_batch(n: int, size: int) -> dict[str, Tensor]:
    """Return a batch of noise with random one-hot codes, all with a truth."""
    codes = {f"expression_{role}": torch.eye(6)[torch.randint(6, (n,))] for role in ("src", "trg")}
    codes |= {f"lighting_{role}": torch.eye(20)[torch.randint(20, (n,))] for role in ("src", "trg")}
    images = {name: torch.rand(n, 3, size, size) * 2 - 1 for name in ("x_real", "x_true", "x_ref", "x_ref2")}
    images |= {name: torch.rand(n, 68, 2) for name in ("points_real", "points_true")}
    return {**images, **codes, "has_true": torch.ones(n)}


def make_task(model: str, config: Any, device: torch.device) -> tuple[Task, int]:
    """Return a training with the packaged judges that its losses ask for, and the side of its crops."""
    if model == "starganv2":
        return StarGANv2Task(config, device), config.network.size
    dtype = mixed_dtype(config.precision, device)
    quality = load_quality(None, dtype, device).net if config.loss.quality > 0 else None
    if model == "stargan":
        return StarGANTask(config, device, quality), config.critic.size
    identity = load_identity(None, dtype, device).net if config.loss.identity > 0 else None
    return LeganTask(config, device, identity=identity, quality=quality), config.critic.size


def images_per_second(model: str, config: Any, n_steps: int) -> tuple[float, torch.dtype | None]:
    """Time `n_steps` steps, the penalty's among them in its usual share, after one to warm up."""
    fabric = Fabric(devices=1)
    task, size = make_task(model, config, fabric.device)
    for net in networks_of(task).values():
        net.to(fabric.device)
    batch = fabric.to_device(random_batch(config.data.batch_size, size))
    run_step(fabric, task, batch, config.loop, 1, Means())
    start = time.perf_counter()
    for step in range(n_steps):
        run_step(fabric, task, batch, config.loop, step, Means())
    return n_steps * config.data.batch_size / (time.perf_counter() - start), task.dtype


def gflops_of_convolution() -> float:
    """Return GFLOP/s of a 3x3 convolution forward and backward, (16, 128, 16, 16): the bulk of an hourglass."""
    layer, x = nn.Conv2d(128, 128, 3, padding=1), torch.randn(16, 128, 16, 16, requires_grad=True)
    n_flop = 3 * 2 * 16 * 16 * 16 * 128 * 128 * 9
    layer(x).sum().backward()
    start, n = time.perf_counter(), 10
    for _ in range(n):
        layer(x).sum().backward()
    return n * n_flop / (time.perf_counter() - start) / 1e9


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=CONFIGS, default="legan")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("settings", nargs="*", help="settings of the training, such as precision=bf16")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    kind, preset = CONFIGS[words.model]
    config = load_config(kind, overrides=words.settings, base=preset(words.preset))
    config = replace(config, loop=replace(config.loop, n_steps=words.steps))
    reference = gflops_of_convolution()
    speed, dtype = images_per_second(words.model, config, words.steps)
    print(
        f"{words.model}: {speed:.1f} images/s (batch {config.data.batch_size}, {words.threads} threads, {dtype or torch.float32}, "
        f"channels_last {config.channels_last}); a bare convolution runs at {reference:.0f} GFLOP/s here"
    )


if __name__ == "__main__":
    main()
