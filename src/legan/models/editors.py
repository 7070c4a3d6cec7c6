"""Editors of aligned face crops: the protocol that all of them follow, and LEGAN, StarGAN and StarGAN v2 from a weights file.

A weights file holds tensors `generator.*` and, where it was exported with one, `critic.*`; its metadata holds their configs under
`generator` and `critic`, under `model` which of the three it is, and under `expressions` and `lightings` its classes where they are its
own (`core.conditions.Classes`). `legan.editing.loader` loads any editor by name.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.conditions import STANDARD, Classes
from legan.core.device import autocast, check_device, mixed_dtype
from legan.core.errors import ConditionError, ConfigError, WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.light import ROOM, Lamps, LightSetup, is_setup, plain_and_mixed, to_linear, to_srgb, with_tone, without_tone
from legan.core.weights import PACKAGED, editor_file, load_weights
from legan.models.critic import Critic, CriticConfig, CriticOutput
from legan.models.from_weights import network_of_config
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput, apply_fields, warp
from legan.models.stargan import (
    LabelEditor,
    StarGANCritic,
    StarGANCriticConfig,
    StarGANGenerator,
    StarGANGeneratorConfig,
    by_attribute,
)
from legan.models.starganv2 import Mapping as StyleMapping
from legan.models.starganv2 import StarGANv2Config, StarGANv2Generator, StyledEditor

FITTED = "fitted"  # what users call the editor without a network, in every option that takes an editor
ExpressionSpec = str | Mapping[str, float]
LightingSpec = str | float | Sequence[float] | LightSetup


@dataclass(frozen=True)
class Codes:
    """Conditions of a batch.

    Args:
        expression, lighting: (B, 6) and (B, 20), or as many as the editor has classes, each row non-negative and summing to 1, or zeros
            to keep it.
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


def named_codes(n: int, expression: ExpressionSpec | None, lighting: LightingSpec | None, classes: Classes = STANDARD) -> Codes:
    """Return the codes of n crops; zeros for an attribute that is None.

    Raises:
        ConditionError: an unknown name, a value out of range, or a mixture of lamps where `classes` are not the standard ones.
    """
    if lighting is not None and is_setup(lighting):
        classes.check_standard("a mixture of lamps")
    plain, lamps = plain_and_mixed(lighting) if lighting is not None else (None, None)
    return Codes(
        torch.zeros(n, len(classes.expressions)) if expression is None else _rows(classes.expression_code(expression), n),
        torch.zeros(n, len(classes.lightings)) if plain is None else _rows(classes.lighting_code(plain), n),
        lamps,
    )


def _rows(code: np.ndarray, n: int) -> Tensor:
    return torch.from_numpy(code).expand(n, -1)


class Attempt(NamedTuple):
    """Edited crops (B, 3, S, S) in [-1, 1], and which of them (B,) bool were refused and are as they were."""

    image: Tensor
    refused: np.ndarray


class CropEditor(Protocol):
    """What edits aligned face crops: `Networks`, or the fitted head (`legan.editing.fitted`).

    Crops are float32 (B, 3, S, S), RGB, in [-1, 1], on the CPU; B may be 0.

    Args:
        size: side S of the crops in pixels.
        device: where it runs.
        checksum: SHA-256 of what decides the images: the weights file; for the fitted head versions and the landmark network.
        metadata: what the weights file says about itself: config, data, steps, licence.
        has_critic: whether `own_codes` can estimate.
        has_masks: whether outputs have masks; else masks have no channels.
        keeps: whether a code of zeros keeps an attribute as it is.
        can_refuse: whether there are crops that cannot be edited.
        classes: the expressions and lightings that it knows.
    """

    size: int
    device: torch.device
    checksum: str
    metadata: dict[str, Any]
    has_masks: bool
    keeps: bool
    can_refuse: bool
    classes: Classes

    @property
    def has_critic(self) -> bool: ...

    def own_codes(self, x: Tensor) -> Codes:
        """Estimate expression and lighting of crops; a ConditionError without a critic."""

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops to; None keeps an attribute."""

    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Edit crops, `batch_size` at a time; a FaceError where one is refused."""

    def attempt(self, x: Tensor, codes: Codes, batch_size: int = 16) -> Attempt:
        """Edit crops as `translate` does, images only; refused ones stay as they are."""


