"""Speed of editing face crops with the model loaded: milliseconds a crop, one at a time and 16 in a batch.

    python benchmarks/edit.py [--threads 2] [--seconds 5] [--editor FILE] [--no-stargan]

Each time stands beside that of a bare convolution of as many operations, measured in turns with it, so that machines, and a machine with
other work on it, can be compared: the ratio is what a change of the code moves. The edit is a smile with light from the left, from a
tensor of crops to a tensor of edits. Then 16 crops in a batch through the bare generators, in turns: the editor's, the preset
`fields`, and one of the size and layout of StarGAN's published code, with random weights, in float32 and in bfloat16.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.device import autocast
from legan.editing.loader import load_editor
from legan.models import generator
from legan.models.blocks import count_gflop
from legan.models.generator import Generator
from legan.models.stargan import StarGANGenerator, StarGANGeneratorConfig

BARS = {1: 30.0, 16: 14.0}  # milliseconds a crop, on two free cores
# Defaults of yunjey/stargan, main.py: g_conv_dim 64, g_repeat_num 6, c_dim 5, crops of 128 pixels; 8,430,528 parameters.
OFFICIAL_STARGAN = StarGANGeneratorConfig(n_labels=5, width=64, n_residual=6)
N_CHANNELS, SIDE = 128, 16  # of the bare convolution: the bulk of an hourglass


def in_turns(works: list[Callable[[], object]], seconds: float) -> np.ndarray:
    """Call each work in turns for about `seconds` in all, after once to warm up.

    Returns:
        seconds of each call (n calls, n works, 2): by the clock, and of processor time, which other work on the machine changes less.
    """
    for work in works:
        work()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        row = []
        for work in works:
            before, processor = time.perf_counter(), time.process_time()
            work()
            row.append((time.perf_counter() - before, time.process_time() - processor))
        times.append(row)
    return np.array(times)


def convolutions(gflop: float, n: int) -> Callable[[], None]:
    """3x3 convolutions (n, 128, 16, 16), float32, of about `gflop` operations a crop."""
    layer, x = nn.Conv2d(N_CHANNELS, N_CHANNELS, 3, padding=1), torch.randn(n, N_CHANNELS, SIDE, SIDE)
    n_times = max(1, round(gflop * 1e9 / (2 * SIDE**2 * N_CHANNELS**2 * 9)))

    @torch.inference_mode()
    def work() -> None:
        for _ in range(n_times):
            layer(x)

    return work


def generators(packaged: nn.Module) -> dict[str, Callable[[Tensor], object]]:
    """Bare generators by name, StarGAN's first: crops (n, 3, 128, 128) in [-1, 1] to whatever they give."""
    stargan = StarGANGenerator(OFFICIAL_STARGAN).eval()
    fields = Generator(generator.PRESETS["fields"]).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    smile, left = torch.eye(len(EXPRESSIONS))[[1]], torch.eye(len(LIGHTINGS))[[4]]

    def legan(net: nn.Module) -> Callable[[Tensor], object]:
        return lambda x: net(x.to(memory_format=torch.channels_last), smile.expand(len(x), -1), left.expand(len(x), -1))

    return {
        "StarGAN as published": lambda x: stargan(x, torch.eye(5)[[0]].expand(len(x), -1)),
        "editor": legan(packaged),
        "fields": legan(fields),
    }


def print_beside_stargan(packaged: nn.Module, seconds: float, n_threads: int, n: int = 16) -> None:
    """Print how many times as fast as StarGAN's the generators run, `n` crops in a batch, by float32 and bfloat16 convolutions."""
    x, nets = torch.rand(n, 3, 128, 128) * 2 - 1, generators(packaged)
    for dtype in (torch.float32, torch.bfloat16):

        @torch.inference_mode()
        def run(net: Callable[[Tensor], object], dtype: torch.dtype = dtype) -> None:
            with autocast(None if dtype == torch.float32 else dtype, x.device):
                net(x)

        times = in_turns([lambda net=net: run(net) for net in nets.values()], seconds)  # (calls, generators, 2)
        words = []
        for name, (wall, processor), ratio in zip(
            nets, 1000 * np.median(times, 0) / n, np.median(times[:, :1] / times, 0), strict=True
        ):
            faster = (
                ""
                if name == next(iter(nets))
                else f", {ratio[1]:.1f} times as fast by processor time, {ratio[0]:.1f} by the clock"
            )
            words.append(f"{name} {processor:.1f} ms of processor time a crop ({wall:.1f} by the clock{faster})")
        kind = str(dtype).removeprefix("torch.")
        print(f"{n} at a time, {kind}: {'; '.join(words)}; median of {len(times)}, {n_threads} threads", flush=True)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--editor", type=Path, help="an exported editor; the packaged one by default")
    parser.add_argument(
        "--no-stargan", action="store_true", help="leave the comparison with StarGAN out; it takes a minute or more"
    )
    words = parser.parse_args()
    n_threads = words.threads
    torch.set_num_threads(n_threads)
    editor = load_editor(words.editor)
    size = editor.networks.size
    codes = torch.eye(len(EXPRESSIONS))[[1]], torch.eye(len(LIGHTINGS))[[4]]
    gflop = count_gflop(editor.networks.generator, torch.zeros(1, 3, size, size), *codes)
    for n, bar in BARS.items():
        crops = torch.rand(n, 3, size, size)
        works = [lambda crops=crops: editor(crops, "smile", "left"), convolutions(gflop, n)]
        times = 1000 * in_turns(works, words.seconds) / n
        (edit, edit_processor), (bare, bare_processor) = np.median(times, 0)
        print(
            f"{n} at a time: {edit:.1f} ms a crop, {edit_processor:.1f} of processor time (bar {bar:g} on two free cores; median "
            f"of {len(times)}, fastest {times[:, 0, 0].min():.1f}); {edit / bare:.2f} times a bare convolution of {gflop:.1f} GFLOP, by "
            f"processor time {edit_processor / bare_processor:.2f} times {gflop / bare_processor * 1000:.0f} GFLOP/s; {n_threads} threads"
        )
    if not words.no_stargan:
        print_beside_stargan(editor.networks.generator, words.seconds, n_threads)


if __name__ == "__main__":
    main()
