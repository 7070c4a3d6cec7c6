"""A tiny identity network that the tests use in place of the packaged one."""

from dataclasses import replace
from pathlib import Path

import torch

from legan.core.config import config_to_dict
from legan.core.weights import save_weights
from legan.models.lightcnn import PRESETS, LightCNN

TINY = replace(PRESETS["lite"], widths=(4, 6, 6, 6, 4))


def write_tiny_identity(path: Path) -> Path:
    """Write an identity network of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LightCNN(TINY)
    metadata = {"model": "legan-identity", "lightcnn": config_to_dict(TINY), "steps": 1, "seed": 0, "licence": "CC0-1.0"}
    save_weights(path, net.state_dict(), metadata)
    return path
