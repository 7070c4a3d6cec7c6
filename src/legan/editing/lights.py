"""Lightings as the command line names them: lamps with ambient, softness and colour, an environment map, the light of another photo."""

import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from legan.core.conditions import LIGHTINGS, MAX_AZIMUTH, MAX_ELEVATION, MIN_ELEVATION, lighting_code
from legan.core.errors import ConditionError, ImageError
from legan.core.images import check_size, load_photo, to_network
from legan.core.light import WHITE, Colour, LightSetup, from_weights, to_linear
from legan.editing.editor import Editor
from legan.models.editors import LightingSpec
from legan.requests import EditRequest

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_MAP_WIDTH = 144  # pixels to which an environment map is brought: 2.5 degrees each
_LEAST = 0.02  # share of the light below which a class that the critic sees is left out


def light_setups(request: EditRequest, editor: Editor) -> EditRequest:
    """Return a request whose `lightings` are what to edit to, read or estimated; plain ones stay as they were named.

    Raises:
        ConditionError, ImageError, FaceError: what cannot be read or is out of range, no face, or no critic to estimate by.
    """
    lightings = request.lightings
    if request.environment is not None:
        lightings = (read_environment(request.environment),)
    elif request.light_like is not None:
        lightings = (light_like(editor, request.light_like),)
    elif not (request.ambient is None and request.softness is None and request.light_color is None):
        lightings = tuple(_with_lamps(lighting, request) for lighting in lightings)
    return replace(
        request, lightings=lightings, ambient=None, softness=None, light_color=None, environment=None, light_like=None
    )


def _with_lamps(lighting: LightingSpec, request: EditRequest) -> LightingSpec:
    """One lighting in words with the request's ambient, softness and colour."""
    if not isinstance(lighting, str):
        raise ConditionError("ambient, softness and colour belong to lamps in words: a LightSetup has its own")
    ambient = 1.0 if request.ambient is None else request.ambient
    colour: Colour = WHITE if request.light_color is None else request.light_color
    setup = LightSetup.parse(lighting, ambient, request.softness or 0.0, colour)
    return lighting if setup.plain is not None else setup


def shares_in_words(setup: LightSetup) -> str:
    """Tell what a light that was read or estimated is made of: `1 of room, 0.62 of 05, 0.2 of 06`, means of the channels."""
    lamps = setup.in_classes()
    found = {LIGHTINGS[k].name: float(factors.mean()) for k, factors in zip(lamps.classes, lamps.flashes, strict=True)}
    largest = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.2g} of {name}" for name, share in [("room", float(lamps.room.mean())), *largest] if share > 0)


def light_like(editor: Editor, photo: str | Path) -> LightSetup:
    """Return the light of another photo's largest face, as the editor's critic sees it: the shares of its classes.

    Raises:
        ConditionError: the weights hold no critic.
        ImageError, FaceError: no photo, or no face in it.
    """
    if not editor.networks.has_critic:
        raise ConditionError("these weights cannot tell the light of a photo (they hold no critic): name it by --lighting")
    crop = editor.prepare(photo).images(editor.networks.size)
    shares = editor.networks.own_codes(to_network(crop)).lighting[0].double().numpy()
    shares[shares < _LEAST] = 0
    weights = np.repeat((shares / shares.sum())[:, None], 3, 1)
    return from_weights(weights, 1.0, f"like {Path(photo).name} (by the critic)")


def read_environment(path: str | Path) -> LightSetup:
    """Read an equirectangular map of the light round the face; arguments as in `environment_light`.

    Values of Radiance HDR files are linear light; other images are read as photos are, in sRGB.

    Raises:
        ImageError: no such file, no image, or not twice as wide as high.
    """
    name = Path(path)
    if not name.is_file():
        raise ImageError(f"{name} does not exist: name an environment map, such as room.hdr")
    with open(name, "rb") as file:
        is_radiance = file.read(2) == b"#?"
    light = _radiance(name) if is_radiance else to_linear(np.asarray(load_photo(name).image) / np.float32(255))
    height, width = light.shape[:2]
    if abs(width - 2 * height) > 2:
        raise ImageError(f"{name} is {width}x{height} pixels: an equirectangular map is twice as wide as high")
    return environment_light(light, f"environment {name.name}")


def _radiance(name: Path) -> np.ndarray:
    """Read a Radiance HDR file: linear light, float32 (H, W, 3). Its size is looked at before anything is decoded."""
    data = np.fromfile(name, np.uint8)
    size = re.search(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[:4096].tobytes())
    if size:
        check_size((int(size[2]), int(size[1])), str(name))
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if size else None
    except cv2.error:  # damaged
        pixels = None
    if pixels is None:
        raise ImageError(f"{name} cannot be read as an environment map: give Radiance HDR (.hdr), or an image as photos are")
    return np.ascontiguousarray(pixels[..., ::-1])


def environment_light(light: np.ndarray, words: str = "environment") -> LightSetup:
    """Return the light of an environment map, with a brightness of one flash or of the room's light in all.

    Light from directions that the classes cover goes to their flashes; the rest, from behind, below and far above, is taken for the
    room's even light, the more of it the larger its share.

    Args:
        light: linear light (H, 2 H, 3), RGB, equirectangular, seen from the face. Its middle is where the face looks, at the camera;
            what is right of the middle lies to the person's right, which is the left of the photo.
        words: what marks say.

    Raises:
        ImageError: no light in it, or values that are no light.
    """
    light = np.asarray(light, np.float32)
    if not np.isfinite(light).all() or (light < 0).any() or not light.any():
        raise ImageError(f"{words}: the map holds no light, or values that are no light (below 0 or not finite)")
    if light.shape[1] > _MAP_WIDTH:
        light = cv2.resize(light, (_MAP_WIDTH, _MAP_WIDTH // 2), interpolation=cv2.INTER_AREA)
    height, width = light.shape[:2]
    weights, room = np.zeros((len(LIGHTINGS), 3)), np.zeros(3)
    for row in range(height):
        elevation = 90 - (row + 0.5) / height * 180
        area = math.cos(math.radians(elevation))
        for column in range(width):
            azimuth = 180 - (column + 0.5) / width * 360
            arriving = area * light[row, column].astype(np.float64)
            if abs(azimuth) <= MAX_AZIMUTH and MIN_ELEVATION <= elevation <= MAX_ELEVATION:
                weights += lighting_code((azimuth, elevation))[:, None] * arriving
            else:
                room += arriving
    total = (weights.sum(0) + room) @ _LUMINANCE
    weights, room = weights / total, room / total
    red, green, blue = map(float, room)
    return from_weights(weights, (red, green, blue), words)
