"""The identity embedding to compare faces by, chosen by name or file; whatever uses it says which one it was.

`packaged` is the network that comes with legan; `dlib` a pretrained one from PyPI; `lightcnn9`, `lightcnn29` and `insightface` are files
that the user has, found where `KNOWN_FILES` says; anything else is a path.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from legan.apply.networks import check_device
from legan.core.errors import ImageError, WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.images import from_network, from_unit, to_network
from legan.core.weights import PACKAGED, packaged
from legan.models.lightcnn import LightCNN, load_lightcnn

MODELS_VARIABLE = "LEGAN_MODELS"  # the folder of downloaded networks; by default ~/.cache/legan/models
KNOWN_FILES = {
    "lightcnn9": ("LightCNN_9Layers_checkpoint.pth.tar", "https://github.com/AlfredXiangWu/LightCNN"),
    "lightcnn29": ("LightCNN_29Layers_checkpoint.pth.tar", "https://github.com/AlfredXiangWu/LightCNN"),
    "insightface": ("w600k_r50.onnx", "https://github.com/deepinsight/insightface"),
}
NAMES = (PACKAGED, "dlib", *KNOWN_FILES)
_INSIGHTFACE_FOLDER = Path("~/.insightface/models/buffalo_l")  # where insightface itself downloads to

Crops = Sequence[Image.Image] | Image.Image | Tensor


@dataclass(frozen=True)
class Embedding:
    """What turns aligned crops into unit vectors.

    Args:
        name: how results name it.
        network: crops (B, 3, S, S) in [-1, 1] -> numbers (B, d) of any length.
        provenance: file, SHA-256, and what the file says about itself.
    """

    name: str
    network: Callable[[Tensor], np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)

    def embed(self, crops: Crops, batch_size: int = 32) -> np.ndarray:
        """Aligned crops, PIL images of one size or a float tensor (B, 3, S, S) in [0, 1] -> unit vectors (B, d) float32.

        Raises:
            ImageError: no crops, crops of different sizes, or values out of range.
        """
        x = from_unit(crops) if isinstance(crops, Tensor) else to_network(crops)
        if not len(x):
            raise ImageError("there are no crops to embed: give at least one")
        found = np.concatenate([self.network(part) for part in x.split(batch_size)]).astype(np.float64)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def load_embedding(name: str | Path = PACKAGED, device: str = "cpu") -> Embedding:
    """Return the embedding called `name`, or the one in a file.

    Args:
        name: one of `NAMES`; or a path: `.safetensors` of `legan train identity`, an `.onnx` of insightface, or an official
            LightCNN checkpoint.
        device: where a LightCNN runs; the others run on the CPU.

    Raises:
        ConfigError: this machine has no such device.
        WeightsError: an unknown name (with the nearest right one), or a file that is missing or of another kind.
    """
    check_device(device)
    word = str(name)
    if word == "dlib":
        return _dlib()
    if word == PACKAGED:
        return _own(packaged("identity"), PACKAGED, device)
    path = _known_file(word) if word in KNOWN_FILES else Path(name).expanduser()
    if not path.is_file():
        looks_like_path = path.suffix or len(path.parts) > 1
        what = f"weights file {word} does not exist" if looks_like_path else f"unknown identity embedding '{word}'"
        raise WeightsError(f"{what}: choose from {', '.join(NAMES)}, or give a file{nearest(word, NAMES)}")
    called = word if word in KNOWN_FILES else path.name
    if path.suffix == ".safetensors":
        return _own(path, called, device)
    return _insightface(path, called) if path.suffix == ".onnx" else _official(path, called, device)


def _known_file(name: str) -> Path:
    file, home = KNOWN_FILES[name]
    return model_file(name, file, home, [_INSIGHTFACE_FOLDER] if name == "insightface" else ())


def model_file(name: str, file: str, home: str, other_folders: Sequence[Path] = ()) -> Path:
    """Return where the file of a network is that the user downloads.

    Args:
        name: of the network, for the message.
        file: its name as published; looked for in the folder that `LEGAN_MODELS` names, then in `other_folders`.
        home: where it is published.

    Raises:
        WeightsError: it is not there; the message says where from and where to.
    """
    folder = Path(os.environ.get(MODELS_VARIABLE) or "~/.cache/legan/models").expanduser()
    for place in (folder, *(other.expanduser() for other in other_folders)):
        if (place / file).is_file():
            return place / file
    raise WeightsError(
        f"{name} does not come with legan: put {file} from {home} into {folder}, or give the path of such a file"
    )


def _own(path: Path, name: str, device: str) -> Embedding:
    net, metadata = load_lightcnn(path)
    facts: dict[str, Any] = {key: metadata[key] for key in ("model", "steps", "seed", "data", "licence") if key in metadata}
    return Embedding(name, _runner(net, device), {"file": path.name, "sha256": sha256_of(path), **facts})


def _official(path: Path, name: str, device: str) -> Embedding:
    net = LightCNN.from_checkpoint(path)
    kind = "LightCNN-29" if any(net.config.n_residual) else "LightCNN-9"
    return Embedding(name, _runner(net, device), {"file": path.name, "sha256": sha256_of(path), "model": kind})


def _dlib() -> Embedding:
    from legan.faces.dlib_embedding import DlibEmbedder

    embedder = DlibEmbedder()
    facts = {"file": embedder.path.name, "sha256": sha256_of(embedder.path), "model": "dlib ResNet", "licence": "CC0-1.0"}
    return Embedding("dlib", lambda x: embedder(from_network(x)), facts)


def _insightface(path: Path, name: str) -> Embedding:
    from legan.faces.arcface_embedding import ArcFaceEmbedder

    embedder = ArcFaceEmbedder(path)
    facts = {"file": path.name, "sha256": sha256_of(path), "model": "insightface"}
    return Embedding(name, lambda x: embedder(from_network(x)), facts)


def _runner(net: LightCNN, device: str) -> Callable[[Tensor], np.ndarray]:
    net = net.requires_grad_(False).to(device)

    @torch.inference_mode()
    def run(x: Tensor) -> np.ndarray:
        return net(x.to(device)).float().cpu().numpy()

    return run
