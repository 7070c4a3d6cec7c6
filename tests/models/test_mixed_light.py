"""A face under mixtures of lamps, against mixing by hand; what needs no mixture stays as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import TINY_GENERATOR

from legan.core.errors import ConditionError
from legan.core.images import load_photo
from legan.core.light import Lamp, LightSetup
from legan.editing.editor import Editor
from legan.editing.grid import edit_cells
from legan.editing.loader import load_editor
from legan.models.critic import Critic, CriticConfig
from legan.models.editors import Networks
from legan.models.generator import Generator, GeneratorConfig, apply_fields

Know = Callable[..., None]
KINDS = ("own codes", "keeps", "colour")


@pytest.fixture
def editors(tiny_editor: Path, keeping_editor: Path) -> dict[str, Editor]:
    """Editors that need a face's own codes, that keep what is not named, and that predict colours."""
    config = GeneratorConfig(**{**vars(TINY_GENERATOR), "output": "colour", "skip": False})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        colour = Networks(Generator(config), Critic(CriticConfig(width=4, n_layers=5, max_width=8)), {}, "0" * 64)
    return {"own codes": load_editor(tiny_editor), "keeps": load_editor(keeping_editor), "colour": Editor(colour)}


@pytest.fixture
def crops() -> torch.Tensor:
    return 0.1 + 0.6 * torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def light_of(image: torch.Tensor) -> np.ndarray:
    """Linear light of images in [0, 1]: the standard's curve, then the sensor's undone."""
    v = image.double().numpy()
    light = np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)
    above = np.clip((light - 0.7) / 0.3, 0, 0.985)
    return np.where(light > 0.7, 0.7 - 0.3 * np.log(1 - above), light)


def shown(light: np.ndarray) -> np.ndarray:
    """The way back to [0, 1]."""
    light = np.where(light > 0.7, 1 - 0.3 * np.exp((0.7 - light) / 0.3), light)
    return np.where(light > 0.0031308, 1.055 * np.abs(light) ** (1 / 2.4) - 0.055, 12.92 * light)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expression", [None, "smile"])
def test_lamps_are_mixed_as_by_hand(editors: dict[str, Editor], crops: torch.Tensor, kind: str, expression: str | None) -> None:
    editor = editors[kind]
    room, left, right = (light_of(editor(crops, expression, name)) for name in ("room", "04", "11"))
    colour = np.array([1.0, 0.5, 0.25])[:, None, None]
    by_hand = 0.3 * room + 0.8 * np.maximum(left - room, 0) + colour * np.maximum(right - room, 0)
    setup = LightSetup((Lamp("04", 0.8), Lamp("11", colour=(1.0, 0.5, 0.25))), 0.3)
    found = editor(crops, expression, setup)
    assert found.shape == crops.shape and found.dtype == torch.float32
    # Fields have a bound, so pixels that are darker than it can tell may differ.
    error = np.abs(found.numpy() - shown(by_hand))
    assert np.quantile(error, 0.999) < 2e-3 and error.max() < 0.05
    assert np.abs(found.numpy() - editor(crops, expression, "04").numpy()).mean() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_dim_room_alone(editors: dict[str, Editor], crops: torch.Tensor, kind: str) -> None:
    room, dim = editors[kind](crops, None, "room"), editors[kind](crops, None, LightSetup((), 0.5))
    assert np.quantile(np.abs(dim.numpy() - shown(0.5 * light_of(room))), 0.999) < 2e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_plain_light_stays_bit_for_bit(editors: dict[str, Editor], crops: torch.Tensor, kind: str, strength: float) -> None:
    plain = editors[kind](crops, "smile", -50, strength)
    for same in ("-50", "1*-50", LightSetup((Lamp(-50),)), LightSetup.parse("-50", 1, 0, "#ffffff")):
        assert torch.equal(editors[kind](crops, "smile", same, strength), plain)


@pytest.mark.parametrize("kind", ["own codes", "keeps"])
def test_fields_are_the_mixture(editors: dict[str, Editor], crops: torch.Tensor, kind: str) -> None:
    networks = editors[kind].networks
    x = 2 * crops - 1
    output = networks.translate(x, networks.target_codes(x, "smile", "0.7*-45 + 60"))
    assert output.displacement is not None and output.gain is not None and output.bias is not None
    image = apply_fields(x, output.displacement, output.gain, output.bias).clamp(-1, 1)
    assert torch.equal(image, output.image)
    # As smooth as what they are made of: an image of the fields alone shows no pixel of the crop.
    plain = networks.translate(x, networks.target_codes(x, "smile", -45))
    assert torch.equal(output.displacement, plain.displacement)
    assert output.bias.diff().abs().mean() < 2 * plain.bias.diff().abs().mean()
    assert output.gain.diff().abs().mean() < 2 * plain.gain.diff().abs().mean()
    assert output.lighting_mask.shape == plain.lighting_mask.shape


@pytest.mark.parametrize("kind", KINDS)
def test_strength_goes_from_the_photo_to_the_mixture(editors: dict[str, Editor], crops: torch.Tensor, kind: str) -> None:
    setup = LightSetup.parse("-45 + 60", ambient=0.2)
    none, some, whole, more = (editors[kind](crops, "smile", setup, s) for s in (0, 0.5, 1, 1.3))
    assert torch.allclose(none, crops, atol=1e-6)
    away = [float((image - crops).abs().mean()) for image in (some, whole)]
    assert 0.005 < away[0] < away[1] and not torch.equal(more, whole)


def test_photos_with_lamps(editors: dict[str, Editor], photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128), (200, 80, 90))
    setup = LightSetup.parse("-45 + 0.5*60,20", ambient=0.5)
    for kind, editor in editors.items():
        result = editor(photo, None, setup, face="all")
        assert len(result.fields) == (0 if kind == "colour" else 2)
        assert result.mark.edit == "expression=kept lighting=-45 + 0.5*60,20 ambient=0.5 strength=1"
        pixels = np.asarray(load_photo(photo).image)
        assert np.abs(np.asarray(result.image).astype(int) - pixels).mean() > 1
        for own in result.fields:
            pixels = own.apply(pixels)
        assert kind == "colour" or np.array_equal(pixels, np.asarray(result.image))
    assert editors["keeps"](torch.zeros(0, 3, 128, 128), None, setup).shape == (0, 3, 128, 128)


def test_a_grid_of_plain_and_mixed_lights(editors: dict[str, Editor], crops: torch.Tensor) -> None:
    crop = Image.fromarray((255 * crops[0]).byte().permute(1, 2, 0).numpy())
    lights = ["-45 + 60", -45, LightSetup.parse("-45", 0.1), "right"]
    cells = edit_cells(editors["own codes"], crop, [(e, light) for e in ("neutral", "smile") for light in lights])
    for cell, (expression, light) in zip(cells, [(e, light) for e in ("neutral", "smile") for light in lights], strict=True):
        alone = edit_cells(editors["own codes"], crop, [(expression, light)])[0]
        assert np.abs(np.asarray(cell).astype(int) - np.asarray(alone)).max() <= 1


def test_wrong_lamps_are_told_before_any_photo_is_read(editors: dict[str, Editor]) -> None:
    with pytest.raises(ConditionError, match="lighting azimuth 120 is out of range"):
        editors["keeps"].edit_many(["missing.jpg"], lighting="-45 + 120")
    with pytest.raises(ConditionError, match="unknown expression"):
        editors["keeps"].edit_many(["missing.jpg"], "smlie", "-45 + 60")
