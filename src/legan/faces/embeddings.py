"""Identity embeddings: the packaged network, LightCNN, dlib, and ArcFace, chosen by name or file."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor, nn

from legan.core.config import dict_to_config
from legan.core.device import check_device
from legan.core.errors import ImageError, WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.geometry import warp
from legan.core.images import from_network, from_unit, to_network
from legan.core.weights import PACKAGED, packaged
from legan.faces.landmarks import fit_similarity
from legan.models.identity import load_identity_network
from legan.models.lightcnn import LightCNN

# The identity embedding to compare faces by, chosen by name or file; whatever uses it says which one it was.
#
# `packaged` is the network that comes with legan, distilled from dlib's; `dlib` that network itself, from PyPI; `lightcnn` a small one that
# comes with legan too, trained on renders and few people; `lightcnn9`, `lightcnn29` and `insightface` are files that the user has, found
# where `KNOWN_FILES` says; anything else is a path.


MODELS_VARIABLE = "LEGAN_MODELS"  # the folder of downloaded networks; by default ~/.cache/legan/models
KNOWN_FILES = {
    "lightcnn9": ("LightCNN_9Layers_checkpoint.pth.tar", "https://github.com/AlfredXiangWu/LightCNN"),
    "lightcnn29": ("LightCNN_29Layers_checkpoint.pth.tar", "https://github.com/AlfredXiangWu/LightCNN"),
    "insightface": ("w600k_r50.onnx", "https://github.com/deepinsight/insightface"),
}
NAMES = (PACKAGED, "dlib", "lightcnn", *KNOWN_FILES)
_INSIGHTFACE_FOLDER = Path("~/.insightface/models/buffalo_l")  # where insightface itself downloads to

Crops = Sequence[Image.Image] | Image.Image | Tensor


Answer = Literal["same", "unsure", "different"]


@config_dataclass(frozen=True)
class Thresholds:
    """From which match score two faces are called the same person's, below which different people's, and how often wrongly.

    Measured on people whom the network did not learn from (`experiments/identity/people.py`).

    Args:
        same: score from which the answer is "same".
        different: score below which it is "different"; between the two it is "unsure".
        two_called_same, two_called_different: shares of pairs of two people; the first is the false-match rate.
        one_called_same, one_called_different: shares of pairs of one person.
        n_two, n_one: pairs of two people and of one.
    """

    same: float
    different: float
    two_called_same: float
    two_called_different: float
    one_called_same: float
    one_called_different: float
    n_two: int
    n_one: int

    def answer(self, score: float) -> Answer:
        """What to call a pair of this score."""
        return "same" if score >= self.same else "different" if score < self.different else "unsure"

    def rates(self, answer: Answer) -> tuple[float, float]:
        """Shares of pairs of two people, and of one person, that get this answer."""
        two = {"same": self.two_called_same, "different": self.two_called_different}
        one = {"same": self.one_called_same, "different": self.one_called_different}
        return two.get(answer, 1 - sum(two.values())), one.get(answer, 1 - sum(one.values()))


# As measured for the packaged network, whose thresholds stand in its weights.
_OF_DLIB = Thresholds(
    same=0.939, different=0.896, two_called_same=0.0009, two_called_different=0.951, one_called_same=0.9143,
    one_called_different=0.0048, n_two=192081, n_one=1050,
)  # fmt: skip


@dataclass(frozen=True)
class Embedding:
    """What turns aligned crops into unit vectors.

    Args:
        name: how results name it.
        network: crops (B, 3, S, S) in [-1, 1] -> numbers (B, d) of any length.
        provenance: file, SHA-256, and what the file says about itself.
        thresholds: of its match scores; None where nobody has measured them.
    """

    name: str
    network: Callable[[Tensor], np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)
    thresholds: Thresholds | None = None

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
        device: where a network of legan or a LightCNN runs; the others run on the CPU.

    Raises:
        ConfigError: this machine has no such device.
        WeightsError: an unknown name (with the nearest right one), or a file that is missing or of another kind.
    """
    check_device(device)
    word = str(name)
    if word == "dlib":
        return _dlib()
    if word in (PACKAGED, "lightcnn"):
        return _own(packaged("identity" if word == PACKAGED else word), word, device)
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
    net, metadata = load_identity_network(path)
    facts: dict[str, Any] = {key: metadata[key] for key in ("model", "steps", "seed", "data", "licence") if key in metadata}
    thresholds = dict_to_config(Thresholds, metadata["thresholds"]) if "thresholds" in metadata else None
    return Embedding(name, _runner(net, device), {"file": path.name, "sha256": sha256_of(path), **facts}, thresholds)


def _official(path: Path, name: str, device: str) -> Embedding:
    net = LightCNN.from_checkpoint(path)
    kind = "LightCNN-29" if any(net.config.n_residual) else "LightCNN-9"
    return Embedding(name, _runner(net, device), {"file": path.name, "sha256": sha256_of(path), "model": kind})


def _dlib() -> Embedding:

    embedder = DlibEmbedder()
    facts = {"file": embedder.path.name, "sha256": sha256_of(embedder.path), "model": "dlib ResNet", "licence": "CC0-1.0"}
    return Embedding("dlib", lambda x: embedder(from_network(x)), facts, _OF_DLIB)


def _insightface(path: Path, name: str) -> Embedding:

    embedder = ArcFaceEmbedder(path)
    facts = {"file": path.name, "sha256": sha256_of(path), "model": "insightface"}
    return Embedding(name, lambda x: embedder(from_network(x)), facts)


