"""What a generator gains that is trained with a Q: seen by that Q, and by another that it was not trained with.

    python experiments/quality/gain.py --without editor.safetensors --trained editor-q.safetensors --quality q.safetensors \\
        --judge other.safetensors --data SET:SPLIT [--data SET:SPLIT ...] [--n 200] [--seed 0]

Both editors, equal in all but the weight of the quality loss in their training, edit the same crops to the same expressions and lightings,
drawn by the seed; each Q scores both. Prints for each data set the mean gain with its 95% interval over people, and the judge's gain as a
share of the first. A gain that the judge does not see is an image that Q likes and nobody else.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.images import to_network
from legan.data.faces import FaceDataset
from legan.metrics.intervals import mean_interval
from legan.models.editors import Networks, load_networks
from legan.models.quality import load_quality_net

BATCH_SIZE = 8


def edits(networks: Networks, x: Tensor, targets: list[tuple[str, str]]) -> Tensor:
    """Each crop (n, 3, S, S) under its own target."""
    return torch.cat(
        [
            networks.translate(x[i : i + 1], networks.target_codes(x[i : i + 1], *target)).image
            for i, target in enumerate(targets)
        ]
    )


def main() -> None:
    """Read the command line, edit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("without", "trained", "quality", "judge"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    editors = [load_networks(path) for path in (words.without, words.trained)]
    judges = [load_quality_net(path)[0] for path in (words.quality, words.judge)]
    for folder, _, split in (word.rpartition(":") for word in words.data):
        random = np.random.default_rng(words.seed)
        faces = FaceDataset([Path(folder)], split, size=editors[0].size, memory_gb=0)
        rows = np.sort(random.permutation(len(faces))[: words.n])
        x = to_network(faces.images(rows))
        targets = [(str(random.choice(EXPRESSIONS)), str(random.choice(LIGHTING_NAMES))) for _ in rows]
        scores = np.zeros((2, 2, len(rows)))
        with torch.inference_mode():
            for e, networks in enumerate(editors):
                made = edits(networks, x, targets).clamp(-1, 1)
                for j, judge in enumerate(judges):
                    scores[e, j] = torch.cat([judge(part) for part in made.split(BATCH_SIZE)]).numpy()
        gains = scores[1] - scores[0]
        people = faces.person[rows]
        told = [f"{scores[0, j].mean():.2f} {mean_interval(gains[j], people)}" for j in range(2)]
        share = f"{gains[1].mean() / gains[0].mean():.0%}"
        print(f"{folder}:{split}, n = {len(rows)}: trained with {told[0]}; judge {told[1]}; share {share}", flush=True)


if __name__ == "__main__":
    main()
