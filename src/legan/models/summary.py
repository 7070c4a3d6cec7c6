"""What the presets cost: parameters and GFLOP an image, counted on the networks themselves."""

from typing import TypedDict

import torch

from legan.models import critic, generator, quality
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
    return rows


def _row(name: str, network: str, net: torch.nn.Module, *inputs: torch.Tensor) -> PresetSummary:
    return PresetSummary(
        preset=name, network=network, n_parameters=count_parameters(net), gflop_per_image=count_gflop(net, *inputs)
    )