def _runner(net: nn.Module, device: str) -> Callable[[Tensor], np.ndarray]:
    net = net.requires_grad_(False).to(device)

    @torch.inference_mode()
    def run(x: Tensor) -> np.ndarray:
        return net(x.to(device)).float().cpu().numpy()

    return run


# dlib's face embedding: a ResNet of 29 layers, 128 numbers, trained on about three million photos (King, dlib.net, 2017; CC0).
#
# A pretrained, independent check of identity. Its file comes with the PyPI package `face_recognition_models`, which is only looked
# into, never imported: its code needs a part of setuptools that is no more. dlib's convention: one person where the Euclidean distance
# of two descriptors is below 0.6.


SAME_PERSON_DISTANCE = 0.6
N_NUMBERS = 128
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"

# Where dlib's aligned image ("chip") of 150 pixels has its five points: outer and inner corner of the eye on the right, of the
# eye on the left, base of the nose (`get_face_chip_details` in dlib/image_transforms/interpolation.h), here with the padding added.
CHIP_SIZE, CHIP_PADDING = 150, 0.25
_MEAN_FACE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
CHIP_POINTS = CHIP_SIZE * (CHIP_PADDING + _MEAN_FACE) / (1 + 2 * CHIP_PADDING)
# The same points in an aligned crop, as fractions of its side: mean of 250 rendered neutral faces, made symmetric.
DLIB_CROP_POINTS = np.array([[0.7266, 0.4160], [0.5861, 0.4304], [0.2734, 0.4160], [0.4139, 0.4304], [0.5, 0.6599]])


class DlibEmbedder:
    """Aligned crops -> dlib's descriptors.

    Args:
        path: the model file; None finds it in the installed package `face_recognition_models`.

    Raises:
        WeightsError: it is not there.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = model_path() if path is None else Path(path)
        self._net = _network(self.path)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Aligned RGB crops uint8 (B, S, S, 3) -> descriptors float32 (B, 128), not of unit length."""
        found = [np.array(self._net.compute_face_descriptor(chip(crop))) for crop in crops]
        return np.stack(found).astype(np.float32) if found else np.zeros((0, N_NUMBERS), np.float32)


def chip(crop: np.ndarray) -> np.ndarray:
    """Bring an aligned crop uint8 (S, S, 3) to dlib's chip (150, 150, 3): by where crops have their eyes and nose, none is searched."""
    return np.ascontiguousarray(warp(crop, fit_similarity(DLIB_CROP_POINTS * crop.shape[0], CHIP_POINTS), CHIP_SIZE))


def model_path() -> Path:
    """Return the model file of the installed package `face_recognition_models`.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = find_spec("face_recognition_models")
    path = Path(spec.origin).parent / _FILE if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsError("dlib's embedding needs its model file: install it with `pip install legan[identity]` (100 MB)")
    return path


@lru_cache(maxsize=1)
def _network(path: Path) -> Any:
    import dlib

    try:
        return dlib.face_recognition_model_v1(str(path))
    except RuntimeError as error:
        raise WeightsError(
            f"{path} is no model of dlib's face embedding ({error}): install face_recognition_models again"
        ) from error


# Embeddings of insightface's recognition networks (ArcFace; Deng et al., CVPR 2019), from an ONNX file that the user has.
#
# Such a network reads faces of 112 x 112 pixels, aligned by five points, RGB, (level - 127.5) / 127.5.


INPUT_SIZE = 112
# Eyes, tip of the nose, corners of the mouth as insightface aligns them (`arcface_dst` in insightface/utils/face_align.py).
INPUT_POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
# The same points in an aligned crop, as fractions of its side: mean of 250 rendered neutral faces, made symmetric.
ARCFACE_CROP_POINTS = np.array([[0.3436, 0.4188], [0.6564, 0.4188], [0.5, 0.6114], [0.3710, 0.7721], [0.6290, 0.7721]])


class ArcFaceEmbedder:
    """Aligned crops -> embeddings of an ONNX network.

    Raises:
        WeightsError: onnxruntime is not installed, or the file is no network that reads images of 112 x 112.
    """

    def __init__(self, path: Path) -> None:
        self._session = _session(Path(path))
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._name, shape = inputs[0].name, inputs[0].shape
        if len(inputs) != 1 or list(shape[1:]) != [3, INPUT_SIZE, INPUT_SIZE] or len(outputs[0].shape) != 2:
            raise WeightsError(
                f"{path} reads {shape}, not faces (B, 3, {INPUT_SIZE}, {INPUT_SIZE}), or gives no rows: "
                "name a recognition network, such as w600k_r50.onnx"
            )

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Aligned RGB crops uint8 (B, S, S, 3), at least one -> embeddings float32 (B, d), not of unit length."""
        faces = np.stack([aligned(crop) for crop in crops]).astype(np.float32)
        inputs = (faces.transpose(0, 3, 1, 2) - 127.5) / 127.5  # (B, 3, 112, 112)
        # One at a time: some files fix the batch at 1, and so no face depends on its neighbours.
        return np.concatenate([self._session.run(None, {self._name: one[None]})[0] for one in inputs])


def aligned(crop: np.ndarray) -> np.ndarray:
    """Bring an aligned crop uint8 (S, S, 3) to insightface's (112, 112, 3): by where crops have their features."""
    return warp(crop, fit_similarity(ARCFACE_CROP_POINTS * crop.shape[0], INPUT_POINTS), INPUT_SIZE)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile
    except ImportError as error:
        raise WeightsError("an .onnx embedding needs onnxruntime: install it with `pip install legan[identity]`") from error
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise WeightsError(f"{path} is no ONNX network ({' '.join(str(error).split())[:120]})") from error