class Networks:
    """A generator and perhaps a critic in evaluation mode, as a `CropEditor`.

    Args:
        generator: (x, expression, lighting) -> `GeneratorOutput`; masks have no channels where it gives none.
        critic: x -> `CriticOutput`; without one, a face's own expression and lighting are unknown.
        metadata: what the weights file says about itself: config, data, steps, licence.
        checksum: SHA-256 of the weights file.
        device: where the networks run.
        size: side of the crops in pixels.
        precision: of the generator: "bf16", "fp32", or "auto": bfloat16 convolutions where the hardware has them, nearly twice as
            fast; values of the image then differ by 0.001 on average and by 0.013 at most (16 photographs, range [-1, 1]).
        file: the weights file; None where there is none.
        classes: the expressions and lightings of the codes.
    """

    can_refuse = False

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module | None,
        metadata: Mapping[str, Any],
        checksum: str,
        device: str = "cpu",
        size: int = CROP_SIZE,
        precision: str = "auto",
        file: Path | None = None,
        classes: Classes = STANDARD,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = mixed_dtype(precision, self.device)
        generator = generator.eval().requires_grad_(False)
        self.generator = generator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.eval().requires_grad_(False).to(self.device) if critic is not None else None
        self.metadata = dict(metadata)
        self.checksum = checksum
        self.file = file
        self.size = size
        self.classes = classes
        self.has_masks = isinstance(generator, Generator)
        self.keeps = isinstance(generator, Generator) and generator.config.keeps
        # Attributes that an editor of one attribute alone cannot change.
        self.ignored: tuple[str, ...] = getattr(generator, "ignored", ())

    @property
    def has_critic(self) -> bool:
        """Whether `own_codes` can estimate."""
        return self.critic is not None

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
            return Codes(torch.zeros(0, len(self.classes.expressions)), torch.zeros(0, len(self.classes.lightings)))
        outputs = [self.critic(part.to(self.device)) for part in x.split(64)]
        expression = torch.cat([o.expression for o in outputs]).float().softmax(1)
        lighting = torch.cat([o.lighting for o in outputs]).float().softmax(1)
        return Codes(expression.cpu(), lighting.cpu())

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops `x` to.

        None keeps an attribute: its code is zeros where the generator takes them so (`GeneratorConfig.keeps`), else the face's own by
        the critic.

        Raises:
            ConditionError: an unknown name, a value out of range, None where neither is possible, or what these weights cannot change.
        """
        for name, value in (("expression", expression), ("lighting", lighting)):
            if value is not None and name in self.ignored:
                raise ConditionError(f"these weights do not change the {name}: leave it out")
        # Any class where it changes nothing.
        expression = self.classes.expressions[0] if "expression" in self.ignored else expression
        lighting = self.classes.lighting_names[0] if "lighting" in self.ignored else lighting
        # The named ones first: a wrong name is an error before anything is computed.
        codes = named_codes(len(x), expression, lighting, self.classes)
        if self.keeps or (expression is not None and lighting is not None):
            return codes
        own = self.own_codes(x)
        return Codes(
            own.expression if expression is None else codes.expression,
            own.lighting if lighting is None else codes.lighting,
            codes.lamps,
        )

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
            targets = (code[rows].to(self.device) for code in (codes.expression, codes.lighting))
            with autocast(self.dtype, self.device):
                parts.append(self.generator(image, *targets))
        columns = zip(*parts, strict=True)  # each field's tensors, or None for what this generator does not give
        return GeneratorOutput._make(None if column[0] is None else torch.cat(column).float().cpu() for column in columns)

    def attempt(self, x: Tensor, codes: Codes, batch_size: int = 16) -> Attempt:
        """Edit crops as `translate` does, images only; none is refused."""
        return Attempt(self.translate(x, codes, batch_size).image, np.zeros(len(x), bool))


class CachedNetworks(Networks):
    """Networks that keep their last outputs: the same crops under the same codes are computed once.

    A mixture of lamps needs the output of each of its classes (`mixed_output`); those that are missing run as one batch.

    Args:
        networks: whose outputs.
        n_outputs: how many are kept, the last ones used.
    """

    def __init__(self, networks: Networks, n_outputs: int) -> None:
        self.__dict__.update(networks.__dict__)
        self._networks, self._n_outputs = networks, n_outputs
        self._outputs: OrderedDict[bytes, GeneratorOutput] = OrderedDict()
        self._lock = Lock()

    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Return what `Networks.translate` returns."""
        if not len(x):
            return self._networks.translate(x, codes, batch_size)
        if codes.lamps is None:
            return self._many(x, [codes], batch_size)[0]
        classes = [ROOM, *map(int, codes.lamps.classes)]
        outputs = self._many(x, [codes.of_class(k) for k in classes], batch_size)
        return mixed_output(x.cpu(), dict(zip(classes, outputs, strict=True)).__getitem__, codes.lamps)

    def _many(self, x: Tensor, codes: Sequence[Codes], batch_size: int) -> list[GeneratorOutput]:
        """The outputs under several codes without lamps."""
        crops = sha256(x.numpy(force=True).tobytes())
        keys = [_key(crops, one) for one in codes]
        with self._lock:
            kept = {key: self._outputs[key] for key in keys if key in self._outputs}
        missing = [i for i, key in enumerate(keys) if key not in kept]
        if missing:
            many = Codes(torch.cat([codes[i].expression for i in missing]), torch.cat([codes[i].lighting for i in missing]))
            together = self._networks.translate(x.repeat(len(missing), 1, 1, 1), many, batch_size)
            planes = [
                [None] * len(missing) if plane is None else [part.clone() for part in plane.split(len(x))] for plane in together
            ]
            kept |= {keys[i]: GeneratorOutput(*own) for i, own in zip(missing, zip(*planes, strict=True), strict=True)}
        with self._lock:
            for key in keys:
                self._outputs[key] = kept[key]
                self._outputs.move_to_end(key)
            while len(self._outputs) > self._n_outputs:
                self._outputs.popitem(last=False)
        return [kept[key] for key in keys]


