"""Embeddings of insightface's recognition networks (ArcFace; Deng et al., CVPR 2019), from an ONNX file that the user has.

Such a network reads faces of 112 x 112 pixels, aligned by five points, RGB, (level - 127.5) / 127.5.
"""

from pathlib import Path
from typing import Any

import numpy as np

from legan.core.errors import WeightsError
from legan.faces.landmarks import fit_similarity
from legan.faces.resample import warp

INPUT_SIZE = 112
# Eyes, tip of the nose, corners of the mouth as insightface aligns them (`arcface_dst` in insightface/utils/face_align.py).
INPUT_POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
# The same points in an aligned crop, as fractions of its side: mean of 250 rendered neutral faces, made symmetric.
CROP_POINTS = np.array([[0.3436, 0.4188], [0.6564, 0.4188], [0.5, 0.6114], [0.3710, 0.7721], [0.6290, 0.7721]])


class ArcFaceEmbedder:
    """Aligned crops -> embeddings of an ONNX network.

    Raises:
        WeightsError: onnxruntime is not installed, or the file is no network that reads pictures of 112 x 112.
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
    return warp(crop, fit_similarity(CROP_POINTS * crop.shape[0], INPUT_POINTS), INPUT_SIZE)


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
