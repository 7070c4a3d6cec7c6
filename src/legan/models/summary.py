"""What the presets cost: parameters and GFLOP an image, counted on the networks themselves."""

from typing import TypedDict

import torch

from legan.models import critic, generator, quality, stargan, starganv2
from legan.models.blocks import count_gflop, count_parameters


class PresetSummary(TypedDict):
    """One line of `legan models`."""

    preset: str
    network: str
    n_parameters: int
    gflop_per_image: float


def summary() -> list[PresetSummary]:
    """Return parameters and GFLOP (two per multiply-add) of one forward pass for each preset's networks."""
    rows = []
    for name, config in generator.PRESETS.items():
        g = generator.Generator(config).eval()
        rows.append(_row(name, "generator", g, *generator.example_inputs(config)))
    for name, critic_config in critic.PRESETS.items():
        d = critic.Critic(critic_config).eval()
        rows.append(_row(name, "critic", d, torch.zeros(1, 3, critic_config.size, critic_config.size)))
    for name, quality_config in quality.PRESETS.items():
        with torch.device("meta"):  # shapes are enough to count, and 45 million weights take long to draw
            q = quality.Quality(quality_config).eval()
            rows.append(_row(name, "quality", q, torch.zeros(1, 3, quality_config.size, quality_config.size)))
    return [*rows, *_baselines()]


def _baselines() -> list[PresetSummary]:
    rows = []
    with torch.device("meta"):
        for name, (g_config, d_config) in stargan.PRESETS.items():
            x, label = torch.zeros(1, 3, d_config.size, d_config.size), torch.zeros(1, g_config.n_labels)
            rows.append(_row(name, "stargan generator", stargan.StarGANGenerator(g_config).eval(), x, label))
            rows.append(_row(name, "stargan critic", stargan.StarGANCritic(d_config).eval(), x))
        for name, config in starganv2.PRESETS.items():
            x, style = torch.zeros(1, 3, config.size, config.size), torch.zeros(1, config.n_style)
            domain = torch.zeros(1, dtype=torch.long)
            rows.append(_row(name, "starganv2 generator", starganv2.StarGANv2Generator(config).eval(), x, style))
            noise = torch.zeros(1, config.n_latent)
            rows.append(_row(name, "starganv2 mapping", starganv2.Mapping(config).eval(), noise, domain))
            rows.append(_row(name, "starganv2 encoder", starganv2.StyleEncoder(config).eval(), x, domain))
            rows.append(_row(name, "starganv2 discriminator", starganv2.Discriminator(config).eval(), x, domain))
    return rows


def _row(name: str, network: str, net: torch.nn.Module, *inputs: torch.Tensor) -> PresetSummary:
    return PresetSummary(
        preset=name, network=network, n_parameters=count_parameters(net), gflop_per_image=count_gflop(net, *inputs)
    )
