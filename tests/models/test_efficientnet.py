"""EfficientNet-Lite0: the features of the package that brings its weights, and refusals."""

from pathlib import Path

import pytest
import torch

from legan.core.errors import WeightsError
from legan.core.weights import load_state
from legan.models.efficientnet import EfficientNetLite, Variant, _folded, efficientnet_file, load_efficientnet


@pytest.mark.parametrize(
    ("variant", "size", "ends"),
    [
        ("efficientnet-lite0", 224, (0, 2, 4, 7, 10, 14, 15)),
        ("efficientnet-lite0", 128, (0, 2, 4, 7, 10, 14, 15)),
        ("efficientnet-lite2", 260, (0, 3, 6, 10, 14, 19, 20)),
    ],
)
def test_features_are_those_of_the_package(variant: Variant, size: int, ends: tuple[int, ...]) -> None:
    """The oracle is `efficientnet-lite-pytorch`, which takes (v - 127) / 128; its padding is for 224 pixels and their halves.

    In float64 the two agree to rounding, batch norms folded in or not. In float32 they differ by 3e-5 of features of up to 64.
    """
    from efficientnet_lite_pytorch import EfficientNet

    path = efficientnet_file(variant)
    reference = EfficientNet.from_pretrained(variant, weights_path=str(path)).eval().double()
    state = {name: value.double() for name, value in load_state(path, "weights file", "").items()}
    net = EfficientNetLite(variant=variant).double()
    net.load_state_dict(_folded(state, net))
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        y = reference._swish(reference._bn0(reference._conv_stem((127.5 * (x + 1) - 127) / 128)))
        features = []
        for number, block in enumerate(reference._blocks):
            y = block(y)
            if number in ends:
                features.append(y)
        exact, found = net(x), load_efficientnet(variant=variant)(x.float())
    assert len(found) == len(features) == 7
    for mine, loaded, theirs in zip(exact, found, features, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)
        torch.testing.assert_close(loaded, theirs.float(), atol=1e-4, rtol=1e-4)


def test_it_is_frozen_and_only_as_deep_as_asked() -> None:
    net = load_efficientnet(2)
    assert len(net(torch.zeros(1, 3, 64, 64))) == 2
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="does not hold the weights of efficientnet-lite0"):
        load_efficientnet(path=path)
    path.write_bytes(b"no zip file")
    with pytest.raises(WeightsError, match="install it again"):
        load_efficientnet(path=path)


def test_its_first_features_see_where_an_edge_is() -> None:
    torch.manual_seed(0)
    assert EfficientNetLite(1)(torch.zeros(2, 3, 32, 32))[0].shape == (2, 16, 16, 16)


def test_in_bfloat16_features_and_gradients_stay_near_those_of_float32() -> None:
    """With a gradient, strided depthwise convolutions run in float32; the way without one is all bfloat16."""
    net = load_efficientnet(4)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        without = net(x)[-1].float()
    outputs = []
    for enabled in (True, False):
        x_in = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            feature = net(x_in)[-1].float()
        (gradient,) = torch.autograd.grad(feature.abs().mean(), x_in)
        outputs.append((feature.detach(), gradient))
    (mixed, mixed_gradient), (exact, exact_gradient) = outputs
    assert (mixed - exact).norm() < 0.04 * exact.norm() and (without - exact).norm() < 0.04 * exact.norm()
    assert torch.nn.functional.cosine_similarity(mixed_gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.95
