"""StarGAN's networks: the published layers and sizes, its checkpoints, and the shared network tests."""

from pathlib import Path

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.core.errors import WeightsError
from legan.models.blocks import count_gflop, count_parameters
from legan.models.generator import PRESETS as LEGAN
from legan.models.generator import Generator, example_inputs
from legan.models.stargan import (
    PRESETS,
    StarGANCritic,
    StarGANCriticConfig,
    StarGANGenerator,
    StarGANGeneratorConfig,
    by_attribute,
    joint_label,
    load_published,
)

TINY_GENERATOR = StarGANGeneratorConfig(width=4, n_residual=1)
TINY_CRITIC = StarGANCriticConfig(size=32, width=4, n_layers=3)


def images(n: int) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1


class TestGenerator(ModelTester):
    def make(self) -> nn.Module:
        return StarGANGenerator(TINY_GENERATOR)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return images(n), joint_label(torch.eye(6)[torch.arange(n) % 6], torch.eye(20)[torch.arange(n) % 20])


class TestCritic(ModelTester):
    def make(self) -> nn.Module:
        return StarGANCritic(TINY_CRITIC)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (images(n),)


def published_state(n_labels: int, w: int = 64) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Names and shapes of generator's and critic's tensors: tables 4 and 5 of the paper, names of yunjey/stargan, at 128x128."""

    def norm(name: str, n: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (n,), f"{name}.bias": (n,)}

    g = {"main.0.weight": (w, 3 + n_labels, 7, 7), **norm("main.1", w), "main.3.weight": (2 * w, w, 4, 4)}
    g |= {**norm("main.4", 2 * w), "main.6.weight": (4 * w, 2 * w, 4, 4), **norm("main.7", 4 * w)}
    for i in range(9, 15):
        for conv, after in ((0, 1), (3, 4)):
            g |= {f"main.{i}.main.{conv}.weight": (4 * w, 4 * w, 3, 3), **norm(f"main.{i}.main.{after}", 4 * w)}
    g |= {"main.15.weight": (4 * w, 2 * w, 4, 4), **norm("main.16", 2 * w), "main.18.weight": (2 * w, w, 4, 4)}
    g |= {**norm("main.19", w), "main.21.weight": (3, w, 7, 7)}
    d: dict[str, tuple[int, ...]] = {}
    for i, n_in in enumerate([3, *(w * 2**k for k in range(5))]):
        d |= {f"main.{2 * i}.weight": (w * 2**i, n_in, 4, 4), f"main.{2 * i}.bias": (w * 2**i,)}
    return g, {**d, "conv1.weight": (1, 32 * w, 3, 3), "conv2.weight": (n_labels, 32 * w, 2, 2)}


@pytest.mark.parametrize("n_labels", [5, 8, 26])
def test_layers_and_sizes_are_the_published_ones(n_labels: int) -> None:
    with torch.device("meta"):
        g, d = StarGANGenerator(StarGANGeneratorConfig(n_labels)), StarGANCritic(StarGANCriticConfig(n_labels))
    for net, expected in zip((g, d), published_state(n_labels), strict=True):
        assert {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()} == expected
    # 8.4 M and a 7x7 kernel a label; 44.8 M with the labels of CelebA (5) and RaFD (8).
    assert count_parameters(g) == 8_414_848 + 64 * 49 * n_labels
    assert count_parameters(d) == 44_721_088 + 2048 * 4 * n_labels
    if n_labels != 26:
        assert round(count_parameters(g) / 1e6, 1) == 8.4 and round(count_parameters(d) / 1e6, 1) == 44.8


def test_published_checkpoints_load(tmp_path: Path) -> None:
    """As `torch.save(G.state_dict())` writes them, their norms' unused statistics among the tensors."""
    torch.manual_seed(0)
    g, d = ({name: torch.randn(shape) for name, shape in shapes.items()} for shapes in published_state(5, w=4))
    statistics = {name.replace("bias", "running_mean"): torch.zeros(4) for name in g if name.endswith("bias")}
    torch.save({**g, **statistics, "main.1.num_batches_tracked": torch.tensor(3)}, tmp_path / "200000-G.ckpt")
    torch.save(d, tmp_path / "200000-D.ckpt")
    generator, critic = load_published(tmp_path / "200000-G.ckpt"), load_published(tmp_path / "200000-D.ckpt")
    assert isinstance(generator, StarGANGenerator) and generator.config == StarGANGeneratorConfig(5, width=4, n_residual=6)
    assert isinstance(critic, StarGANCritic) and critic.config == StarGANCriticConfig(5, 128, width=4, n_layers=6)
    for net, state in ((generator, g), (critic, d)):
        assert net.state_dict().keys() == state.keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_checkpoints_that_are_refused(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    torch.save(Code(), tmp_path / "code.ckpt")
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.ckpt")
    torch.save({"optimizer": {"lr": 1}}, tmp_path / "nested.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "other.ckpt").read_bytes()[:60])
    messages = {
        "code": "without running code", "other": "no generator or critic", "nested": "no state dict", "cut": "cannot be read",
        "none": "does not exist",
    }  # fmt: skip
    for name, message in messages.items():
        with pytest.raises(WeightsError, match=message):
            load_published(tmp_path / f"{name}.ckpt")


def test_presets() -> None:
    for g_config, d_config in PRESETS.values():
        with torch.device("meta"):
            g, d, x = StarGANGenerator(g_config).eval(), StarGANCritic(d_config).eval(), torch.zeros(1, 3, 128, 128)
            assert g(x, torch.zeros(1, 26)).shape == x.shape
            output = by_attribute(d(x))
        assert (output.realness.shape, output.expression.shape, output.lighting.shape) == ((1, 1, 2, 2), (1, 6), (1, 20))
    with torch.device("meta"):
        lite = count_gflop(StarGANGenerator(PRESETS["lite"][0]), torch.zeros(1, 3, 128, 128), torch.zeros(1, 26))
    legan = count_gflop(Generator(LEGAN["lite"]).eval(), *example_inputs(LEGAN["lite"]))
    assert 0.8 < lite / legan < 1.25, "one pass costs about what a pass of LEGAN's lite does"


def test_the_label_changes_the_image() -> None:
    torch.manual_seed(0)
    net, x = StarGANGenerator(TINY_GENERATOR).eval(), images(1)
    faces, light = torch.eye(6), torch.eye(20)[[3]]
    neutral, smile, own = joint_label(faces[:1], light), joint_label(faces[1:2], light), joint_label(faces[:1], 0 * light)
    assert neutral.shape == (1, 26) and own.sum() == 1
    assert not torch.equal(net(x, neutral), net(x, smile)) and not torch.equal(net(x, neutral), net(x, own))
    assert net(x, smile).abs().max() <= 1
