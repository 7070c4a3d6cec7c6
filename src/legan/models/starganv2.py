"""StarGAN v2 (Choi et al., CVPR 2020, appendix E, tables 5 to 8): generator, mapping network, style encoder, discriminator.

A style code steers the generator through adaptive instance norms. The mapping network makes it from noise, the style encoder from a
reference image, each with one branch a domain; the discriminator has one output a domain. Without the high-pass skip connections,
which need a face landmark network. Branches of one layer are one tensor, so that 120 of them cost as much as one.
"""

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.geometry import CROP_SIZE
from legan.models.blocks import PlainInstanceNorm

Domains = Literal["pair", "expression", "lighting"]
ROOM_LIGHT = 0  # the class of no flash
N_BRANCH_LAYERS = 4  # of the mapping network: as many shared ones before
SLOPE = 0.2  # of LeakyReLU below 0


@dataclass(frozen=True)
class StarGANv2Config:
    """Shape of the four networks.

    Args:
        domains: what a domain is: an expression under a lighting, an expression, or a lighting.
        size: side of the images in pixels, a power of 2.
        width: channels at full resolution, doubled at each halving up to `max_width`; 2^14 / size as published.
        n_style, n_latent: lengths of style codes and of noise.
        n_hidden: units of the mapping network's layers.
        n_expressions, n_lightings: lengths of the two codes.
    """

    domains: Domains = "pair"
    size: int = CROP_SIZE
    width: int = 128
    max_width: int = 512
    n_style: int = 64
    n_latent: int = 16
    n_hidden: int = 512
    n_expressions: int = len(EXPRESSIONS)
    n_lightings: int = len(LIGHTINGS)

    @property
    def n_domains(self) -> int:
        """How many domains there are."""
        n = {"pair": self.n_expressions * self.n_lightings, "expression": self.n_expressions, "lighting": self.n_lightings}
        return n[self.domains]


# `lite`: a step of training, sixteen passes through the generator, takes about as long as a step of LEGAN's `lite`.
PRESETS = {"paper": StarGANv2Config(), "lite": StarGANv2Config(width=8, max_width=128, n_style=32, n_hidden=64)}


