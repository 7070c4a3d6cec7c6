"""A face under any light, from what the generator gives for the lighting classes (`core.lamps`).

Each class that is needed is one pass of the generator, and the mixture is taken in linear light, where light adds up. What generators
that move, scale and shift give is turned into one such step again, so that the mixture can be applied at any resolution.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from legan.core.lamps import ROOM, Lamps
from legan.core.linear_light import to_linear, to_srgb, with_tone, without_tone
from legan.models.generator import GeneratorOutput, apply_fields, warp

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
