"""Feature networks by name and file: what is read, what is refused, and what names the results bear."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluation.sets import write_tiny_lightcnn

from legan.core.errors import WeightsError
from legan.core.files import sha256_of
from legan.evaluation import evaluators as networks
from legan.evaluation.evaluators import load_fid_network, load_lpips_network
from legan.evaluation.statistics import labels
from legan.metrics import feature_networks as backbones
from legan.models.efficientnet import load_efficientnet
from legan.models.lightcnn import load_lightcnn


def crops(n: int = 3, size: int = 128) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_means_of_layers(tmp_path: Path) -> None:
    path = write_tiny_lightcnn(tmp_path / "own.safetensors")
    network, (net, _) = load_fid_network(path), load_lightcnn(path)
    assert network.name == "own.safetensors" and network.provenance["sha256"] == sha256_of(path)
    layers = network.read(crops())
    assert [tuple(layer.shape[1:]) for layer in layers] == [(4, 128, 128), (6, 64, 64), (6, 32, 32), (4, 16, 16), (4, 16, 16)]
    with torch.no_grad():
        assert torch.equal(
            layers[0], net.stem(crops().mul(torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, True) / 2 + 0.5)
        )
    assert network.features(crops()).numpy() == pytest.approx(torch.cat([x.mean((2, 3)) for x in layers], 1).numpy())


def test_batch_size_does_not_change_features_and_other_sizes_are_scaled(tmp_path: Path) -> None:
    network = load_lpips_network(write_tiny_lightcnn(tmp_path / "own.safetensors"))
    whole = network.features(crops(5)).numpy()
    one_by_one = np.concatenate([network.features(part).numpy() for part in crops(5).split(1)])
    assert whole == pytest.approx(one_by_one, rel=1e-5, abs=1e-6)
    large = torch.nn.functional.interpolate(crops(2, 16), (256, 256), mode="bilinear")
    assert network.features(large).shape == whole[:2].shape


def test_the_packaged_networks_need_no_download() -> None:
    network, other = load_fid_network(), load_fid_network("lightcnn")
    assert network.name == "efficientnet-lite0" and "ImageNet" in network.provenance["body"]
    assert network.features(crops(1)).shape == (1, 16 + 24 + 40 + 80 + 112 + 192 + 320)
    assert other.name == "lightcnn" and other.features(crops(1)).shape == (1, 296)


def test_the_packaged_efficientnet_is_that_of_its_package() -> None:
    network = load_lpips_network()
    with torch.no_grad():
        own = load_efficientnet()(torch.nn.functional.interpolate(crops(1), (224, 224), mode="bilinear"))
    for ours, theirs in zip(network.read(crops(1)), own, strict=True):  # packaged as float16
        assert float((ours - theirs).abs().max()) < 0.02 * float(theirs.abs().max())


def published(folder: Path, name: str, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file named after its own checksum, as the published ones are, in the folder where networks are looked for."""
    torch.save(tensors, folder / "x.pth")
    digits = sha256_of(folder / "x.pth")[:8]
    path = (folder / "x.pth").rename(folder / f"{name}-{digits}.pth")
    monkeypatch.setenv("LEGAN_MODELS", str(folder))
    monkeypatch.setitem(networks._FILES, name, (path.name, "https://example.org"))
    return path


def test_alexnet_of_a_published_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = backbones.alexnet()
    tensors = {**net.state_dict(), "classifier.1.weight": torch.zeros(2)}
    path = published(tmp_path, "alex", tensors, monkeypatch)
    network = load_lpips_network("alex")
    assert network.provenance == {"file": path.name, "sha256": sha256_of(path)} and len(network.weights or []) == 5
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(network.read(crops()), net(crops()), strict=True))
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match=r"is not the published file .* download it again"):
        load_lpips_network("alex")


def test_published_files_that_are_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path, "vgg", backbones.alexnet().state_dict(), monkeypatch)
    with pytest.raises(WeightsError, match="does not hold the tensors of vgg"):
        load_lpips_network("vgg")


def test_names_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGAN_MODELS", str(tmp_path))
    monkeypatch.setattr(networks, "_HUB_FOLDERS", ())
    with pytest.raises(
        WeightsError, match=r"inception does not come with legan: put pt_inception-2015-12-05-6726825d\.pth from http"
    ):
        load_fid_network("inception")
    with pytest.raises(WeightsError, match=r"put LightCNN_29Layers_checkpoint\.pth\.tar from"):
        load_fid_network("lightcnn29")
    with pytest.raises(WeightsError, match=r"unknown feature network 'inceptoin': choose from .*; did you mean 'inception'\?"):
        load_fid_network("inceptoin")
    with pytest.raises(WeightsError, match="unknown feature network 'inception'"):
        load_lpips_network("inception")
    assert list(tmp_path.iterdir()) == []


def test_plain_names_are_kept_for_the_networks_that_they_are_known_for() -> None:
    def heads(fid: str, lpips: str) -> dict[str, str]:
        return labels({"fid": {"name": fid}, "lpips": {"name": lpips}, "match": {"name": "packaged"}})

    assert heads("inception", "alex")["fid"] == "FID" and heads("inception", "alex")["lpips"] == "LPIPS (alex)"
    own = heads("lightcnn", "lightcnn")
    assert own["fid"] == "FID (lightcnn)" and own["kid"] == "KID (lightcnn)" and own["lpips"] == "layer distance (lightcnn)"
    assert "LPIPS" not in "".join(own.values())
