"""Speed of editing face crops with the model loaded: milliseconds a crop, one at a time and 16 in a batch.

    python benchmarks/edit.py [--threads 2] [--seconds 5] [--editor FILE]

Each time stands beside that of a bare convolution of as many operations, measured in turns with it, so that machines, and a machine with
other work on it, can be compared: the ratio is what a change of the code moves. The edit is a smile with light from the left, from a
tensor of crops to a tensor of edits.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from legan.apply.edit import load_editor
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.models.blocks import count_gflop

BARS = {1: 30.0, 16: 14.0}  # milliseconds a crop, on two free cores
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


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--editor", type=Path, help="an exported editor; the packaged one by default")
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


if __name__ == "__main__":
    main()