class ResBlock(nn.Module):
    """(shortcut(x) + conv(act(norm(pool(conv(act(norm(x))))))) / sqrt 2. (B, n_in, H, W) -> (B, n_out, H, W), halved with `down`."""

    def __init__(self, n_in: int, n_out: int, norm: bool = False, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.norm1, self.norm2 = (PlainInstanceNorm(n_in, affine=True) if norm else nn.Identity() for _ in range(2))
        self.conv1, self.conv2 = nn.Conv2d(n_in, n_in, 3, 1, 1), nn.Conv2d(n_in, n_out, 3, 1, 1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(self.norm1(x), SLOPE))
        skip = self.shortcut(x)
        if self.down:
            y, skip = F.avg_pool2d(y, 2), F.avg_pool2d(skip, 2)  # (B, C, H/2, W/2)
        y = self.conv2(F.leaky_relu(self.norm2(y), SLOPE))
        return (y + skip) / math.sqrt(2)


class AdaptiveNorm(nn.Module):
    """(1 + scale(s)) * norm(x) + shift(s): instance norm steered by a style (Huang and Belongie, ICCV 2017). x (B, C, H, W)."""

    def __init__(self, n_style: int, n_channels: int) -> None:
        super().__init__()
        self.norm = PlainInstanceNorm(n_channels)
        self.style = nn.Linear(n_style, 2 * n_channels)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        scale, shift = self.style(s)[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return torch.addcmul(shift.to(x.dtype), self.norm(x), 1 + scale.to(x.dtype))


class StyledBlock(nn.Module):
    """`ResBlock` with adaptive norms, which doubles the sides with `up`. (B, n_in, H, W), style (B, n_style) -> (B, n_out, ...)."""

    def __init__(self, n_in: int, n_out: int, n_style: int, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.norm1, self.norm2 = AdaptiveNorm(n_style, n_in), AdaptiveNorm(n_style, n_out)
        self.conv1, self.conv2 = nn.Conv2d(n_in, n_out, 3, 1, 1), nn.Conv2d(n_out, n_out, 3, 1, 1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        y, skip = F.leaky_relu(self.norm1(x, s), SLOPE), self.shortcut(x)
        if self.up:
            # A 1x1 convolution of repeated pixels is the repeated convolution: cheaper before.
            y, skip = (F.interpolate(t, scale_factor=2.0, mode="nearest") for t in (y, skip))
        y = self.conv2(F.leaky_relu(self.norm2(self.conv1(y), s), SLOPE))
        return (y + skip) / math.sqrt(2)


class StarGANv2Generator(nn.Module):
    """G(x, s) -> image (B, 3, S, S), about [-1, 1] but not bounded; x (B, 3, S, S) in [-1, 1], style s (B, n_style).

    log2(S) - 4 blocks that halve, two at the bottom, and the same back, these with adaptive norms.
    """

    def __init__(self, config: StarGANv2Config = PRESETS["lite"]) -> None:
        super().__init__()
        self.config = config
        widths = _widths(config, n_halvings=int(math.log2(config.size)) - 4)
        self.from_rgb = nn.Conv2d(3, widths[0], 3, 1, 1)
        steps = list(pairwise(widths))
        bottom = [(widths[-1], widths[-1])] * 2
        self.encode = nn.Sequential(
            *[ResBlock(a, b, norm=True, down=True) for a, b in steps], *[ResBlock(a, b, norm=True) for a, b in bottom]
        )
        decode = [StyledBlock(a, b, config.n_style) for a, b in bottom]
        self.decode = nn.ModuleList([*decode, *[StyledBlock(b, a, config.n_style, up=True) for a, b in reversed(steps)]])
        self.to_rgb = nn.Sequential(PlainInstanceNorm(widths[0], affine=True), nn.LeakyReLU(SLOPE), nn.Conv2d(widths[0], 3, 1))
        _initialise(self)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        h = self.encode(self.from_rgb(x))  # (B, C, S / 2^n, S / 2^n)
        for block in self.decode:
            h = block(h, s)
        return self.to_rgb(h)


class BranchLinear(nn.Module):
    """One linear layer a domain: h (B, n_in), domain (B,) int -> (B, n_out) by each row's own layer."""

    def __init__(self, n_domains: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_domains, n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_domains, n_out))

    def forward(self, h: Tensor, domain: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[domain, :, None], self.weight[domain], h[:, :, None])[:, :, 0]


class Mapping(nn.Module):
    """F(z, domain) -> style (B, n_style); noise z (B, n_latent), domain (B,) int. Four shared layers and four a domain."""

    def __init__(self, config: StarGANv2Config = PRESETS["lite"], n_domains: int | None = None) -> None:
        super().__init__()
        n, n_hidden = n_domains or config.n_domains, config.n_hidden
        sizes = [config.n_latent, *[n_hidden] * N_BRANCH_LAYERS]
        self.shared = nn.Sequential(*[m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())])
        self.branches = nn.ModuleList(
            [BranchLinear(n, n_hidden, b) for b in [n_hidden] * (N_BRANCH_LAYERS - 1) + [config.n_style]]
        )
        _initialise(self)

    def forward(self, z: Tensor, domain: Tensor) -> Tensor:
        h = self.shared(z)
        for branch in self.branches[:-1]:
            h = F.relu(branch(h, domain))
        return self.branches[-1](h, domain)


class StyleEncoder(nn.Module):
    """E(x, domain) -> style (B, n_style); x (B, 3, S, S) in [-1, 1], domain (B,) int: the style of an image of that domain."""

    def __init__(self, config: StarGANv2Config = PRESETS["lite"], n_domains: int | None = None) -> None:
        super().__init__()
        self.shared, n_features = _pyramid(config)
        self.branches = BranchLinear(n_domains or config.n_domains, n_features, config.n_style)
        _initialise(self)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        h = self.shared(x).flatten(1)  # (B, C)
        return self.branches(h, domain)


class Discriminator(nn.Module):
    """D(x, domain) -> logits (B,): whether x (B, 3, S, S) is a real image of that domain; domain (B,) int."""

    def __init__(self, config: StarGANv2Config = PRESETS["lite"], n_domains: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.shared, n_features = _pyramid(config)
        self.out = nn.Conv2d(n_features, n_domains or config.n_domains, 1)
        _initialise(self)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        logits = self.out(self.shared(x)).flatten(1)  # (B, n_domains)
        return logits.gather(1, domain[:, None])[:, 0]


class DomainCode(NamedTuple):
    """`domain` (B,) int; `is_known` (B,) bool, False where a face under its own even light stands in for one under room light."""

    domain: Tensor
    is_known: Tensor


def domain_weights(domains: Domains, expression: Tensor, lighting: Tensor) -> Tensor:
    """Return how much of each domain (B, n_domains) is in codes (B, 6) and (B, 20), soft ones too; rows sum to 1."""
    if domains == "expression":
        return expression
    if domains == "lighting":
        return lighting
    return (expression[:, :, None] * lighting[:, None]).flatten(1)  # (B, 6, 20) -> (B, 120)


def domain_of(domains: Domains, expression: Tensor, lighting: Tensor) -> DomainCode:
    """Return the domain of one-hot codes (B, 6) and (B, 20).

    A face under its own even light has zeros for a lighting, hence no domain where domains have to do with light. It is given that
    of room light, the first lighting, with `is_known` False: its style is read there, but it is no example of that domain.
    """
    is_known = lighting.sum(1) > 0 if domains != "expression" else torch.ones_like(lighting[:, 0], dtype=torch.bool)
    room = F.one_hot(torch.full_like(is_known, ROOM_LIGHT, dtype=torch.long), lighting.shape[1]).to(lighting)
    lighting = torch.where((lighting.sum(1) > 0)[:, None], lighting, room)
    return DomainCode(domain_weights(domains, expression, lighting).argmax(1), is_known)


@torch.no_grad()
def mean_styles(mapping: Mapping, n_domains: int, n_latent: int, n_draws: int = 64) -> Tensor:
    """Return the mean style (n_domains, n_style) of each domain over fixed draws of noise: what stands for the domain in edits."""
    device = next(mapping.parameters()).device
    z = torch.randn(n_draws, n_latent, generator=torch.Generator().manual_seed(0)).to(device)
    rows = [mapping(z, torch.full((n_draws,), domain, device=device)).mean(0) for domain in range(n_domains)]
    return torch.stack(rows)


class StyledEditor(nn.Module):
    """A generator and the mean style of each domain: G(x, expression, lighting) -> image (B, 3, S, S) in [-1, 1].

    Soft codes mix the styles of the domains that they mix.
    """

    def __init__(self, generator: StarGANv2Generator, mapping: Mapping) -> None:
        super().__init__()
        self.generator, config = generator, generator.config
        self.styles = nn.Buffer(mean_styles(mapping, config.n_domains, config.n_latent), persistent=False)

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        style = domain_weights(self.generator.config.domains, expression, lighting) @ self.styles
        return self.generator(x, style).clamp(-1, 1)


def _widths(config: StarGANv2Config, n_halvings: int) -> list[int]:
    return [min(config.width * 2**i, config.max_width) for i in range(n_halvings + 1)]


def _pyramid(config: StarGANv2Config) -> tuple[nn.Sequential, int]:
    """Halve down to 4x4, then a 4x4 convolution to one place: (B, 3, S, S) -> (B, C, 1, 1). Returns the layers and C."""
    widths = _widths(config, n_halvings=int(math.log2(config.size)) - 2)
    blocks = [ResBlock(a, b, down=True) for a, b in pairwise(widths)]
    last = [nn.LeakyReLU(SLOPE), nn.Conv2d(widths[-1], widths[-1], 4), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1), *blocks, *last), widths[-1]


def _initialise(net: nn.Module) -> None:
    """He et al. (ICCV 2015), biases at zero, as published."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BranchLinear):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight.shape[2]))
