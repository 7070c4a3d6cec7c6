"""Editors as networks: what a weights file of LEGAN, StarGAN or StarGAN v2 holds, called alike."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.conditions import EXPRESSIONS, LIGHTINGS, expression_code, lighting_code
from legan.core.device import autocast, check_device, mixed_dtype
from legan.core.errors import ConditionError, WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.light import ROOM, Lamps, LightSetup, plain_and_mixed, to_linear, to_srgb, with_tone, without_tone
from legan.core.weights import PACKAGED, editor_file, load_weights
from legan.models.critic import Critic, CriticConfig, CriticOutput
from legan.models.from_weights import network_of_config
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput, apply_fields, warp
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

# StarGAN and StarGAN v2 as editors: networks that are called as LEGAN's generator and critic are, from the tensors of a weights file.


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


# A face under any light, from what the generator gives for the lighting classes (`core.light`).
#
# Each class that is needed is one pass of the generator, and the mixture is taken in linear light, where light adds up. What generators
# that move, scale and shift give is turned into one such step again, so that the mixture can be applied at any resolution.


_DARK = 0.02  # of 2: darker pixels are too dark to tell a gain from
_MAX_GAIN = 4.0  # bound of the logarithm, as the generator's own


def mixed_output(x: Tensor, of_class: Callable[[int], GeneratorOutput], lamps: Lamps) -> GeneratorOutput:
    """Return the output of a generator under a mixture of its classes.

    What the mixture makes of a pixel is a function of the pixel's value, nearly a straight line: gain and bias are those of the line
    from what it makes of black to what it makes of the pixel. So they give the mixture itself at the crop's pixels, and are as smooth
    as those of the classes.

    Args:
        x: the crops (B, 3, S, S) in [-1, 1].
        of_class: the output for a class. Its displacement is the same for all of them: light moves nothing.
        lamps: the mixture; only its classes and room light are asked for.
    """
    outputs = [of_class(k) for k in (ROOM, *map(int, lamps.classes))]
    masks = _masks(outputs, lamps.flashes.mean(1))
    first = outputs[0]
    if first.displacement is None or first.gain is None or first.bias is None:
        image = _mixture(np.stack([output.image.numpy() for output in outputs]) + 1, lamps)
        return GeneratorOutput(torch.from_numpy(image - 1).clamp(-1, 1), *masks, None)

    moved = (warp(x.float(), first.displacement) + 1).numpy()
    gains = np.exp(np.stack([output.gain.numpy() for output in outputs]))  # type: ignore[union-attr]
    biases = np.stack([output.bias.numpy() for output in outputs])  # type: ignore[union-attr]
    here, at_black = (_mixture(gains * source + biases, lamps) for source in (moved, np.zeros_like(moved)))
    # From black to the pixel: the slope at the pixel itself would be without bound at the tone curve's end.
    slope = np.clip((here - at_black) / np.maximum(moved, _DARK), math.exp(-_MAX_GAIN), math.exp(_MAX_GAIN))
    gain, bias = torch.from_numpy(np.log(slope)), torch.from_numpy(here - slope * moved)
    mixed = apply_fields(x, first.displacement, gain, bias).clamp(-1, 1)
    return GeneratorOutput(mixed, *masks, first.displacement, bias, gain)


def _mixture(images: np.ndarray, lamps: Lamps) -> np.ndarray:
    """Mix images (n, B, 3, S, S), black at 0 and white at 2, room light first, in linear light; float32 (B, 3, S, S), alike."""
    lights = without_tone(to_linear(np.clip(images / 2, 0, 1)))
    # A class is darker than room light where the network errs. Less than no light would tint the shadows of a coloured lamp.
    room, flashes = lights[0], np.maximum(lights[1:] - lights[0], 0)
    light = room * lamps.room.astype(np.float32)[:, None, None]
    for flash, factor in zip(flashes, lamps.flashes.astype(np.float32), strict=True):
        light += flash * factor[:, None, None]
    return (2 * to_srgb(with_tone(light))).astype(np.float32)


def _masks(outputs: list[GeneratorOutput], weights: np.ndarray) -> tuple[Tensor, Tensor]:
    """The expression mask, which is the same for all classes, and the mean of the flashes' lighting masks; room light's without one."""
    room, *flashes = outputs
    if not flashes:
        return room.expression_mask, room.lighting_mask
    shares = torch.from_numpy((weights / weights.sum()).astype(np.float32))
    masks = torch.stack([output.lighting_mask for output in flashes])  # (n, B, channels, h, w)
    return room.expression_mask, torch.einsum("n,nbchw->bchw", shares, masks)


# The networks of an editor: a generator and, where it was exported with one, its critic, read from one weights file.
#
# Tensors named `generator.*` and `critic.*`; metadata holds their configs under `generator` and `critic`, and under `model` whose they
# are: LEGAN's, StarGAN's or StarGAN v2's, which all edit through `Networks` alike.


FITTED = "fitted"  # what users call the editor without a network, in every option that takes an editor
ExpressionSpec = str | Mapping[str, float]
LightingSpec = str | float | Sequence[float] | LightSetup


@dataclass(frozen=True)
class Codes:
    """Conditions of a batch.

    Args:
        expression, lighting: (B, 6) and (B, 20), each row non-negative and summing to 1, or zeros to keep it.
        lamps: lighting as a mixture of classes instead, the same for all rows. `lighting` is then the room's.
    """

    expression: Tensor
    lighting: Tensor
    lamps: Lamps | None = None

    def with_expression(self, expression: Tensor) -> "Codes":
        """The same light on another expression (B, 6)."""
        return replace(self, expression=expression)

    def of_class(self, number: int) -> "Codes":
        """The same expression under one lighting class."""
        lighting = torch.zeros_like(self.lighting)
        lighting[:, number] = 1
        return Codes(self.expression, lighting)


class Networks:
    """The editor's networks in evaluation mode.

    Args:
        generator: (x, expression, lighting) -> `GeneratorOutput`; masks of no channels where it makes none.
        critic: x -> `CriticOutput`; without one, a face's own expression and lighting are unknown.
        metadata: what the weights file says about itself: config, data, steps, licence.
        checksum: SHA-256 of the weights file.
        device: where the networks run.
        size: side of the crops in pixels.
        precision: of the generator: "bf16", "fp32", or "auto": bfloat16 convolutions where the hardware has them, nearly twice as
            fast; values of the image then differ by 0.001 on average and by 0.013 at most (16 photographs, range [-1, 1]).
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module | None,
        metadata: Mapping[str, Any],
        checksum: str,
        device: str = "cpu",
        size: int = CROP_SIZE,
        precision: str = "auto",
    ) -> None:
        self.device = torch.device(device)
        self.dtype = mixed_dtype(precision, self.device)
        generator = generator.eval().requires_grad_(False)
        self.generator = generator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.eval().requires_grad_(False).to(self.device) if critic is not None else None
        self.metadata = dict(metadata)
        self.checksum = checksum
        self.size = size
        self.has_masks = isinstance(generator, Generator)
        self.keeps = isinstance(generator, Generator) and generator.config.keeps
        # What an editor of one attribute alone does not look at.
        self.ignored: tuple[str, ...] = getattr(generator, "ignored", ())

    @torch.inference_mode()
    def own_codes(self, x: Tensor) -> Codes:
        """Estimate expression and lighting of crops `x` (B, 3, S, S) in [-1, 1]: the softmax of the critic's class heads.

        Raises:
            ConditionError: the weights hold no critic.
        """
        if self.critic is None:
            raise ConditionError(
                "these weights cannot tell a face's own expression and lighting (they hold no critic): name both an expression "
                "and a lighting"
            )
        if not len(x):
            return Codes(torch.zeros(0, len(EXPRESSIONS)), torch.zeros(0, len(LIGHTINGS)))
        outputs = [self.critic(part.to(self.device)) for part in x.split(64)]
        expression = torch.cat([o.expression for o in outputs]).float().softmax(1)
        lighting = torch.cat([o.lighting for o in outputs]).float().softmax(1)
        return Codes(expression.cpu(), lighting.cpu())

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops `x` to.

        None keeps an attribute: its code is zeros where the generator takes them so (`GeneratorConfig.keeps`), else the face's own, as
        the critic sees it.

        Raises:
            ConditionError: an unknown name, a value out of range, None where neither is possible, or what these weights cannot change.
        """
        for name, wish in (("expression", expression), ("lighting", lighting)):
            if wish is not None and name in self.ignored:
                raise ConditionError(f"these weights do not change the {name}: leave it out")
        expression = "neutral" if "expression" in self.ignored else expression
        lighting = "room" if "lighting" in self.ignored else lighting
        # The named ones first: a wrong name is told before anything is computed.
        plain, lamps = plain_and_mixed(lighting) if lighting is not None else (None, None)
        named_expression = _rows(expression_code(expression), len(x)) if expression is not None else None
        named_lighting = _rows(lighting_code(plain), len(x)) if plain is not None else None
        if named_expression is not None and named_lighting is not None:
            return Codes(named_expression, named_lighting, lamps)
        own = self._no_codes(x) if self.keeps else self.own_codes(x)
        return Codes(
            own.expression if named_expression is None else named_expression,
            own.lighting if named_lighting is None else named_lighting,
            lamps,
        )

    def _no_codes(self, x: Tensor) -> Codes:
        """Codes of zeros, which keep everything."""
        return Codes(torch.zeros(len(x), len(EXPRESSIONS)), torch.zeros(len(x), len(LIGHTINGS)))

    @torch.inference_mode()
    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Run the generator on crops `x` (B, 3, S, S) in [-1, 1], `batch_size` at a time; the outputs are on the CPU.

        Of no crops there are no masks: (0, 0, S, S). Under a mixture of lamps each class that it needs is one run.
        """
        if not len(x):
            return GeneratorOutput(x.float().cpu(), x[:, :0], x[:, :0], None)
        if codes.lamps is not None:
            return mixed_output(x.cpu(), lambda k: self.translate(x, codes.of_class(k), batch_size), codes.lamps)
        parts = []
        for rows in torch.arange(len(x)).split(batch_size):
            image = x[rows].to(self.device, memory_format=torch.channels_last)
            wishes = (code[rows].to(self.device) for code in (codes.expression, codes.lighting))
            with autocast(self.dtype, self.device):
                parts.append(self.generator(image, *wishes))
        columns = zip(*parts, strict=True)  # each field's tensors, or None for what this generator does not give
        return GeneratorOutput._make(None if column[0] is None else torch.cat(column).float().cpu() for column in columns)


