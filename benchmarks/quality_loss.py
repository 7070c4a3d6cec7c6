"""Seconds of the quality term of `legan train legan` for one batch, forward and backward, on one core, by the network that is Q.

    python benchmarks/quality_loss.py [--batch 16] [--repeats 3] [packaged simulated WEIGHTS ...]

CPU time of this process, so that other work on the machine counts little. The images are noise, seed 0.
"""

import argparse
import time
from pathlib import Path

import torch

from legan.core.device import mixed_dtype
from legan.core.geometry import CROP_SIZE
from legan.train.gan import load_quality
from legan.train.legan import quality_loss


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("weights", type=Path, nargs="*", default=[Path("simulated"), Path("packaged")])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cpu")
    dtype = mixed_dtype("auto", device)
    x = torch.rand(options.batch, 3, CROP_SIZE, CROP_SIZE) * 2 - 1
    for weights in options.weights:
        quality = load_quality(weights, dtype, device).net
        seconds = []
        for _ in range(options.repeats):
            fake, reconstruction = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
            start = time.process_time()
            quality_loss(quality, fake, reconstruction, x).backward()
            seconds.append(time.process_time() - start)
        print(
            f"{weights}: {min(seconds):.2f} to {max(seconds):.2f} seconds for {options.batch} crops ({dtype or torch.float32})",
            flush=True,
        )


if __name__ == "__main__":
    main()
