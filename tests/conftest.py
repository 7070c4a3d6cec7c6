"""What many tests use: a tiny editor's weights file, and photos whose faces are known without a detector.

Arithmetic does not hang on the machine: one thread, here and in the processes that tests start, since the order of a sum follows their
number; and float32 where a precision is `auto`, which elsewhere is bfloat16 on hardware that has it.
"""

import os

# Before numpy and torch are loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), LEGAN_PRECISION="fp32")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.browser import chromium
from tests.quality_weights import write_tiny_quality

from legan.core.config import config_to_dict
from legan.core.geometry import EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.core.weights import save_weights
from legan.models.critic import Critic, CriticConfig
from legan.models.generator import Generator, GeneratorConfig, preset

torch.set_num_threads(1)

TINY_GENERATOR = GeneratorConfig(
    width=4, n_residual=1, kernel=3, mask_channels=2, unshuffle=2, skip=True, output="warp-gain-bias"
)
TINY_CRITIC = CriticConfig(width=4, n_layers=5, max_width=8)
# Landmarks of a frontal face in its crop, as fractions of the side.
FACE = [
    (0.154, 0.427), (0.161, 0.517), (0.171, 0.606), (0.190, 0.696), (0.218, 0.782), (0.262, 0.859), (0.328, 0.920), (0.412, 0.962),
    (0.500, 0.978), (0.588, 0.962), (0.672, 0.920), (0.738, 0.859), (0.782, 0.782), (0.810, 0.696), (0.829, 0.606), (0.839, 0.517),
    (0.846, 0.427), (0.239, 0.312), (0.282, 0.296), (0.335, 0.292), (0.390, 0.298), (0.440, 0.306), (0.560, 0.306), (0.610, 0.298),
    (0.665, 0.292), (0.718, 0.296), (0.761, 0.312), (0.500, 0.410), (0.500, 0.476), (0.500, 0.542), (0.500, 0.612), (0.430, 0.627),
    (0.462, 0.638), (0.500, 0.645), (0.538, 0.638), (0.570, 0.627), (0.270, 0.406), (0.316, 0.382), (0.361, 0.387), (0.405, 0.423),
    (0.360, 0.430), (0.313, 0.432), (0.595, 0.423), (0.639, 0.387), (0.684, 0.382), (0.730, 0.406), (0.687, 0.432), (0.640, 0.430),
    (0.375, 0.788), (0.427, 0.760), (0.469, 0.753), (0.500, 0.758), (0.531, 0.753), (0.573, 0.760), (0.625, 0.788), (0.579, 0.833),
    (0.541, 0.846), (0.500, 0.851), (0.459, 0.846), (0.421, 0.833), (0.382, 0.789), (0.457, 0.790), (0.500, 0.792), (0.543, 0.790),
    (0.618, 0.789), (0.544, 0.795), (0.500, 0.798), (0.456, 0.795),
]  # fmt: skip


def write_tiny_editor(path: Path, with_critic: bool = True) -> Path:
    """Write an editor of a few thousand random weights that visibly changes every crop."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, critic = Generator(TINY_GENERATOR), Critic(TINY_CRITIC)
        for layer in (generator.translate.out, generator.displace):
            torch.nn.init.normal_(layer.weight, std=0.04)
    tensors = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    metadata = {"generator": config_to_dict(TINY_GENERATOR), "steps": 7, "licence": "CC0-1.0", "data": "noise"}
    if with_critic:
        tensors |= {f"critic.{name}": tensor for name, tensor in critic.state_dict().items()}
        metadata["critic"] = config_to_dict(TINY_CRITIC)
    save_weights(path, tensors, metadata, half=True)
    return path


@pytest.fixture(scope="session")
def tiny_editor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file of a tiny editor with its critic."""
    return write_tiny_editor(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def tiny_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file of a tiny editor without a critic."""
    return write_tiny_editor(tmp_path_factory.mktemp("weights") / "alone.safetensors", with_critic=False)


@pytest.fixture(scope="session")
def keeping_editor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file of a tiny editor that keeps what is not named; without a critic, as it needs none."""
    config = preset("fields", width=4, n_residual=1, mask_channels=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(config)
        for layer in (generator.displace, generator.light, generator.draw):
            torch.nn.init.normal_(layer.weight, std=0.04)
    path = tmp_path_factory.mktemp("weights") / "keeping.safetensors"
    tensors = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    metadata = {"generator": config_to_dict(config), "steps": 7, "licence": "CC0-1.0", "data": "noise"}
    save_weights(path, tensors, metadata, half=True)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_editor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX file of the tiny editor; made once, since the exporter takes seconds to start."""
    from legan.editing.onnx import export_onnx

    out = tmp_path_factory.mktemp("onnx") / "editor.onnx"
    assert export_onnx(tiny_editor, out)["steps"] == 7
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, for tests with `tests.browser.NEEDS_CHROMIUM`."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_quality(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights file of a tiny quality model."""
    return write_tiny_quality(tmp_path_factory.mktemp("quality") / "quality.safetensors")


def landmarks_at(left: float, top: float, side: float) -> np.ndarray:
    """68 points of a frontal face whose eyes, nose and upper lip lie where a crop at this square of the photo has them."""
    points = np.array(FACE, np.float32)
    places = (
        (slice(36, 42), (0.5 - EYE_DISTANCE / 2, EYES_Y)),
        (slice(42, 48), (0.5 + EYE_DISTANCE / 2, EYES_Y)),
        (slice(31, 36), (0.5, 0.635)),
    )
    for part, place in places:
        points[part] += np.array(place) - points[part].mean(0)
    points[27:31, 1] -= 0.02  # the bridge goes up with the base, which the table has at 0.655
    points[48:68] += (0.5, MOUTH_Y) - points[50:53].mean(0)
    return points * side + (left, top)


@pytest.fixture
def known_faces(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with squares (left, top, side), the largest first: from then on every photo has its faces there."""
    from legan.faces.detect import Face

    def know(*squares: tuple[float, float, float]) -> None:
        faces = [Face((x, y, x + side, y + side), landmarks_at(x, y, side), 1.0) for x, y, side in squares]
        monkeypatch.setattr("legan.editing.editor.detect", lambda image, **_: faces)

    know((40, 30, 128))
    return know


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 320 x 200 pixels with texture everywhere."""
    path = tmp_path / "photo.png"
    textured().save(path)
    return path


def textured(width: int = 320, height: int = 200, seed: int = 0) -> Image.Image:
    """A smooth image with fine noise."""
    y, x = np.mgrid[:height, :width]
    slow = 110 + 50 * np.sin(x / 30)[..., None] * np.cos(y / 20)[..., None]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(slow + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def bucket() -> Iterator[Any]:
    """A bucket of a local S3 server, found by the environment as on a cluster's nodes."""
    server_module = pytest.importorskip("moto.server", reason="needs a local S3: pip install 'moto[server]'")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs", reason="addresses s3:// need s3fs: pip install 'legan[bulk]'")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="faces")
        yield client
    server.stop()