def load_networks(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Networks:
    """Read an editor's weights file; None or `packaged` is the package's own, `owner/name` a model on the Hugging Face hub.

    `fitted` is the editor without a network (`legan.editing.fitted`).

    Raises:
        LeganError: `fitted` without the extra `render`.
        WeightsError: a missing or damaged file, a pickle, weights of something else, or a model that cannot be fetched.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    check_device(device)
    if str(weights) == FITTED:
        from legan.editing.fitted import load_fitted

        return load_fitted()
    path = editor_file(weights if weights is not None else PACKAGED)
    tensors, metadata = load_weights(path)
    if not any(name.startswith("generator.") for name in tensors) or metadata.get("generator") is None:
        raise WeightsError(f"{path} holds no editor: give a file that `legan export` wrote")
    model = metadata.get("model") or LEGAN
    if model not in _MAKERS:
        raise WeightsError(f"{path} holds an editor of unknown kind '{model}'{nearest(model, _MAKERS)}: update legan")
    generator, critic, size = _MAKERS[model](tensors, metadata, Path(path))
    return Networks(generator, critic, metadata, sha256_of(path), device, size, precision)


def _legan_networks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path
) -> tuple[Generator, Critic | None, int]:
    own, judging = part_of(tensors, "generator."), part_of(tensors, "critic.")
    generator = network_of_config(Generator, GeneratorConfig, metadata["generator"], own, path)
    if not judging:
        return generator, None, CROP_SIZE
    critic = network_of_config(Critic, CriticConfig, metadata.get("critic") or {}, judging, path)
    return generator, critic, critic.config.size


LEGAN = "legan-editor"
_MAKERS = {LEGAN: _legan_networks, "stargan": stargan_networks, "starganv2": starganv2_networks}


def _rows(code: np.ndarray, n: int) -> Tensor:
    return torch.from_numpy(code).expand(n, -1)
