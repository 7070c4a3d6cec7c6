"""Weights of a tiny Q that the tests score with."""

from pathlib import Path

import torch

from legan.core.config import config_to_dict
from legan.core.weights import save_weights
from legan.models.quality import MODEL, QualityConfig, QualityModel

TINY = QualityConfig(width=4, n_hidden=8, head="mean-std")


def write_tiny_quality(path: Path, seed: int = 0) -> Path:
    """Write a Q of a few thousand random weights whose scores differ from image to image."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = QualityModel(TINY)
        torch.nn.init.normal_(net.out.weight, std=0.5)
    metadata = {"model": MODEL, "network": config_to_dict(TINY), "data": "noise", "licence": "CC0-1.0"}
    save_weights(path, net.state_dict(), metadata, half=True)
    return path
