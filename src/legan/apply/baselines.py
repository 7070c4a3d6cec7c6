"""StarGAN and StarGAN v2 as editors: networks that are called as LEGAN's generator and critic are, from the tensors of a weights file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from legan.models.critic import CriticOutput
from legan.models.from_weights import network_of_config
from legan.models.generator import GeneratorOutput
from legan.models.stargan import (
    StarGANCritic,
    StarGANCriticConfig,
    StarGANGenerator,
    StarGANGeneratorConfig,
    by_attribute,
    joint_label,
)
from legan.models.starganv2 import Mapping as StyleMapping
from legan.models.starganv2 import StarGANv2Config, StarGANv2Generator, StyledEditor


class StarGANEditor(nn.Module):
    """G(x, expression, lighting) -> `GeneratorOutput` without masks, by StarGAN's generator."""

    def __init__(self, generator: StarGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        return _without_masks(self.generator(x, joint_label(expression, lighting)))


class StarGANJudge(nn.Module):
    """D(x) -> `CriticOutput`, by StarGAN's critic."""

    def __init__(self, critic: StarGANCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, x: Tensor) -> CriticOutput:
        return by_attribute(self.critic(x))


class StarGANv2Editor(nn.Module):
    """G(x, expression, lighting) -> `GeneratorOutput` without masks, by StarGAN v2's generator and the mean style of each domain."""

    def __init__(self, editor: StyledEditor) -> None:
        super().__init__()
        self.editor = editor
        domains = editor.generator.config.domains
        self.ignored = () if domains == "pair" else tuple({"expression", "lighting"} - {domains})

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        return _without_masks(self.editor(x, expression, lighting))


def stargan_networks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path
) -> tuple[nn.Module, nn.Module | None, int]:
    """Return generator, critic and the side of their crops.

    Raises:
        WeightsError: the tensors do not fit the config.
    """
    own, judging = part_of(tensors, "generator."), part_of(tensors, "critic.")
    generator = network_of_config(StarGANGenerator, StarGANGeneratorConfig, metadata["generator"], own, path)
    critic = network_of_config(StarGANCritic, StarGANCriticConfig, metadata.get("critic"), judging, path)
    return StarGANEditor(generator), StarGANJudge(critic), critic.config.size


def starganv2_networks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path
) -> tuple[nn.Module, nn.Module | None, int]:
    """Return the generator and the side of its crops, as `stargan_networks`; no discriminator of it tells a face's own condition."""
    shape, own = metadata["generator"], part_of(tensors, "generator.generator.")
    generator = network_of_config(StarGANv2Generator, StarGANv2Config, shape, own, path)
    mapping = network_of_config(StyleMapping, StarGANv2Config, shape, part_of(tensors, "generator.mapping."), path)
    return StarGANv2Editor(StyledEditor(generator, mapping)), None, generator.config.size


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _without_masks(image: Tensor) -> GeneratorOutput:
    none = image[:, :0]  # (B, 0, H, W)
    return GeneratorOutput(image, none, none, None)
