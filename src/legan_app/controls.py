"""What the page's controls ask for, as an edit request, and as the command line and the Python lines that do the same."""

import math
import shlex
from dataclasses import dataclass, fields, replace

from legan.core.conditions import EXPRESSIONS, MAX_AZIMUTH, MAX_ELEVATION, MIN_ELEVATION
from legan.core.errors import ConditionError
from legan.core.light import MAX_KELVIN, MAX_SOFTNESS, MIN_KELVIN, WHITE_KELVIN
from legan.requests import EditRequest

SLIDERS = tuple(name for name in EXPRESSIONS if name != "neutral")
KEEP, ROOM, LAMP = "as in the photo", "even room light", "a lamp"
LIGHTS = (KEEP, ROOM, LAMP)
NO_TINT = "#ffffff"
_LAMP_CONTROLS = ("azimuth", "elevation", "ambient", "softness", "kelvin", "tint")


@dataclass(frozen=True)
class Controls:
    """The state of the page's controls.

    Args:
        weights: of `SLIDERS`, 0 to 1 each; where they sum to more than 1 they are scaled down to it.
        neutral: with all weights 0, whether the expression becomes neutral, or stays as it is.
        light: one of `LIGHTS`.
        azimuth, elevation: of the lamp, degrees, as `core.conditions.lighting_code` takes them.
        ambient: share of the room's light, 0 to 1.
        softness: angular diameter of the lamp, 0 to 120 degrees.
        kelvin: the lamp's colour, 1,700 to 25,000; 6,500 is white.
        tint: the lamp's colour as sRGB, `#ffd0a0`; white leaves it to `kelvin`.
        strength: 0 to 1.5.
        face: "1", "2", ... (1 is the largest) or "all".
        force: also edit faces that are refused.
    """

    weights: tuple[float, ...] = (0.0,) * len(SLIDERS)
    neutral: bool = False
    light: str = KEEP
    azimuth: float = -45
    elevation: float = 20
    ambient: float = 1.0
    softness: float = 0.0
    kelvin: float = WHITE_KELVIN
    tint: str = NO_TINT
    strength: float = 1.0
    face: str = "1"
    force: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("azimuth", self.azimuth, -MAX_AZIMUTH, MAX_AZIMUTH),
            ("elevation", self.elevation, MIN_ELEVATION, MAX_ELEVATION),
            ("ambient", self.ambient, 0, 1),
            ("softness", self.softness, 0, MAX_SOFTNESS),
            ("kelvin", self.kelvin, MIN_KELVIN, MAX_KELVIN),
            *((expression, weight, 0, 1) for expression, weight in zip(SLIDERS, self.weights, strict=True)),
        ):
            if not low <= value <= high:
                raise ConditionError(f"{name} {value:g} is out of range: give a number from {low:g} to {high:g}")
        if self.light not in LIGHTS:
            raise ConditionError(f"unknown light '{self.light}': choose from {', '.join(LIGHTS)}")

    def after(self, before: "Controls | None") -> "Controls":
        """Return what is meant by a change from `before`: a moved lamp is switched on, and the colour that was set last is the lamp's."""
        changed = {one.name for one in fields(self) if before and getattr(self, one.name) != getattr(before, one.name)}
        meant = self
        if changed & set(_LAMP_CONTROLS) and "light" not in changed:
            meant = replace(meant, light=LAMP)
        if "kelvin" in changed and "tint" not in changed:
            meant = replace(meant, tint=NO_TINT)
        return meant

    @property
    def expression(self) -> str | None:
        """The expression in words, such as `smile:0.7`; None keeps the photo's own."""
        total = max(1.0, sum(self.weights))
        # Rounded down, so that the words never sum to more than 1.
        shares = [math.floor(100 * weight / total + 1e-6) / 100 for weight in self.weights]
        words = [name if share == 1 else f"{name}:{share:g}" for name, share in zip(SLIDERS, shares, strict=True) if share > 0]
        return ",".join(words) or ("neutral" if self.neutral else None)

    @property
    def is_scaled(self) -> bool:
        """Whether the weights sum to more than 1."""
        return sum(self.weights) > 1 + 1e-6

    @property
    def colour(self) -> str | None:
        """The lamp's colour in words; None is white."""
        if self.tint.lower() != NO_TINT:
            return self.tint.lower()
        return None if self.kelvin == WHITE_KELVIN else f"{self.kelvin:g}K"

    @property
    def changes_nothing(self) -> bool:
        """Whether the photo stays as it is."""
        return self.expression is None and self.light == KEEP

    def request(self) -> EditRequest:
        """Return the edit as `legan edit` takes it.

        Raises:
            ConditionError: nothing to change.
        """
        lamp = self.light == LAMP
        request = EditRequest(
            expression=self.expression,
            lightings={KEEP: (), ROOM: ("room",), LAMP: (f"{self.azimuth:g},{self.elevation:g}",)}[self.light],
            ambient=self.ambient if lamp and self.ambient != 1 else None,
            softness=self.softness if lamp and self.softness else None,
            light_color=self.colour if lamp else None,
            strength=self.strength,
            face="largest" if self.face == "1" else self.face,
            force=self.force,
        )
        request.check()
        return request

    def grid_request(self) -> EditRequest:
        """Return the grid of all expressions as `legan edit --grid` takes it; it is of one face."""
        face = "largest" if self.face in ("1", "all") else self.face
        return EditRequest(strength=self.strength, face=face, force=self.force, grid=True)


def command_line(request: EditRequest, photo: str, output: str, weights: str | None = None) -> str:
    """Return the line of a shell that does what a page shows.

    Args:
        request: of `Controls.request`, or one with `grid`.
        photo, output: names of files, or of folders.
        weights: the editor's, where they are not the packaged ones.
    """
    options: list[tuple[str, object]] = [
        ("--expression", request.expression),
        *(("--lighting", lighting) for lighting in request.lightings),
        ("--ambient", request.ambient),
        ("--softness", request.softness),
        ("--light-color", request.light_color),
        ("--strength", request.strength if request.strength != 1 else None),
        ("--face", request.face if request.face != "largest" else None),
        ("--editor", weights),
    ]
    words = ["legan", "edit", photo if not photo.startswith("-") else f"./{photo}"]
    for name, value in options:
        words += [] if value is None else [name, f"{value:g}" if isinstance(value, float) else str(value)]
    words += ["--grid"] if request.grid else []
    words += ["--force"] if request.force else []
    return shlex.join([*words, "-o", output if not output.startswith("-") else f"./{output}"])


def python_lines(request: EditRequest, photo: str, output: str, weights: str | None = None) -> str:
    """Return the lines of Python that do what a page shows; arguments as for `command_line`."""
    lighting: str | None = None
    if request.lightings:
        lighting = repr(request.lightings[0])
        lamp = {"ambient": request.ambient, "softness": request.softness, "colour": request.light_color}
        given = "".join(f", {name}={value!r}" for name, value in lamp.items() if value is not None)
        lighting = f"legan.LightSetup.parse({lighting}{given})" if given else lighting
    face = int(request.face) if str(request.face).isdecimal() else request.face
    arguments = {
        "expression": repr(request.expression) if request.expression else None,
        "lighting": lighting,
        "strength": repr(request.strength) if request.strength != 1 else None,
        "face": repr(face) if face != "largest" else None,
        "force": "True" if request.force else None,
        "weights": repr(weights) if weights else None,
    }
    given = "".join(f", {name}={value}" for name, value in arguments.items() if value is not None)
    return f"import legan\n\nlegan.edit({photo!r}{given}).save({output!r})"
