"""StarGAN v2's networks: the published layers and sizes, branches, domains, and the shared network tests."""

import math
from dataclasses import replace

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.models.blocks import count_gflop, count_parameters
from legan.models.starganv2 import (
    PRESETS,
    Discriminator,
    Mapping,
    StarGANv2Config,
    StarGANv2Generator,
    StyledEditor,
    StyleEncoder,
    domain_of,
    domain_weights,
    mean_styles,
)

TINY = StarGANv2Config(domains="expression", size=32, width=4, max_width=8, n_style=5, n_latent=3, n_hidden=6)


def images(n: int) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1


def noise(n: int, length: int) -> Tensor:
    return torch.randn(n, length, generator=torch.Generator().manual_seed(n))


class TestGenerator(ModelTester):
    def make(self) -> nn.Module:
        return StarGANv2Generator(TINY)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return images(n), noise(n, 5)


class TestMapping(ModelTester):
    def make(self) -> nn.Module:
        return Mapping(TINY)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return noise(n, 3), torch.arange(n) % 6


class TestStyleEncoder(ModelTester):
    def make(self) -> nn.Module:
        return StyleEncoder(TINY)

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return images(n), torch.arange(n) % 6


class TestDiscriminator(TestStyleEncoder):
    def make(self) -> nn.Module:
        return Discriminator(TINY)


def published_shapes(n_domains: int = 2) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of all weights, tables 5 to 8 of the paper at 256x256 without high-pass; a branch's layers in one tensor, domains first."""

    def conv(n_in: int, n_out: int, kernel: int = 3, bias: bool = True) -> list[tuple[int, ...]]:
        return [(n_out, n_in, kernel, kernel), *([(n_out,)] if bias else [])]

    def down(n_in: int, n_out: int, norm: bool) -> list[tuple[int, ...]]:
        skip = conv(n_in, n_out, 1, bias=False) if n_in != n_out else []
        return [*([(n_in,)] * 4 if norm else []), *conv(n_in, n_in), *conv(n_in, n_out), *skip]

    def up(n_in: int, n_out: int) -> list[tuple[int, ...]]:
        styles = [shape for n in (n_in, n_out) for shape in ((2 * n, 64), (2 * n,))]
        return [*styles, *conv(n_in, n_out), *conv(n_out, n_out), *(conv(n_in, n_out, 1, bias=False) if n_in != n_out else [])]

    steps = [(64, 128), (128, 256), (256, 512), (512, 512)]
    blocks = [*steps, (512, 512), (512, 512)]
    generator = [*conv(3, 64), *(s for a, b in blocks for s in down(a, b, norm=True))]
    generator += [*(s for a, b in reversed(blocks) for s in up(b, a)), (64,), (64,), *conv(64, 3, 1)]
    pyramid = [*conv(3, 64), *(s for a, b in blocks for s in down(a, b, norm=False)), *conv(512, 512, 4)]
    shared = [(512, 16), (512,), *[(512, 512), (512,)] * 3]
    branches = [*[(n_domains, 512, 512), (n_domains, 512)] * 3, (n_domains, 64, 512), (n_domains, 64)]
    return {
        "generator": generator,
        "mapping": [*shared, *branches],
        "encoder": [*pyramid, (n_domains, 64, 512), (n_domains, 64)],
        "discriminator": [*pyramid, *conv(512, n_domains, 1)],
    }


def test_layers_and_sizes_are_the_published_ones() -> None:
    config = StarGANv2Config(size=256, width=64)
    with torch.device("meta"):
        nets = {"generator": StarGANv2Generator(config), "mapping": Mapping(config, 2), "encoder": StyleEncoder(config, 2)}
        nets["discriminator"] = Discriminator(config, 2)
    for name, shapes in published_shapes().items():
        assert sorted(tuple(p.shape) for p in nets[name].parameters()) == sorted(shapes), name
    millions = {name: round(count_parameters(net) / 1e6, 1) for name, net in nets.items()}
    assert millions == {"generator": 33.9, "mapping": 2.4, "encoder": 20.9, "discriminator": 20.9}
    assert count_parameters(nets["generator"]) == 33_892_995


