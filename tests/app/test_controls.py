"""What the controls ask for, and that the lines to copy do the same as the page."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import legan
from legan.cli import app
from legan.core.errors import ConditionError
from legan_app.controls import KEEP, LAMP, ROOM, SLIDERS, Controls, command_line, python_lines


def weights(**given: float) -> tuple[float, ...]:
    return tuple(given.get(name, 0.0) for name in SLIDERS)


@pytest.mark.parametrize(
    ("controls", "expression"),
    [
        (Controls(), None),
        (Controls(neutral=True), "neutral"),
        (Controls(weights(smile=1)), "smile"),
        (Controls(weights(smile=0.5, squint=0.25)), "smile:0.5,squint:0.25"),
        (Controls(weights(smile=0.5), neutral=True), "smile:0.5"),
        (Controls(weights(smile=1, surprise=1, scream=1)), "smile:0.33,surprise:0.33,scream:0.33"),
    ],
)
def test_expressions_in_words(controls: Controls, expression: str | None) -> None:
    assert controls.expression == expression
    assert controls.is_scaled is (sum(controls.weights) > 1)


def test_a_lamp_that_is_moved_is_switched_on_and_the_last_colour_counts() -> None:
    before = Controls()
    assert Controls(azimuth=30).after(before).light == LAMP
    assert Controls(softness=30).after(before).light == LAMP
    assert Controls(weights(smile=1)).after(before).light == KEEP
    # Switched off by hand, it stays off.
    assert Controls(azimuth=30, light=ROOM).after(Controls(azimuth=30, light=LAMP)).light == ROOM
    tinted = Controls(tint="#ff0000", light=LAMP)
    assert tinted.colour == "#ff0000"
    warm = Controls(tint="#ff0000", kelvin=3200, light=LAMP).after(tinted)
    assert (warm.tint, warm.colour) == ("#ffffff", "3200K")
    assert Controls(kelvin=6500, light=LAMP).colour is None


def test_a_control_out_of_range_is_an_error() -> None:
    with pytest.raises(ConditionError, match="elevation 80 is out of range: give a number from 0 to 62"):
        Controls(elevation=80)
    with pytest.raises(ConditionError, match="unknown light 'sun'"):
        Controls(light="sun")
    with pytest.raises(ConditionError, match="nothing to change"):
        Controls().request()


WISHES = [
    Controls(weights(smile=0.5, squint=0.25), strength=0.8),
    Controls(light=ROOM, force=True),
    Controls(weights(surprise=1), light=LAMP, azimuth=10, elevation=0, face="2"),
    Controls(light=LAMP, azimuth=-50, elevation=20, ambient=0.2, softness=30, kelvin=3200, face="all"),
    Controls(light=LAMP, tint="#ffd0a0", ambient=0.0),
]


@pytest.mark.parametrize("controls", WISHES)
def test_both_lines_do_what_the_controls_ask_for(
    controls: Controls, keeping_editor: Path, known_faces: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import textured

    known_faces((30, 40, 128), (340, 40, 110))  # type: ignore[operator]
    monkeypatch.chdir(tmp_path)
    textured(480).save("my photo.png")
    request, editor = controls.request(), str(keeping_editor)
    line = command_line(request, "my photo.png", "a.png", editor)
    assert line.startswith("legan edit 'my photo.png' ")
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    exec(python_lines(request, "my photo.png", "b.png", editor), {})
    marks = [legan.read_mark(name) for name in ("a.png", "b.png")]
    assert marks[0] == marks[1] and marks[0] is not None
    words = f"strength={controls.strength:g}"
    assert words in marks[0].edit and (controls.expression or "expression=kept") in marks[0].edit
    a, b, photo = (np.asarray(Image.open(name).convert("RGB"), int) for name in ("a.png", "b.png", "my photo.png"))
    assert np.array_equal(a, b) and np.abs(a - photo).max() > 3
    left, right = (np.abs(a - photo)[:, part].max() > 0 for part in (slice(0, 220), slice(280, 480)))
    assert (left, right) == {"1": (True, False), "2": (False, True), "all": (True, True)}[controls.face]


def test_a_grid_and_odd_names_on_the_command_line() -> None:
    request = Controls(face="2").grid_request()
    assert command_line(request, "-a.png", "-g.png") == "legan edit ./-a.png --face 2 --grid -o ./-g.png"
    assert python_lines(Controls(neutral=True).request(), "it's.png", "e.png").endswith(
        """legan.edit("it's.png", expression='neutral').save('e.png')"""
    )
