"""Layer distances: worked out in numpy, LPIPS as torchmetrics has it, the networks as their publishers have them."""

import numpy as np
import pytest
import torch

from legan.core.errors import DataError
from legan.metrics import feature_networks as backbones
from legan.metrics.feature_networks import Inception
from legan.metrics.images import layer_distance

Layers = list[torch.Tensor]


def layers(seed: int, n: int = 3) -> Layers:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(n, c, s, s, generator=random) for c, s in ((4, 8), (6, 4))]


def by_hand(a: Layers, b: Layers, weights: Layers) -> np.ndarray:
    total = np.zeros(len(a[0]))
    for x, y, weight in zip(a, b, weights, strict=True):
        for i in range(len(x)):
            for place in np.ndindex(*x.shape[2:]):
                u, v = (t[i][:, *place].double().numpy() for t in (x, y))
                difference = u / np.linalg.norm(u) - v / np.linalg.norm(v)
                total[i] += (difference**2 * weight.numpy()).sum() / x[0, 0].numel()
    return total


def test_layer_distance_by_hand() -> None:
    a, b = layers(0), layers(1)
    weights = [torch.rand(4), torch.rand(6)]
    assert layer_distance(a, b, weights).numpy() == pytest.approx(by_hand(a, b, weights), rel=1e-5)
    plain = [torch.ones(4), torch.ones(6)]
    assert layer_distance(a, b).numpy() == pytest.approx(by_hand(a, b, plain), rel=1e-5)
    assert layer_distance(a, [3 * layer for layer in a]).numpy() == pytest.approx(0, abs=1e-6)  # length says nothing
    one_by_one = [float(layer_distance([x[i : i + 1] for x in a], [y[i : i + 1] for y in b])) for i in range(3)]
    assert layer_distance(a, b).numpy() == pytest.approx(one_by_one, rel=1e-6)


def test_layers_that_do_not_match_or_are_not_finite_are_refused() -> None:
    a, b = layers(0), layers(1)
    with pytest.raises(DataError, match="one network and images of one size"):
        layer_distance(a, b[:1])
    with pytest.raises(DataError, match="one size"):
        layer_distance(a, [b[0][..., :4], b[1]])
    b[0][1, 2, 3, 3] = float("nan")
    with pytest.raises(DataError, match="NaN"):
        layer_distance(a, b)


def test_backbones_give_five_layers_of_the_sizes_that_the_weights_are_for() -> None:
    x = torch.zeros(1, 3, 64, 64)
    for name, make in (("alex", backbones.alexnet), ("vgg", backbones.vgg16)):
        weights = backbones.channel_weights(name)
        assert [layer.shape[1] for layer in make()(x)] == [len(weight) for weight in weights]
        assert all((weight >= 0).all() for weight in weights)


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_equals_torchmetrics(name: str) -> None:
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed: torchmetrics' LPIPS needs it")
    from torchmetrics.functional.image.lpips import _LPIPS

    oracle, ours = _LPIPS(net=name, pnet_rand=True), {"alex": backbones.alexnet, "vgg": backbones.vgg16}[name]()  # type: ignore[arg-type]
    random_net = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[name]()
    ours.load_state_dict({key: value for key, value in random_net.state_dict().items() if key.startswith("features.")})
    for number, layer in ((n, m) for part in list(oracle.net.children()) for n, m in part.named_children()):
        layer.load_state_dict(random_net.features[int(number)].state_dict())
    a, b = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected, found = oracle(a, b).flatten(), layer_distance(ours(a), ours(b), backbones.channel_weights(name))
    assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-3)


def test_inception_has_the_published_tensors() -> None:
    with torch.device("meta"):
        net = Inception()
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert sum(p.numel() for p in net.parameters()) == 23_850_960 and len(shapes) == 566
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3) and shapes["fc.weight"] == (1008, 2048)
    assert shapes["Mixed_5b.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert shapes["Mixed_6e.branch7x7dbl_4.conv.weight"] == (192, 192, 7, 1)
    assert shapes["Mixed_7c.branch3x3dbl_3b.bn.running_var"] == (384,)


def test_inception_equals_torch_fidelity(tmp_path) -> None:  # type: ignore[no-untyped-def]
    oracle_module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed: it is the oracle of this test"
    )
    torch.manual_seed(0)
    net = Inception().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    torch.save(net.state_dict(), tmp_path / "net.pth")
    oracle = oracle_module.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(tmp_path / "net.pth"))
    x = torch.randint(0, 256, (2, 3, 299, 299), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(net((x.float() - 128) / 128), oracle(x)[0], atol=1e-6)
