"""Images a second of LEGAN's training step: one critic and one generator update, preset `lite`, batches of 16 random crops.

    python benchmarks/train_step.py [--threads 2] [--steps 6] [key=value ...]

Prints the speed beside the share of it that a bare convolution of the same size reaches, so that machines can be compared.
"""

import argparse
import time
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from legan.core.config import load_config
from legan.train.legan import LeganTask
from legan.train.legan_config import LeganConfig, preset
from legan.train.loop import Means, run_step


def random_batch(n: int, size: int) -> dict[str, Tensor]:
    """Return a batch of noise with random one-hot codes, all with a truth."""
    codes = {f"expression_{role}": torch.eye(6)[torch.randint(6, (n,))] for role in ("src", "trg")}
    codes |= {f"lighting_{role}": torch.eye(20)[torch.randint(20, (n,))] for role in ("src", "trg")}
    images = {name: torch.rand(n, 3, size, size) * 2 - 1 for name in ("x_real", "x_true")}
    images |= {name: torch.rand(n, 68, 2) for name in ("points_real", "points_true")}
    return {**images, **codes, "has_true": torch.ones(n)}


def images_per_second(config: LeganConfig, n_steps: int) -> tuple[float, torch.dtype | None]:
    """Time `n_steps` steps, the penalty's among them in its usual share, after one to warm up."""
    fabric = Fabric(devices=1)
    task = LeganTask(config, fabric.device)
    for net in task.networks.values():
        net.to(fabric.device)
    batch = fabric.to_device(random_batch(config.data.batch_size, config.critic.size))
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
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("settings", nargs="*", help="settings of the training, such as precision=bf16")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    config = load_config(LeganConfig, overrides=words.settings, base=preset("lite"))
    config = replace(config, loop=replace(config.loop, n_steps=words.steps))
    reference = gflops_of_convolution()
    speed, dtype = images_per_second(config, words.steps)
    print(
        f"{speed:.1f} images/s (batch {config.data.batch_size}, {words.threads} threads, {dtype or torch.float32}, "
        f"channels_last {config.channels_last}); a bare convolution runs at {reference:.0f} GFLOP/s here"
    )


if __name__ == "__main__":
    main()
