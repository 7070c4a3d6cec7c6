"""dlib's face embedding: a ResNet of 29 layers, 128 numbers, trained on about three million photos (King, dlib.net, 2017; CC0).

A pretrained, independent check of identity. Its file comes with the PyPI package `face_recognition_models`, which is only looked
into, never imported: its code needs a part of setuptools that is no more. dlib's convention: one person where the Euclidean distance
of two descriptors is below 0.6.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from legan.core.errors import WeightsError
from legan.faces.landmarks import fit_similarity
from legan.faces.resample import warp

SAME_PERSON_DISTANCE = 0.6
N_NUMBERS = 128
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"

# Where dlib's aligned picture ("chip") of 150 pixels has its five points: outer and inner corner of the eye on the right, of the
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
CROP_POINTS = np.array([[0.7266, 0.4160], [0.5861, 0.4304], [0.2734, 0.4160], [0.4139, 0.4304], [0.5, 0.6599]])


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
    return np.ascontiguousarray(warp(crop, fit_similarity(CROP_POINTS * crop.shape[0], CHIP_POINTS), CHIP_SIZE))


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
