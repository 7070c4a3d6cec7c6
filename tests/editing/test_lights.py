"""Lights of the command line: environment maps, the light of another photo, options that exclude each other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from legan.core.conditions import LIGHTINGS
from legan.core.errors import ConditionError, FaceError, ImageError
from legan.core.images import load_environment
from legan.core.light import LightSetup, environment_light
from legan.editing.folders import light_like, light_setups, shares_in_words
from legan.editing.loader import load_editor
from legan.models.critic import CriticOutput
from legan.models.editors import LightingSpec
from legan.requests import EditRequest

Know = Callable[..., None]


def a_map(azimuth: float, elevation: float, colour: tuple[float, float, float] = (1, 1, 1), height: int = 180) -> np.ndarray:
    """A dark map with one lamp at a direction in degrees, as lightings have it: its middle column is 0, left of it positive."""
    light = np.zeros((height, 2 * height, 3), np.float32)
    row, column = (90 - elevation) / 180 * height, (180 - azimuth) / 360 * 2 * height
    light[int(row), int(column) % (2 * height)] = colour
    return light


def room_and_flashes(setup: LightSetup) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    lamps = setup.in_classes()
    return lamps.room, {LIGHTINGS[k].name: row for k, row in zip(lamps.classes, lamps.flashes, strict=True)}


@pytest.mark.parametrize(("azimuth", "elevation"), [(-60.5, 37.5), (45.5, 3.5), (0.5, 20.5), (-85.5, 10.5)])
def test_a_lamp_in_a_map_is_that_lamp(azimuth: float, elevation: float) -> None:
    room, flashes = room_and_flashes(environment_light(a_map(azimuth, elevation)))
    assert np.allclose(room, 0) and np.allclose(sum(flashes.values()), 1)
    # The map is brought to 2.5 degrees a pixel, which moves a lamp by as much.
    wanted = room_and_flashes(LightSetup.parse(f"{azimuth},{elevation}", 0.5))[1]
    for name in set(wanted) | set(flashes):
        assert abs(wanted.get(name, np.zeros(3))[0] - flashes.get(name, np.zeros(3))[0]) < 0.17, name


def test_right_in_the_map_is_left_in_the_photo() -> None:
    light = np.zeros((64, 128, 3))
    light[28, 96] = 5  # right of the middle, a little above the horizon
    assert all(LIGHTINGS[int(name)].azimuth < -75 for name in room_and_flashes(environment_light(light))[1])


@pytest.mark.parametrize(("azimuth", "elevation"), [(170, 10), (-100, 30), (0, -20), (0, 80)])
def test_light_from_elsewhere_is_the_rooms(azimuth: float, elevation: float) -> None:
    room, flashes = room_and_flashes(environment_light(a_map(azimuth, elevation, (2, 1, 1))))
    assert not flashes and np.allclose(room / room[1], [2, 1, 1]) and room @ [0.2126, 0.7152, 0.0722] == pytest.approx(1)


def test_an_even_map_has_the_share_of_the_solid_angle() -> None:
    room, flashes = room_and_flashes(environment_light(np.ones((72, 144, 3))))
    # Half of the way round, from the horizon up to 62 degrees: sin(62) / 4 of the sphere; rows of 2.5 degrees end at 62.5.
    assert np.allclose(sum(flashes.values()), np.sin(np.radians(62)) / 4, atol=0.01)
    assert np.allclose(room + sum(flashes.values()), 1)


def test_maps_of_files(tmp_path: Path) -> None:
    light = 20 * a_map(45.5, 3.5, (1, 0.5, 0.25))
    cv2.imwrite(str(tmp_path / "a.hdr"), light[..., ::-1])
    room, flashes = room_and_flashes(environment_light(load_environment(tmp_path / "a.hdr")))
    total = sum(flashes.values())
    assert np.allclose(total / total[0], [1, 0.5, 0.25], atol=0.02) and np.allclose(room, 0)
    # 188 of 255 is half of the light.
    levels = np.zeros((60, 120, 3), np.uint8)
    levels[28, 50] = 255, 188, 0
    cv2.imwrite(str(tmp_path / "a.png"), levels[..., ::-1])
    setup = environment_light(load_environment(tmp_path / "a.png"), "environment a.png")
    total = sum(room_and_flashes(setup)[1].values())
    assert np.allclose(total / total[0], [1, 0.503, 0], atol=0.005) and str(setup) == "environment a.png"


def test_maps_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no.hdr does not exist: name an environment map"):
        load_environment(tmp_path / "no.hdr")
    cases = (
        ("a.hdr", b"no image", "is a text file"),
        ("b.hdr", b"", "is empty"),
        ("c.exr", b"\x76\x2f\x31\x01 damaged", "give a PNG"),
        (
            "d.hdr",
            b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 36 +X 72\ncut",
            "cannot be read as an environment map: give Radiance HDR",
        ),
        ("e.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 180000\n", "too large"),
    )
    for name, content, message in cases:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=message):
            load_environment(tmp_path / name)
    cv2.imwrite(str(tmp_path / "square.png"), np.ones((50, 50, 3), np.uint8))
    with pytest.raises(ImageError, match="is 50x50 pixels: an equirectangular map is twice as wide as high"):
        load_environment(tmp_path / "square.png")
    for wrong in (np.zeros((8, 16, 3)), np.full((8, 16, 3), -1.0), np.full((8, 16, 3), np.inf)):
        with pytest.raises(ImageError, match="holds no light"):
            environment_light(wrong)


def test_the_light_of_another_photo(
    tiny_editor: Path, tiny_generator: Path, photo: Path, known_faces: Know, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = load_editor(tiny_editor)
    scores = torch.full((1, 20), -20.0)
    scores[0, [0, 4, 11]] = torch.log(torch.tensor([0.25, 0.5, 0.25]))
    monkeypatch.setattr(editor.networks, "critic", lambda x: CriticOutput(x, torch.zeros(1, 6), scores))
    setup = light_like(editor, photo)
    room, flashes = room_and_flashes(setup)
    assert room.tolist() == [1, 1, 1] and {name: row[0].round(4) for name, row in flashes.items()} == {"04": 0.5, "11": 0.25}
    assert str(setup) == "like photo.png (by the critic)" and shares_in_words(setup) == "1 of room, 0.5 of 04, 0.25 of 11"
    with pytest.raises(ConditionError, match="cannot tell the light of a photo"):
        light_like(load_editor(tiny_generator), photo)
    known_faces()
    with pytest.raises(FaceError, match="no face found"):
        light_like(editor, photo)


def test_options_that_exclude_each_other() -> None:
    for wrong in (
        {"lightings": ("left",), "light_like": Path("a.jpg")},
        {"environment": Path("a.hdr"), "light_like": Path("a.jpg")},
    ):
        with pytest.raises(ConditionError, match="both say what the light is: name one of them"):
            EditRequest(**wrong).check()  # type: ignore[arg-type]
    for name, option in (("ambient", "--ambient"), ("softness", "--softness"), ("light_color", "--light-color")):
        with pytest.raises(ConditionError, match=f"{option} goes with lamps: add --lighting"):
            EditRequest("smile", **{name: 0}).check()
        with pytest.raises(ConditionError, match=f"{option} goes with lamps"):
            EditRequest("smile", environment=Path("a.hdr"), **{name: 0}).check()


def test_plain_lightings_stay_as_named(tiny_editor: Path) -> None:
    def setups(*lightings: LightingSpec, **lamps: Any) -> tuple[LightingSpec, ...]:
        return light_setups(EditRequest(None, lightings, **lamps), load_editor(tiny_editor)).lightings

    assert setups("left", "-45 + 60") == ("left", "-45 + 60")
    assert setups("left", ambient=1.0, softness=0.0, light_color="6500K") == ("left",)
    assert setups("left", ambient=0.0) == (LightSetup.parse("left", 0.0),)
    with pytest.raises(ConditionError, match="belong to lamps in words"):
        setups(LightSetup.parse("left"), ambient=0.5)
