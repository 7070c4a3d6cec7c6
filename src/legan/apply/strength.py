"""How much of an edit: 0 leaves the picture as it is, 1 is the whole edit, up to 1.5 exaggerates it.

An editor that keeps what is not named gives fields, and a part of an edit is a part of each: everything moves a part of its way.

Of other editors expression and light are scaled in different places, each where half of it looks like half of it. Light adds up, so
half a change of light is the mean of two images, taken in linear light. A face half-way to a smile is not the mean of two images (that
shows two mouths): its expression code is moved half-way, from the code that the critic sees, and the generator does the rest.
"""

import torch
from torch import Tensor

from legan.apply.networks import Codes, Networks
from legan.core.errors import ConditionError
from legan.models.generator import GeneratorOutput, apply_fields

MAX_STRENGTH = 1.5
FADE_END = 0.25  # below it the generator's own small changes of a picture are faded out, so that 0 is the picture itself


def check_strength(strength: float) -> float:
    """Return `strength`.

    Raises:
        ConditionError: it is not in 0..1.5.
    """
    if not 0 <= strength <= MAX_STRENGTH:
        raise ConditionError(f"strength {strength:g} is out of range: give a number from 0 (no edit) to {MAX_STRENGTH:g}")
    return strength


def partial_edit(
    networks: Networks, x: Tensor, full: GeneratorOutput, target: Codes, strength: float, keeps_expression: bool
) -> Tensor:
    """Return crops edited with `strength`.

    Args:
        networks: of the editor. Without a critic the expression cannot be moved half-way: the pictures are mixed instead.
        x: crops (B, 3, S, S) in [-1, 1].
        full: their whole edits.
        target: the codes of the whole edit.
        strength: 0 to 1.5.
        keeps_expression: whether the edit leaves the expression as it is, so that only light changes.
    """
    if strength == 0:
        return x
    if strength == 1:
        return full.image
    if networks.keeps and full.displacement is not None and full.gain is not None and full.bias is not None:
        return apply_fields(x, strength * full.displacement, strength * full.gain, strength * full.bias).clamp(-1, 1)
    if strength > 1:
        return (x + strength * (full.image - x)).clamp(-1, 1)
    if keeps_expression or networks.critic is None:
        return mixed_light(x, full.image, strength)

    # The expression half-way, under the own light and under the target's.
    own = networks.own_codes(x)
    expression = own.expression + strength * (target.expression - own.expression)
    before = networks.translate(x, Codes(expression, own.lighting)).image
    after = networks.translate(x, target.with_expression(expression)).image
    before = x + min(1.0, strength / FADE_END) * (before - x)
    if target.lamps is None and torch.equal(own.lighting, target.lighting):
        return before
    return mixed_light(before, after, strength)


def mixed_light(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Mix pictures in [-1, 1] as two lamps would: `share` of `b` and the rest of `a`, in linear light."""
    return _encoded(_linear(a).lerp(_linear(b), share))


def _linear(x: Tensor) -> Tensor:
    # IEC 61966-2-1, from [-1, 1] to linear light in [0, 1].
    v = (x.clamp(-1, 1) + 1) / 2
    return torch.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _encoded(light: Tensor) -> Tensor:
    v = torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return v.clamp(0, 1) * 2 - 1
