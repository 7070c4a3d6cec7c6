"""How far Q can be fooled: 15 steps along the sign of its gradient, within two grey levels, and two grey levels a step without a bound.

    python experiments/quality/attack.py --images FOLDER [--images FOLDER ...] [--n 16] [--judge OTHER] WEIGHTS ...

The attacker knows the network and moves the crop itself; the slope is that of the score before it is squashed, so that the flat ends of
the scale do not hide it. `--judge` is another Q that scores the same images: what it does not see was not an improvement.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from legan.core.device import autocast, mixed_dtype
from legan.core.images import to_network
from legan.core.listing import find_images
from legan.faces.align import prepare_many
from legan.models.quality import FeatureQuality, load_quality_net

GREY = 2 / 255  # a grey level, of networks' -1 to 1


def attacked(net: torch.nn.Module, x: torch.Tensor, bound: float, step: float, n_steps: int = 15) -> torch.Tensor:
    """Images (B, 3, H, W) whose score was driven up: at most `bound` from `x`, moved by `step` each time."""
    moved = x.clone()
    for _ in range(n_steps):
        moved.requires_grad_(True)
        with autocast(mixed_dtype("auto", x.device), x.device):
            score = net(moved)
        if isinstance(net, FeatureQuality):
            score = torch.logit(score / 10, eps=1e-5)
        (gradient,) = torch.autograd.grad(score.sum(), moved)
        moved = (moved.detach() + step * gradient.sign()).clamp(-1, 1)
        moved = x + (moved - x).clamp(-bound, bound)
    return moved


def main() -> None:
    """Read the command line, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True)
    parser.add_argument("--n", type=int, default=16, help="images of each folder, evenly spread over its sorted names")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    words = parser.parse_args()
    torch.set_num_threads(1)
    paths = []
    for folder in words.images:
        all_of_it = find_images([folder])
        paths += [all_of_it[i] for i in np.linspace(0, len(all_of_it) - 1, words.n).astype(int)]
    x = to_network(np.stack([one.crop for one in prepare_many(paths, n_threads=1) if one.crop is not None]))
    judge = load_quality_net(words.judge)[0] if words.judge else None
    for weights in words.weights:
        net = load_quality_net(weights)[0].to(memory_format=torch.channels_last)
        with torch.no_grad():
            before = net(x)
        for name, bound, step in (("within two grey levels", 2 * GREY, GREY / 2), ("two grey levels a step", 2.0, 2 * GREY)):
            moved = attacked(net, x, bound, step)
            with torch.no_grad():
                rise = net(moved) - before
                seen = "" if judge is None else f"; the judge sees {float((judge(moved) - judge(x)).mean()):+.2f}"
            print(
                f"{weights}: {name}, n = {len(x)}: mean {float(before.mean()):.2f} -> {float((before + rise).mean()):.2f}{seen}",
                flush=True,
            )


if __name__ == "__main__":
    main()
