"""Which packaged features see what is wrong with a face: the FID of faces with a known fault over that of faces without.

    python experiments/feature-network/compare.py --data data/rendered [--split test] [--n 150] [--seed 0]

Real images of the split are the reference (2n), others (n) are spoiled. A ratio of 1 means that the fault is not seen.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from legan.core.images import to_network
from legan.data.faces import FaceDataset
from legan.evaluation.evaluators import load_fid_network, pooled
from legan.metrics.distributions import frechet_distance
from legan.models.lightcnn import load_lightcnn

Fault = Callable[[Tensor], Tensor]


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, 19 pixels wide."""
    line = torch.exp(-(torch.arange(-9, 10).float() ** 2) / 2 / sigma**2)
    plane = (line[:, None] * line[None] / line.sum() ** 2).expand(3, 1, 19, 19)
    return functional.conv2d(functional.pad(x, [9] * 4, mode="reflect"), plane, groups=3)


def chequered(x: Tensor) -> Tensor:
    """A faint pattern of 2 x 2 pixels, as upsampling leaves it."""
    cell = torch.arange(128) // 2
    return (x + 0.06 * (((cell[:, None] + cell[None]) % 2).float() * 2 - 1)).clamp(-1, 1)


def mouth_replaced(x: Tensor, by: Tensor) -> Tensor:
    """Another image's mouth."""
    y = x.clone()
    y[:, :, 88:106, 50:78] = by[:, :, 88:106, 50:78]
    return y


def warped(x: Tensor, size: float, random: torch.Generator) -> Tensor:
    """Smooth random displacements, `size` in halves of the image's side."""
    field = functional.interpolate(torch.randn(len(x), 2, 8, 8, generator=random), (128, 128), mode="bicubic") * size
    grid = functional.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), x.shape, align_corners=False)
    return functional.grid_sample(x, grid + field.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def faults(random: torch.Generator) -> dict[str, Fault]:
    """Name to what makes it."""
    return {
        "none (the FID itself)": lambda x: x,
        "blur, sigma 0.7": lambda x: blurred(x, 0.7),
        "blur, sigma 3": lambda x: blurred(x, 3),
        "noise, sigma 0.05": lambda x: (x + 0.05 * torch.randn(x.shape, generator=random)).clamp(-1, 1),
        "chequered": chequered,
        "black mouth": lambda x: mouth_replaced(x, torch.full_like(x, -0.8)),
        "blurred mouth": lambda x: mouth_replaced(x, blurred(x, 3)),
        "warp 0.02": lambda x: warped(x, 0.02, random),
        "warp 0.05": lambda x: warped(x, 0.05, random),
        "few faces, each several times": lambda x: x[: len(x) // 5].repeat(5, 1, 1, 1),
    }


@torch.inference_mode()
def features(x: Tensor) -> dict[str, np.ndarray]:
    """Choices of features (B, d) of crops."""
    found, (net, _) = {}, load_lightcnn()
    for network in (load_fid_network("lightcnn"), load_fid_network("efficientnet-lite0")):
        parts = [[pooled(layer) for layer in network.read(part)] for part in x.split(50)]
        layers = [torch.cat(layer) for layer in zip(*parts, strict=True)]
        for name, chosen in (("all layers", layers), ("first three", layers[:3]), ("last", layers[-1:])):
            found[f"{network.name}, {name}"] = torch.cat(chosen, 1).numpy()
    return {**found, "lightcnn, identity embedding": torch.cat([net(part) for part in x.split(50)]).numpy()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    data = FaceDataset([words.data], words.split, memory_gb=0)
    order = np.random.default_rng(words.seed).permutation(len(data))
    reference = features(to_network(data.images(order[: 2 * words.n])))
    x = to_network(data.images(order[2 * words.n : 3 * words.n]))
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(words.seed)
    print("| fault | " + " | ".join(f"{name} ({array.shape[1]})" for name, array in reference.items()) + " |")
    print("| --- " * (1 + len(reference)) + "|")
    clean: dict[str, float] = {}
    for name, spoil in faults(random).items():
        found = {key: frechet_distance(reference[key], value) for key, value in features(spoil(x)).items()}
        clean = clean or found
        cells = (f"{value:.4g}" if found is clean else f"{value / clean[key]:.2f}" for key, value in found.items())
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
