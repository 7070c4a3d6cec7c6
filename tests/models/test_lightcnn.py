"""LightCNN: the published layers, official checkpoints, what it reads, and the shared network tests."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn
from torch.nn import functional

from legan.core.errors import ConfigError, ImageError, WeightsError
from legan.core.weights import save_weights
from legan.models.blocks import count_parameters
from legan.models.lightcnn import PRESETS, LightCNN, LightCNNConfig, grey, load_lightcnn, standardise

TINY = LightCNNConfig(widths=(4, 6, 6, 4, 4), n_residual=(0, 1, 0, 2))


def crops(n: int) -> Tensor:
    return torch.rand(n, 3, 128, 128, generator=torch.Generator().manual_seed(n)) * 2 - 1


def official(n_layers: int, n_classes: int = 7) -> dict[str, Tensor]:
    """Random tensors with the names and shapes of an official checkpoint, `module.` of DataParallel included."""
    shapes: dict[str, tuple[int, ...]] = {}

    def mfm(name: str, n_in: int, n_out: int, kernel: int) -> None:
        shapes[f"{name}.filter.weight"] = (2 * n_out, n_in, kernel, kernel) if kernel else (2 * n_out, n_in)
        shapes[f"{name}.filter.bias"] = (2 * n_out,)

    groups = [(48, 96), (96, 192), (192, 128), (128, 128)]
    if n_layers == 9:
        names = ["features.2", "features.4", "features.6", "features.7"]
        mfm("features.0", 1, 48, 5)
        mfm("fc1", 8192, 256, 0)
    else:
        names = ["group1", "group2", "group3", "group4"]
        mfm("conv1", 1, 48, 5)
        mfm("fc", 8192, 256, 0)
        for i, (n, width) in enumerate(zip((1, 2, 3, 4), (48, 96, 192, 128), strict=True)):
            for j in range(n):
                mfm(f"block{i + 1}.{j}.conv1", width, width, 3)
                mfm(f"block{i + 1}.{j}.conv2", width, width, 3)
    for name, (n_in, n_out) in zip(names, groups, strict=True):
        mfm(f"{name}.conv_a", n_in, n_in, 1)
        mfm(f"{name}.conv", n_in, n_out, 3)
    shapes |= {"fc2.weight": (n_classes, 256), "fc2.bias": (n_classes,)}
    random = torch.Generator().manual_seed(n_layers)
    scale = {name: 0.5 / torch.tensor(shape[1:]).prod() ** 0.5 if len(shape) > 1 else 0.05 for name, shape in shapes.items()}
    return {f"module.{name}": scale[name] * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def published(state: dict[str, Tensor], n_layers: int, image: Tensor) -> Tensor:
    """The published forward pass on grey images (B, 1, 128, 128), written out by the official names."""

    def mfm(name: str, x: Tensor) -> Tensor:
        weight, bias = state[f"module.{name}.filter.weight"], state[f"module.{name}.filter.bias"]
        y = (
            functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
            if weight.ndim == 4
            else functional.linear(x, weight, bias)
        )
        return torch.max(*torch.split(y, y.shape[1] // 2, 1))

    def pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 2, 2, ceil_mode=True)

    def group(name: str, x: Tensor) -> Tensor:
        return mfm(f"{name}.conv", mfm(f"{name}.conv_a", x))

    if n_layers == 9:
        x = pool(mfm("features.0", image))
        x = pool(group("features.4", pool(group("features.2", x))))
        return mfm("fc1", pool(group("features.7", group("features.6", x))).flatten(1))
    x = pool(mfm("conv1", image))
    for block, n in enumerate((1, 2, 3, 4), start=1):
        for i in range(n):
            x = x + mfm(f"block{block}.{i}.conv2", mfm(f"block{block}.{i}.conv1", x))
        x = group(f"group{block}", x)
        x = x if block == 3 else pool(x)
    return mfm("fc", x.flatten(1))


class TestLightCNN(ModelTester):
    def make(self) -> nn.Module:
        return LightCNN(TINY)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (crops(n),)


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = LightCNN(replace(TINY, n_classes=5))

    def forward(self, x: Tensor) -> Tensor:
        return self.net.logits(x)


class TestClassifier(ModelTester):
    def make(self) -> nn.Module:
        return _Classifier()

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (crops(n),)


@pytest.mark.parametrize("n_layers", [9, 29])
def test_official_checkpoints_load_and_compute_what_was_published(tmp_path: Path, n_layers: int) -> None:
    state = official(n_layers)
    path = tmp_path / f"LightCNN_{n_layers}Layers_checkpoint.pth.tar"
    torch.save({"epoch": 80, "arch": "LightCNN", "state_dict": state, "prec1": torch.tensor(98.0)}, path)
    net = LightCNN.from_checkpoint(path)
    assert not net.training and net.fc2 is None and net.config == PRESETS[f"lightcnn{n_layers}"]
    assert count_parameters(net) == sum(t.numel() for name, t in state.items() if "fc2" not in name)
    x = crops(2)
    with torch.no_grad():
        features = net.feature(x)
        torch.testing.assert_close(features, published(state, n_layers, grey(x)), rtol=1e-4, atol=1e-5)
        assert features.shape == (2, 256)
        assert not torch.allclose(features[0], features[1])

        kept = LightCNN.from_checkpoint(path, keep_classifier=True)
        logits = functional.linear(features, state["module.fc2.weight"], state["module.fc2.bias"])
        torch.testing.assert_close(kept.logits(x), logits, rtol=1e-4, atol=1e-5)


def test_a_bare_state_dict_without_module_loads_too(tmp_path: Path) -> None:
    torch.save({name.removeprefix("module."): t for name, t in official(9).items()}, tmp_path / "bare.pth")
    assert LightCNN.from_checkpoint(tmp_path / "bare.pth").config == PRESETS["lightcnn9"]


def test_the_loader_opens_official_checkpoints_too(tmp_path: Path) -> None:
    for n_layers in (9, 29):
        torch.save(official(n_layers), tmp_path / "official.pth")
        net, metadata = load_lightcnn(tmp_path / "official.pth")
        assert net.config == PRESETS[f"lightcnn{n_layers}"] and metadata == {"model": f"LightCNN-{n_layers}"}


def test_other_checkpoints_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        LightCNN.from_checkpoint(tmp_path / "none.pth")
    state = official(29)
    version2 = {name: t for name, t in state.items() if not name.startswith("module.fc.")}
    torch.save({"state_dict": {**version2, "module.fc.weight": torch.zeros(256, 8192)}}, tmp_path / "v2.pth")
    with pytest.raises(WeightsError, match="v2"):
        LightCNN.from_checkpoint(tmp_path / "v2.pth")
    torch.save({"state_dict": {"layer1.weight": torch.zeros(3)}}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"layer1\.weight"):
        LightCNN.from_checkpoint(tmp_path / "resnet.pth")
    torch.save({"state_dict": {name: t[:1] for name, t in state.items()}}, tmp_path / "small.pth")
    with pytest.raises(WeightsError, match="do not fit"):
        LightCNN.from_checkpoint(tmp_path / "small.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        LightCNN.from_checkpoint(tmp_path / "list.pth")


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": official(9), "optimizer": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="without running code"):
        LightCNN.from_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "evil").exists()
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError):
        LightCNN.from_checkpoint(tmp_path / "text.pth")


def test_grey_is_in_unit_range_and_sizes_are_checked() -> None:
    ends = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 128, 128)
    assert grey(ends).amin(dim=(1, 2, 3)).tolist() == pytest.approx([0, 1], abs=1e-6)
    red = torch.full((1, 3, 128, 128), -1.0)
    red[:, 0] = 1
    assert float(grey(red).mean()) == pytest.approx(0.299, abs=1e-5)
    for wrong in (torch.zeros(1, 3, 112, 112), torch.zeros(1, 1, 128, 128), torch.zeros(3, 128, 128)):
        with pytest.raises(ImageError, match="128"):
            LightCNN(TINY)(wrong)


def test_standardised_layers_spread_the_faces() -> None:
    torch.manual_seed(0)
    net, x = LightCNN(TINY).eval(), 0.3 * crops(24)
    with torch.no_grad():
        before = functional.cosine_similarity(*net(x).chunk(2)).mean()
        standardise(net, x)
        for layer, inputs in (
            (net.stem.filter, grey(x)),
            (net.groups[0].conv_a.filter, functional.max_pool2d(net.stem(grey(x)), 2)),
        ):
            output = layer(inputs)
            assert output.mean((0, 2, 3)).abs().max() < 1e-3
            assert output.std((0, 2, 3)).sub(1).abs().max() < 1e-3
        after = functional.cosine_similarity(*net(x).chunk(2)).mean()
    assert before > 0.95 and after < 0.6
    assert not any(layer._forward_hooks for layer in net.modules())


def test_a_network_without_classifier_says_so() -> None:
    with pytest.raises(ConfigError, match="classifier"):
        LightCNN(TINY).logits(crops(1))


def test_exported_weights_load_with_their_config(tmp_path: Path) -> None:
    net = LightCNN(TINY).eval()
    config = {"widths": [4, 6, 6, 4, 4], "n_residual": [0, 1, 0, 2]}
    save_weights(tmp_path / "identity.safetensors", net.state_dict(), {"lightcnn": config}, half=True)
    loaded, _ = load_lightcnn(tmp_path / "identity.safetensors")
    with torch.no_grad():
        assert functional.cosine_similarity(loaded(crops(2)), net(crops(2))).min() > 0.9999
    save_weights(tmp_path / "other.safetensors", net.state_dict(), {"model": "legan-landmarks"})
    with pytest.raises(WeightsError, match="no identity network"):
        load_lightcnn(tmp_path / "other.safetensors")
