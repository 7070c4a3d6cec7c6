"""Strength: exact at both ends, no jump in between, light mixed as light."""

from pathlib import Path

import pytest
import torch

from legan.core.errors import ConditionError
from legan.editing.editor import check_strength, mixed_light, partial_edit
from legan.models.editors import Codes, Networks, load_networks
from legan.models.generator import warp


def crop() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    return torch.stack([0.6 * x, 0.6 * y, 0.3 * x * y])[None]


def edited(networks: Networks, strength: float, expression: str | None = "smile", lighting: float | None = -45) -> torch.Tensor:
    target = networks.target_codes(crop(), expression, lighting)
    full = networks.translate(crop(), target)
    return partial_edit(networks, crop(), full, target, strength, keeps_expression=expression is None)


@pytest.mark.parametrize(("expression", "lighting"), [("smile", -45), ("smile", None), (None, -45)])
def test_exact_ends_and_no_jumps(tiny_editor: Path, expression: str | None, lighting: float | None) -> None:
    networks = load_networks(tiny_editor)
    assert torch.equal(edited(networks, 0, expression, lighting), crop())
    full = networks.translate(crop(), networks.target_codes(crop(), expression, lighting)).image
    assert torch.equal(edited(networks, 1, expression, lighting), full)
    steps = torch.stack([edited(networks, s / 20, expression, lighting) for s in range(25)])
    jumps = steps.diff(dim=0).abs().mean((1, 2, 3, 4))
    whole = (full - crop()).abs().mean()
    assert whole > 0.02, "the tiny editor must change the crop"
    assert jumps.max() < 0.35 * whole and jumps.min() > 0


def test_without_a_critic_the_images_are_mixed(tiny_generator: Path) -> None:
    networks = load_networks(tiny_generator)
    full = networks.translate(crop(), networks.target_codes(crop(), "smile", -45)).image
    assert torch.equal(edited(networks, 0.4), mixed_light(crop(), full, 0.4))


def test_half_an_expression_is_half_its_code(tiny_editor: Path) -> None:
    networks = load_networks(tiny_editor)
    own = networks.own_codes(crop())
    target = networks.target_codes(crop(), "scream", None)
    half = Codes((own.expression + target.expression) / 2, own.lighting)
    assert torch.allclose(edited(networks, 0.5, "scream", None), networks.translate(crop(), half).image, atol=1e-4)


def test_light_is_mixed_in_linear_light() -> None:
    black, white = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 1.0)
    # Half of the light of white is the sRGB level 188 (IEC 61966-2-1).
    assert torch.allclose((mixed_light(black, white, 0.5) + 1) * 127.5, torch.tensor(187.52), atol=0.01)
    x = torch.linspace(-1, 1, 300).view(1, 3, 10, 10)
    for share in (0.0, 0.3, 1.0):
        assert torch.allclose(mixed_light(x, x, share), x, atol=1e-5)


def test_range() -> None:
    assert check_strength(1.5) == 1.5
    for strength in (-0.1, 1.6, float("nan")):
        with pytest.raises(ConditionError, match=r"strength .* is out of range: give a number from 0 \(no edit\) to 1.5"):
            check_strength(strength)


@pytest.mark.parametrize("strength", [0.3, 1.4])
def test_an_editor_that_keeps_moves_every_field_a_part_of_its_way(keeping_editor: Path, strength: float) -> None:
    networks = load_networks(keeping_editor, precision="fp32")
    full = networks.translate(crop(), networks.target_codes(crop(), "smile", -45))
    assert full.displacement is not None and full.gain is not None and full.bias is not None
    moved = warp(crop(), strength * full.displacement)
    expected = (moved + 1) * torch.exp(strength * full.gain) - 1 + strength * full.bias
    torch.testing.assert_close(edited(networks, strength), expected.clamp(-1, 1))
    assert (full.image - crop()).abs().mean() > 0.02


def test_an_editor_that_keeps_needs_no_guess_of_what_it_keeps(keeping_editor: Path) -> None:
    networks = load_networks(keeping_editor, precision="fp32")
    assert networks.critic is None
    codes = networks.target_codes(crop(), "smile", None)
    assert codes.expression.sum() == 1 and not codes.lighting.any()
    kept = networks.translate(crop(), networks.target_codes(crop(), None, None))
    torch.testing.assert_close(kept.image, crop(), atol=1e-5, rtol=0)
