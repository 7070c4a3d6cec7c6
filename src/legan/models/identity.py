"""Identity networks from weights files, whichever of the two kinds a file holds: FaceResNet or LightCNN."""

from pathlib import Path
from typing import Any

from legan.core.weights import load_metadata, weights_file
from legan.models.face_resnet import FaceResNet, load_face_resnet
from legan.models.lightcnn import LightCNN, load_lightcnn


def load_identity_network(path: Path | None = None) -> tuple[FaceResNet | LightCNN, dict[str, Any]]:
    """Return an identity network in evaluation mode, and its metadata; None is the packaged one.

    Args:
        path: weights of `legan train identity` or of `experiments/identity/distil.py`, or an official checkpoint of LightCNN.

    Raises:
        WeightsError: the weights are missing, damaged, or not an identity network's.
    """
    path = weights_file(path, "identity")
    if path.suffix == ".safetensors" and "face_resnet" in load_metadata(path):
        return load_face_resnet(path)
    return load_lightcnn(path)
