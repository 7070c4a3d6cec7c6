"""How far the packaged editor gets on rendered people it has never seen, against doing nothing.

For each kind of edit (lighting only, expression only, both) it draws pairs of crops of one test identity, edits the first into the
second's condition and compares the result, and the unedited input, with the true second crop: L1 in [0, 1], PSNR in dB, SSIM.
The intervals are 95% bootstrap intervals of the mean over identities drawn with replacement, since crops of one face are alike.

    python experiments/first-weights/evaluate.py --data DIR [--weights FILE] [--n 500] [--seed 0]
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from legan.apply.networks import Codes, load_networks
from legan.core.conditions import expression_code, lighting_code
from legan.core.images import to_network
from legan.core.manifest import read_bytes, read_manifest

KINDS = ("lighting only", "expression only", "both")
METRICS = ("L1", "PSNR", "SSIM")


def draw_pairs(frame: pd.DataFrame, kind: str, n: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """Row numbers of n (input, target) pairs of one person; `kind` says which attributes differ."""
    row_of = {(r.identity, r.expression, r.lighting): i for i, r in enumerate(frame.itertuples())}
    people, expressions, lightings = (sorted(frame[c].unique()) for c in ("identity", "expression", "lighting"))
    pairs = []
    for k in range(n):
        person = people[k % len(people)]
        e1, e2 = random.choice(expressions, 2, replace=False)
        l1, l2 = random.choice(lightings, 2, replace=False)
        target = (person, e1 if kind == "lighting only" else e2, l1 if kind == "expression only" else l2)
        pairs.append((row_of[person, e1, l1], row_of[target]))
    return pairs


def measure(image: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """L1, PSNR and SSIM of each image (B, 3, H, W) in [-1, 1]: (B, 3)."""
    a, b = (image + 1) / 2, (truth + 1) / 2
    l1 = (a - b).abs().mean((1, 2, 3))
    psnr = peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    return torch.stack([l1, psnr, ssim], 1).numpy()


def interval(values: np.ndarray, people: np.ndarray, random: np.random.Generator, n_draws: int = 1000) -> float:
    """Half the width of the 95% bootstrap interval of the mean, people drawn with replacement."""
    groups = [values[people == p] for p in np.unique(people)]
    means = [np.concatenate([groups[i] for i in random.integers(0, len(groups), len(groups))]).mean() for _ in range(n_draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(high - low) / 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the rendered set")
    parser.add_argument("--weights", type=Path, default=None, help="an exported editor; the packaged one by default")
    parser.add_argument("--n", type=int, default=500, help="pairs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()

    networks = load_networks(arguments.weights)

    frame = read_manifest(arguments.data)
    frame = frame[frame["split"] == arguments.split].reset_index(drop=True)
    rows = frame.to_dict("records")
    n_people = frame["identity"].nunique()
    print(f"editor sha256 {networks.checksum[:12]}, {arguments.split} split of {n_people} identities, ", end="")
    print(f"n = {arguments.n} pairs a kind, seed {arguments.seed}\n")
    print("| edit | " + " | ".join(f"{m} nothing | {m} edit" for m in METRICS) + " |")
    print("| --- " * (1 + 2 * len(METRICS)) + "|")
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng([arguments.seed, number])
        pairs = draw_pairs(frame, kind, arguments.n, random)
        results: list[np.ndarray] = []
        for start in range(0, len(pairs), 20):
            some = pairs[start : start + 20]
            x, truth = (
                to_network([Image.open(io.BytesIO(read_bytes(arguments.data, rows[p[side]]))) for p in some]) for side in (0, 1)
            )
            expression = torch.from_numpy(np.stack([expression_code(rows[t]["expression"]) for _, t in some]))
            lighting = torch.from_numpy(np.stack([lighting_code(rows[t]["lighting"]) for _, t in some]))
            edited = networks.translate(x, Codes(expression, lighting)).image
            results.append(np.stack([measure(x, truth), measure(edited, truth)], 2))
        values = np.concatenate(results)  # (n, metric, nothing or edit)
        people = np.array([rows[source]["identity"] for source, _ in pairs])
        cells = [
            f"{values[:, m, k].mean():.3f} ± {interval(values[:, m, k], people, random):.3f}"
            for m in range(len(METRICS))
            for k in range(2)
        ]
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