def _key(crops: Any, codes: Codes) -> bytes:
    """What an output depends on: the hash of the crops, continued by the codes."""
    key = crops.copy()
    key.update(codes.expression.numpy().tobytes())
    key.update(codes.lighting.numpy().tobytes())
    return key.digest()


def load_networks(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Networks:
    """Read an editor's weights file; None or `packaged` is the package's own, `owner/name` a model on the Hugging Face hub.

    Raises:
        WeightsError: a missing or damaged file, a pickle, weights of something else, classes that do not fit them, or a model that
            cannot be fetched.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    check_device(device)
    path = editor_file(weights if weights is not None else PACKAGED)
    tensors, metadata = load_weights(path)
    if not any(name.startswith("generator.") for name in tensors) or metadata.get("generator") is None:
        raise WeightsError(f"{path} holds no editor: give a file that `legan export` wrote")
    model = metadata.get("model") or LEGAN
    if model not in _BUILDERS:
        raise WeightsError(f"{path} holds an editor of unknown kind '{model}'{nearest(model, _BUILDERS)}: update legan")
    classes = classes_of(metadata, Path(path))
    generator, critic, size = _BUILDERS[model](tensors, metadata, Path(path), classes)
    return Networks(generator, critic, metadata, sha256_of(path), device, size, precision, Path(path), classes)


def classes_of(metadata: Mapping[str, Any], path: Path) -> Classes:
    """Return the expressions and lightings of the editor in a weights file, from its metadata.

    Raises:
        WeightsError: they cannot be read.
    """
    lists = [metadata.get(name, []) for name in ("expressions", "lightings")]
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in lists):
        raise WeightsError(f"the classes in {path} are not lists of names: export the weights again")
    try:
        return Classes.parse(*lists)
    except ConfigError as error:
        raise WeightsError(f"the classes in {path} cannot be used ({error}): export the weights again") from error


def _check_number(name: str, n: int, wanted: int, path: Path) -> None:
    """Check that a network has as many codes as the file has classes."""
    if n != wanted:
        raise WeightsError(f"{path} names {wanted} {name}, and its network knows {n}: export the weights again")


# The three kinds of weights: each builder returns the generator, the critic or None, and the side of the crops in pixels.


class ImageEditor(nn.Module):
    """A generator that gives an image alone, as an editor: G(x, expression, lighting) -> `GeneratorOutput` without masks and fields.

    Args:
        generator: (x, expression, lighting) -> image (B, 3, S, S) in [-1, 1].
        ignored: attributes that it does not change.
    """

    def __init__(self, generator: nn.Module, ignored: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.generator, self.ignored = generator, ignored

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        image = self.generator(x, expression, lighting)
        none = image[:, :0]  # (B, 0, S, S)
        return GeneratorOutput(image, none, none, None)


class AttributeCritic(nn.Module):
    """StarGAN's critic with the classes of each attribute apart: D(x) -> `CriticOutput`."""

    def __init__(self, critic: StarGANCritic, n_expressions: int) -> None:
        super().__init__()
        self.critic, self.n_expressions = critic, n_expressions

    def forward(self, x: Tensor) -> CriticOutput:
        return by_attribute(self.critic(x), self.n_expressions)


def _build_legan(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path, classes: Classes
) -> tuple[nn.Module, nn.Module | None, int]:
    own, of_critic = _part_of(tensors, "generator."), _part_of(tensors, "critic.")
    generator = network_of_config(Generator, GeneratorConfig, metadata["generator"], own, path)
    _check_number("expressions", generator.config.n_expressions, len(classes.expressions), path)
    _check_number("lightings", generator.config.n_lightings, len(classes.lightings), path)
    if not of_critic:
        return generator, None, CROP_SIZE
    critic = network_of_config(Critic, CriticConfig, metadata.get("critic") or {}, of_critic, path)
    _check_number("expressions", critic.config.n_expressions, len(classes.expressions), path)
    _check_number("lightings", critic.config.n_lightings, len(classes.lightings), path)
    return generator, critic, critic.config.size


def _build_stargan(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path, classes: Classes
) -> tuple[nn.Module, nn.Module | None, int]:
    own, of_critic = _part_of(tensors, "generator."), _part_of(tensors, "critic.")
    generator = network_of_config(StarGANGenerator, StarGANGeneratorConfig, metadata["generator"], own, path)
    critic = network_of_config(StarGANCritic, StarGANCriticConfig, metadata.get("critic"), of_critic, path)
    n_expressions = len(classes.expressions)
    for network in (generator, critic):
        _check_number("classes", network.config.n_labels, n_expressions + len(classes.lightings), path)
    return ImageEditor(LabelEditor(generator)), AttributeCritic(critic, n_expressions), critic.config.size


def _build_starganv2(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path, classes: Classes
) -> tuple[nn.Module, nn.Module | None, int]:
    """Without a critic: StarGAN v2's discriminator does not estimate a face's own condition."""
    shape, own = metadata["generator"], _part_of(tensors, "generator.generator.")
    generator = network_of_config(StarGANv2Generator, StarGANv2Config, shape, own, path)
    mapping = network_of_config(StyleMapping, StarGANv2Config, shape, _part_of(tensors, "generator.mapping."), path)
    _check_number("expressions", generator.config.n_expressions, len(classes.expressions), path)
    _check_number("lightings", generator.config.n_lightings, len(classes.lightings), path)
    domains = generator.config.domains
    ignored = () if domains == "pair" else tuple({"expression", "lighting"} - {domains})
    return ImageEditor(StyledEditor(generator, mapping), ignored), None, generator.config.size


LEGAN = "legan-editor"
_BUILDERS = {LEGAN: _build_legan, "stargan": _build_stargan, "starganv2": _build_starganv2}


def _part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


# A face under any light, mixed from the outputs for the lighting classes (`core.light`), each one pass of the generator.
#
# The mixture is taken in linear light, where light adds up. Where the outputs are displacement, gain and bias it is turned into these
# again, so that it can be applied at any resolution.


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
