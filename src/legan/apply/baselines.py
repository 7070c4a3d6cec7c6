"""StarGAN and StarGAN v2 as editors: networks that are called as LEGAN's generator and critic are, from the tensors of a weights file."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from legan.core.config import dict_to_config
from legan.models.critic import CriticOutput
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

T = TypeVar("T", bound=nn.Module)


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


def stargan_networks(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> tuple[nn.Module, nn.Module | None, int]:
    """Return generator, critic and the side of their crops.

    Raises:
        RuntimeError: the tensors do not fit the config.
    """
    generator = filled(StarGANGenerator(dict_to_config(StarGANGeneratorConfig, metadata["generator"])), tensors, "generator.")
    critic = filled(StarGANCritic(dict_to_config(StarGANCriticConfig, metadata["critic"])), tensors, "critic.")
    return StarGANEditor(generator), StarGANJudge(critic), critic.config.size


def starganv2_networks(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> tuple[nn.Module, nn.Module | None, int]:
    """Return the generator and the side of its crops, as `stargan_networks`; no discriminator of it tells a face's own condition."""
    config = dict_to_config(StarGANv2Config, metadata["generator"])
    generator = filled(StarGANv2Generator(config), tensors, "generator.generator.")
    mapping = filled(StyleMapping(config), tensors, "generator.mapping.")
    return StarGANv2Editor(StyledEditor(generator, mapping)), None, config.size


def filled(network: T, tensors: Mapping[str, Tensor], prefix: str) -> T:
    """Return `network` with the tensors whose names begin with `prefix`.

    Raises:
        RuntimeError: they do not fit.
    """
    network.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    return network


def _without_masks(image: Tensor) -> GeneratorOutput:
    none = image[:, :0]  # (B, 0, H, W)
    return GeneratorOutput(image, none, none, None)
