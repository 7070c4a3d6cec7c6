"""Configs in weights files are not believed: what does not fit the tensors is refused at once, whatever it asks for."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tests.recognition_weights import TINY

from legan.core.errors import WeightsError
from legan.core.weights import save_weights
from legan.evaluation.expression import ExpressionClassifier
from legan.models.critic import Critic, CriticConfig
from legan.models.editors import load_networks
from legan.models.face_resnet import FaceResNet, load_face_resnet
from legan.models.from_weights import network_of_config
from legan.models.generator import Generator, GeneratorConfig
from legan.models.lightcnn import LightCNN, load_lightcnn
from legan.models.quality import MODEL, QualityConfig, QualityModel, load_quality_net
from legan.models.stargan import StarGANCritic, StarGANCriticConfig, StarGANGenerator, StarGANGeneratorConfig, load_published
from legan.models.starganv2 import Mapping as StyleMapping
from legan.models.starganv2 import StarGANv2Config, StarGANv2Generator

GENERATOR = GeneratorConfig(width=4, n_residual=1, kernel=3)
CRITIC = CriticConfig(width=4, n_layers=5, max_width=16)
QUALITY = QualityConfig(width=2, n_hidden=4)
STARGAN = StarGANGeneratorConfig(width=4, n_residual=1), StarGANCriticConfig(width=4, n_layers=5)
V2 = StarGANv2Config(width=2, max_width=8, n_style=4, n_hidden=8)


def named(**networks: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{part.replace('_', '.')}.{name}": tensor
        for part, net in networks.items()
        for name, tensor in net.state_dict().items()
    }


Case = tuple[dict[str, torch.Tensor], dict[str, Any], Callable[[Path], Any], tuple[str, ...]]


def cases() -> dict[str, Case]:
    """Tensors, metadata, what loads them, and the entries of the metadata that are configs; one a kind of weights."""
    stargan, v2 = {"generator": asdict(STARGAN[0]), "critic": asdict(STARGAN[1])}, {"generator": asdict(V2)}
    return {
        "legan": (
            named(generator=Generator(GENERATOR), critic=Critic(CRITIC)),
            {"model": "legan-editor", "generator": asdict(GENERATOR), "critic": asdict(CRITIC)},
            load_networks, ("generator", "critic"),
        ),
        "stargan": (
            named(generator=StarGANGenerator(STARGAN[0]), critic=StarGANCritic(STARGAN[1])),
            {"model": "stargan", **stargan}, load_networks, ("generator", "critic"),
        ),
        "starganv2": (
            named(generator_generator=StarGANv2Generator(V2), generator_mapping=StyleMapping(V2)),
            {"model": "starganv2", **v2}, load_networks, ("generator",),
        ),
        "quality": (QualityModel(QUALITY).state_dict(), {"model": MODEL, "network": asdict(QUALITY)}, load_quality_net, ("network",)),
        "identity": (LightCNN(TINY).state_dict(), {"lightcnn": asdict(TINY)}, load_lightcnn, ("lightcnn",)),
        "face_resnet": (FaceResNet().state_dict(), {"face_resnet": {"rank": 160}}, load_face_resnet, ("face_resnet",)),
        "expression": (
            LightCNN(replace(TINY, n_classes=3)).state_dict(),
            {"lightcnn": asdict(replace(TINY, n_classes=3)), "labels": ["a", "b", "c"]},
            ExpressionClassifier, ("lightcnn",),
        ),
    }  # fmt: skip


KINDS = tuple(cases())


@pytest.mark.parametrize("kind", KINDS)
def test_config_and_tensors_that_fit_are_loaded(kind: str, tmp_path: Path) -> None:
    tensors, metadata, load, _ = cases()[kind]
    save_weights(tmp_path / "w.safetensors", tensors, metadata)
    load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_a_config_may_lie(kind: str, tmp_path: Path) -> None:
    """Each whole number of each config in turn as 0, -1, one more, a million and 10^18: refused in a moment, in one line."""
    tensors, metadata, load, entries = cases()[kind]
    path, start, n_refused = tmp_path / "w.safetensors", time.monotonic(), 0
    for entry in entries:
        for name, right in metadata[entry].items():
            if not isinstance(right, int) or isinstance(right, bool):
                continue
            for wrong in (0, -1, right + 1, 3000, 10**6, 10**18):
                save_weights(path, tensors, {**metadata, entry: {**metadata[entry], name: wrong}})
                try:
                    load(path)
                except WeightsError as error:
                    assert "\n" not in str(error) and str(path) in str(error)
                    n_refused += 1
    assert n_refused > 3 * len(entries)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong", [5, "text", [1, 2], [], {"no": "such"}, {"width": "wide"}, {"width": [1]}, {"size": {"a": 1}}]
)
def test_configs_of_another_form(kind: str, wrong: object, tmp_path: Path) -> None:
    tensors, metadata, load, entries = cases()[kind]
    for entry in entries:
        save_weights(tmp_path / "w.safetensors", tensors, {**metadata, entry: wrong})
        with pytest.raises(WeightsError) as caught:
            load(tmp_path / "w.safetensors")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_another_form(kind: str, tmp_path: Path) -> None:
    tensors, metadata, load, _ = cases()[kind]
    name = next(reversed(tensors))
    for changed in (
        {key: tensor for key, tensor in tensors.items() if key != name},
        {**tensors, name: torch.zeros(3, 3, 3)},
        {**tensors, f"{name}.more": torch.zeros(1)},
        {**tensors, name: torch.zeros(10**6, 0)},
    ):
        save_weights(tmp_path / "w.safetensors", changed, metadata)
        with pytest.raises(WeightsError, match="do not fit its config"):
            load(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        '"text"', "5", "[1]", "null", "[" * 100_000, '{"a":' * 100_000, '{"model": ["stargan"]}', '{"known_faults": 5}',
        '{"known_faults": [5]}', '{"steps": "many"}', '{"steps": -3}', '{"data": {"a": 1}}', '{"licence": 5}', '{"labels": 5}',
        '{"generator": "text"}', "9" * 10_000,
    ],
)  # fmt: skip
def test_metadata_of_another_form(metadata: str, tmp_path: Path) -> None:
    for kind in KINDS:
        tensors, right, load, _ = cases()[kind]
        wrong = json.loads(metadata) if len(metadata) < 100 else None
        text = json.dumps({**right, **wrong}) if isinstance(wrong, dict) else metadata
        data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"legan": text})
        (tmp_path / "w.safetensors").write_bytes(data)
        with pytest.raises(WeightsError) as caught:
            load(tmp_path / "w.safetensors")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_building_elsewhere_is_not_disturbed(tmp_path: Path) -> None:
    network_of_config(QualityModel, QualityConfig, asdict(QUALITY), QualityModel(QUALITY).state_dict(), tmp_path)
    with pytest.raises(WeightsError):
        network_of_config(QualityModel, QualityConfig, asdict(QUALITY), {}, tmp_path)
    assert sum(p.numel() for p in QualityModel(QualityConfig(width=8)).parameters()) > 0


def test_published_checkpoints_tell_their_shapes_truly(tmp_path: Path) -> None:
    state = StarGANGenerator(STARGAN[0]).state_dict()
    torch.save(state, tmp_path / "G.ckpt")
    load_published(tmp_path / "G.ckpt")
    for wrong in (
        {**state, "main.0.weight": torch.zeros(10**9, 3, 0, 0)}, {"main.0.weight": torch.zeros(())}, {0: torch.zeros(1)}, [1],
        {"main.0.weight": torch.zeros(2, 2), "conv2.weight": torch.zeros(2)},
    ):  # fmt: skip
        torch.save(wrong, tmp_path / "G.ckpt")
        with pytest.raises(WeightsError):
            load_published(tmp_path / "G.ckpt")
    whole = (tmp_path / "G.ckpt").read_bytes()
    for n in (0, 1, 10, 1000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "G.ckpt").write_bytes(whole[:n])
        for load in (load_published, LightCNN.from_checkpoint):
            with pytest.raises(WeightsError):
                load(tmp_path / "G.ckpt")
    torch.save({"fc2.weight": torch.zeros(10**9, 0), "features.0.filter.weight": torch.zeros(1)}, tmp_path / "l.pth")
    with pytest.raises(WeightsError):
        LightCNN.from_checkpoint(tmp_path / "l.pth", keep_classifier=True)
