"""FaceResNet: dlib's own network in torch, the factored one, their files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.core.config import config_to_dict
from legan.core.errors import ImageError, WeightsError
from legan.core.images import to_network
from legan.core.weights import save_weights
from legan.faces.embeddings import DlibEmbedder, chip, model_path
from legan.models.face_resnet import FaceResNet, FaceResNetConfig, load_face_resnet, read_dlib


class TestFaceResNet(ModelTester):
    def make(self) -> nn.Module:
        return FaceResNet(FaceResNetConfig(rank=8))

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (torch.rand(n, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1,)


def smooth_crops(n: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (n, 128, 128, 3)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(crop, (0, 0), 4) for crop in noise])


def test_chip_is_what_dlib_is_given() -> None:
    crops = smooth_crops(2)
    net = FaceResNet(FaceResNetConfig(rank=8))
    rows, columns = net.chip
    ours = (rows @ to_network(crops) @ columns.T).permute(0, 2, 3, 1).numpy()
    theirs = np.stack([chip(crop) for crop in crops]) / 127.5 - 1
    assert np.abs(ours - theirs).max() < 2 / 127.5  # cubic weights of OpenCV are rounded, and so are its levels


def test_dlibs_network_in_torch_gives_dlibs_descriptors() -> None:
    try:
        path = model_path()
    except WeightsError as error:
        pytest.skip(str(error))
    crops = smooth_crops(3)
    with torch.no_grad():
        ours = read_dlib(path)(to_network(crops)).numpy()
    np.testing.assert_allclose(ours, DlibEmbedder(path)(crops), atol=5e-3)


def test_a_file_that_is_not_dlibs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(bytes(1000))
    with pytest.raises(WeightsError, match="not dlib's face network"):
        read_dlib(tmp_path / "a.dat")


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ImageError, match="align the faces to 128 pixels"):
        FaceResNet(FaceResNetConfig(rank=8))(torch.zeros(1, 3, 112, 112))


def test_weights_open_again_and_others_are_refused(tmp_path: Path) -> None:
    net = FaceResNet(FaceResNetConfig(rank=8)).eval()
    save_weights(tmp_path / "a.safetensors", net.state_dict(), {"face_resnet": config_to_dict(net.config)})
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        assert torch.equal(load_face_resnet(tmp_path / "a.safetensors")[0](x), net(x))
    save_weights(tmp_path / "b.safetensors", net.state_dict(), {"lightcnn": {}})
    with pytest.raises(WeightsError, match="not a FaceResNet"):
        load_face_resnet(tmp_path / "b.safetensors")
