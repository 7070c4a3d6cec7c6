"""What the tests of evaluations share: a small data set, tiny networks, and a choice of them."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.face_sets import draw_face, png, row

from legan.core.conditions import EXPRESSIONS
from legan.core.weights import save_weights
from legan.data.manifest import write_manifest
from legan.models.lightcnn import LightCNN, LightCNNConfig
from legan.requests import EvaluationNetworks

N_PEOPLE, N_EXPRESSIONS, LIGHTINGS = 8, 3, (3, 11)


def make_set(folder: Path, n_people: int = N_PEOPLE, size: int = 128) -> Path:
    """Write a data set of drawn faces, all in the split test: each person under three expressions and two lightings."""
    folder.mkdir(parents=True)
    rows = []
    for person in range(n_people):
        for expression in range(N_EXPRESSIONS):
            for lighting in LIGHTINGS:
                name = f"p{person}_{expression}_{lighting}.png"
                data = png(draw_face(person, expression, lighting, size))
                (folder / name).write_bytes(data)
                facts = {"path": name, "key": name, "split": "test", "sha256": hashlib.sha256(data).hexdigest()}
                rows.append(row(f"p{person}", EXPRESSIONS[expression], f"{lighting:02d}", **facts))
    write_manifest(rows, folder)
    return folder


def write_tiny_lightcnn(path: Path) -> Path:
    """Write an identity network of a few thousand random weights."""
    config = LightCNNConfig(widths=(4, 6, 6, 4, 4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LightCNN(config)
    save_weights(path, net.state_dict(), {"model": "legan-identity", "lightcnn": asdict(config), "licence": "CC0-1.0"})
    return path


def tiny_choice(folder: Path, quality: Path) -> EvaluationNetworks:
    """Evaluators of tiny networks."""
    net = str(write_tiny_lightcnn(folder / "tiny-net.safetensors"))
    return EvaluationNetworks(net, net, net, quality)


def write_images(folder: Path, n: int, size: int = 128, change: float = 0.0, ending: str = "png") -> Path:
    """Write drawn faces `0.png`, `1.png`, ...; `change` adds that much noise."""
    folder.mkdir(parents=True)
    for i in range(n):
        noise = np.random.default_rng(i).normal(0, change, (size, size, 3)) if change else 0
        array = (draw_face(i, i % 6, 1 + i % 13, size) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(array).save(folder / f"{i}.{ending}")
    return folder