def test_a_branch_is_a_linear_layer_of_its_own() -> None:
    torch.manual_seed(0)
    net, z = Mapping(TINY), noise(4, 3)
    domain = torch.tensor([5, 0, 2, 5])
    styles = net(z, domain)
    for i, d in enumerate(domain.tolist()):
        h = net.shared(z[i])
        for k, branch in enumerate(net.branches):
            h = branch.weight[d] @ h + branch.bias[d]
            h = h.relu() if k < 3 else h
        torch.testing.assert_close(styles[i], h)
    styles[0].sum().backward()
    touched = net.branches[0].weight.grad.flatten(1).any(1)
    assert touched.tolist() == [False] * 5 + [True], "no other domain learns from it"


def test_each_domain_has_its_own_output() -> None:
    torch.manual_seed(0)
    net, x = Discriminator(TINY).eval(), images(1).expand(6, -1, -1, -1)
    logits = net(x, torch.arange(6))
    assert logits.shape == (6,) and len(set(logits.tolist())) == 6
    torch.testing.assert_close(net(x, torch.full((6,), 4)), logits[4].expand(6))


def test_started_as_published() -> None:
    torch.manual_seed(0)
    encoder = StyleEncoder(StarGANv2Config(width=32, max_width=64))
    conv = encoder.shared[1].conv1
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05) and not conv.bias.any()
    assert encoder.branches.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)


def test_domains() -> None:
    e, light = torch.eye(6)[[1, 5, 0]], torch.eye(20)[[7, 19, 0]]
    n_domains = {domains: replace(TINY, domains=domains).n_domains for domains in ("pair", "expression", "lighting")}
    assert n_domains == {"pair": 120, "expression": 6, "lighting": 20}
    assert domain_of("pair", e, light).domain.tolist() == [27, 119, 0] and domain_of("pair", e, light).is_known.all()
    assert domain_of("expression", e, light).domain.tolist() == [1, 5, 0]
    assert domain_of("lighting", e, light).domain.tolist() == [7, 19, 0]
    own = light.clone()
    own[1] = 0  # under its own even light
    for domains, domain, known in (("pair", 5 * 20, False), ("lighting", 0, False), ("expression", 5, True)):
        code = domain_of(domains, e, own)
        assert code.domain[1] == domain and code.is_known.tolist() == [True, known, True]
    half = domain_weights("pair", (e[:1] + e[1:2]) / 2, (light[:1] + light[1:2]) / 2)
    assert half.sum() == 1 and half.nonzero()[:, 1].tolist() == [27, 39, 107, 119]


def test_editor_uses_the_mean_style() -> None:
    torch.manual_seed(0)
    generator, mapping, x = StarGANv2Generator(TINY).eval(), Mapping(TINY), images(2)
    editor = StyledEditor(generator, mapping)
    styles = mean_styles(mapping, 6, 3)
    assert torch.equal(editor.styles, styles) and styles.shape == (6, 5)
    with torch.no_grad():
        edited = editor(x, torch.eye(6)[[2, 2]], torch.eye(20)[[0, 9]])
        torch.testing.assert_close(edited, generator(x, styles[[2, 2]]).clamp(-1, 1))
        mixed = editor(x[:1], (torch.eye(6)[[2]] + torch.eye(6)[[3]]) / 2, torch.eye(20)[[0]])
        torch.testing.assert_close(mixed, generator(x[:1], styles[2:4].mean(0, keepdim=True)).clamp(-1, 1))


def test_presets() -> None:
    for name, config in PRESETS.items():
        with torch.device("meta"):
            g, d = StarGANv2Generator(config).eval(), Discriminator(config).eval()
            x, s = torch.zeros(1, 3, 128, 128), torch.zeros(1, config.n_style)
            assert g(x, s).shape == x.shape and d(x, torch.zeros(1, dtype=torch.long)).shape == (1,)
            assert name == "paper" or count_gflop(g, x, s) < 2, "sixteen passes a step"
