"""Rendered people: identity, expression, light and camera to an image with its truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from legan.core.conditions import EXPRESSIONS, LIGHTINGS, Lighting
from legan.core.geometry import Array
from legan_faces3d.head import accessories as collar
from legan_faces3d.head import hair
from legan_faces3d.head.accessories import build_glasses
from legan_faces3d.head.expressions import Furrows, draw_actions, furrows
from legan_faces3d.head.eyes import draw_gaze
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.head.identity import draw_identity
from legan_faces3d.head.landmarks import Landmarks
from legan_faces3d.head.noise import Stream, generator
from legan_faces3d.render import camera as cameras
from legan_faces3d.render import camera as sensor
from legan_faces3d.render import shading, surface
from legan_faces3d.render.camera import SETTINGS, View
from legan_faces3d.render.gbuffer import GBuffer, Person, build_gbuffer
from legan_faces3d.render.realism import FULL, Realism, simplify

# Proportions of a face from its landmarks, to turn away the few drawn heads that look grotesque.


MAX_EXTREMENESS = 2.5  # standard deviations; about one head in four is beyond and is drawn again

# median and standard deviation of each proportion over 400 drawn heads; lengths are in eye distances
_USUAL = {
    "face height": (1.921, 0.186),
    "jaw width": (1.607, 0.079),
    "nose length": (0.818, 0.081),
    "nose width": (0.485, 0.063),
    "nose depth": (0.155, 0.042),
    "upper lip": (0.232, 0.051),
    "lips": (0.348, 0.055),
    "chin": (0.533, 0.101),
    "mouth width": (0.788, 0.054),
    "mouth drop": (1.189, 0.125),
    "eye opening": (0.153, 0.021),
    "eye width": (0.446, 0.033),
    "brow height": (0.328, 0.038),
    "brow tilt": (0.023, 0.022),
}


def measure(landmarks: Array, eyes: Array) -> dict[str, float]:
    """Proportions of a face at rest from its landmarks (68, 3) and eye centres (2, 3), in eye distances."""
    x, y, z = landmarks.T
    unit = eyes[1, 0] - eyes[0, 0]
    lengths = {
        "face height": z[27] - z[8],
        "jaw width": x[11] - x[5],
        "nose length": z[27] - z[33],
        "nose width": x[35] - x[31],
        "nose depth": y[33] - y[30],
        "upper lip": z[33] - z[51],
        "lips": z[51] - z[57],
        "chin": z[57] - z[8],
        "mouth width": x[54] - x[48],
        "mouth drop": eyes[:, 2].mean() - (z[48] + z[54]) / 2,
        "eye opening": (z[37] - z[41] + z[44] - z[46]) / 2,
        "eye width": (x[39] - x[36] + x[45] - x[42]) / 2,
        "brow height": (z[19] - z[37] + z[24] - z[44]) / 2,
        "brow tilt": (z[18] - z[21] + z[25] - z[22]) / 2,
    }
    return {name: float(length / unit) for name, length in lengths.items()}


def extremeness(landmarks: Array, eyes: Array) -> float:
    """How far the least usual proportion is from its median, in standard deviations."""
    found = measure(landmarks, eyes)
    return float(np.max([abs(found[name] - median) / deviation for name, (median, deviation) in _USUAL.items()]))


# The renderer: one person, one expression, all lightings at once.


_N_AMBIENT_RAYS = 32
_N_CACHED_PEOPLE = 2
_MAX_ATTEMPTS = 20  # at a rejection rate of a quarter the last is never reached


@dataclass(frozen=True)
class Rendering:
    """Images of one person with one expression in one pose.

    `matte` is the share of each pixel that is the person's, the same under all lightings. `landmarks` are the 68 iBUG points, `eyes`
    the eye centres (the image's left one first), both true positions in pixels, x to the right, y down, pixel centres at +0.5.
    """

    images: Array  # uint8 (k, size, size, 3)
    matte: Array  # uint8 (size, size)
    lightings: tuple[str, ...]  # names of the k lightings
    landmarks: Array  # float32 (68, 2)
    eyes: Array  # float32 (2, 2)


class Renderer:
    """Renders people by seed. Loading the head model takes some seconds; keep one renderer."""

    def __init__(self, size: int | None = None, samples_per_axis: int = 2) -> None:
        """
        Args:
            size: pixels a side; None takes the view's own (128 for crops, 256 for wide images).
            samples_per_axis: a pixel is the mean of the square of this many samples.

        Raises:
            LeganError: the extra `render` is not installed.
        """
        cv2.setNumThreads(1)  # processes share the cores, and threads only cost time on images this small
        self._size = size
        self._samples_per_axis = samples_per_axis
        self.head = Head()
        self.landmarks = Landmarks(self.head)
        self.person = lru_cache(maxsize=_N_CACHED_PEOPLE)(self._build_person)
        self.seconds: dict[str, float] = {}  # by stage, of the last image

    def _build_person(self, seed: int) -> Person:
        for attempt in range(_MAX_ATTEMPTS):
            identity = draw_identity(seed, attempt)
            neutral = self.head.neutral(identity.shape.phenotype, identity.shape.local_changes)
            if extremeness(self.landmarks.on_face(neutral), self.head.eye_centres(neutral)) < MAX_EXTREMENESS:
                break
        shirt = collar.thickness(self.head.parts[BODY].canonical, self.head, identity)
        glasses = build_glasses(self.head, identity.glasses, neutral) if identity.glasses else None
        return Person(identity, neutral, hair.lay_out(self.head, identity, neutral), shirt, glasses)

    def render(
        self,
        seed: int,
        expression: str,
        view: View = View.CROP,
        realism: Realism = FULL,
        lightings: Sequence[Lighting] | None = None,
    ) -> Rendering:
        """Renders the person `seed` (>= 0). Equal arguments give equal bytes.

        Args:
            realism: what to leave out.
            lightings: None takes the view's own. With fewer of them the noise of shadows and sensor is another.

        Raises:
            ConditionError: unknown expression.
        """
        clock = _Clock()
        size = self._size or SETTINGS[view].size
        person = self.person(seed)
        actions = draw_actions(seed, expression)
        base = self.head.with_actions(person.neutral, actions)
        clock.lap("head")
        neutral_eyes = self.head.eye_centres(person.neutral)
        pose = cameras.draw_pose(seed, expression, view, neutral_eyes)
        camera = cameras.draw_camera(
            seed,
            expression,
            view,
            neutral_eyes,
            neutral_mouth=self.head.mouth_centre(person.neutral),
            posed_eyes=pose.apply(self.head.eye_centres(base)),
            pose=pose,
        )
        gbuffer = build_gbuffer(self.head, person, base, pose, camera, size * self._samples_per_axis, realism)
        clock.lap("g-buffer")
        lightings = _draw_lightings(seed, expression, view) if lightings is None else list(lightings)
        radiance = self._shade(person, expression, view, gbuffer, furrows(actions), lightings, realism, clock)
        number = EXPRESSIONS.index(expression)
        images = sensor.develop(radiance, size, generator(seed, Stream.SENSOR, number))
        clock.lap("sensor")
        self.seconds = clock.seconds
        points = pose.apply(self.landmarks.on_face(base))
        return Rendering(
            images=images,
            matte=sensor.develop_matte(_coverage(gbuffer), size),
            lightings=tuple(lighting.name for lighting in lightings),
            landmarks=camera.project(points, size),
            eyes=camera.project(gbuffer.eye_centres, size),
        )

    def _shade(
        self,
        person: Person,
        expression: str,
        view: View,
        gbuffer: GBuffer,
        folds: Furrows,
        lightings: list[Lighting],
        realism: Realism,
        clock: _Clock,
    ) -> Array:
        """Linear images (lightings, resolution, resolution, 3)."""
        identity, seed, number = person.identity, person.identity.seed, EXPRESSIONS.index(expression)
        painted = surface.paint(self.head, identity, gbuffer, folds, draw_gaze(seed, cameras.take(expression, view)))
        painted = simplify(painted, gbuffer.normal, identity, realism)
        clock.lap("surface")
        random = generator(seed, Stream.RAYS, number)
        ambient = shading.ambient_light(gbuffer, painted.normal, identity.room, _N_AMBIENT_RAYS, random, realism.shadows)
        clock.lap("ambient")
        directions = [shading.image_direction(lighting) for lighting in lightings]
        flashes = [direction for direction in directions if direction is not None]
        light = shading.flash_light(gbuffer, painted, identity, self.head.anchors, flashes, random, realism.shadows)
        if not realism.shading:
            ambient, light = shading.evened(ambient), shading.FlashLight(shading.evened(light.diffuse), light.highlight)
        clock.lap("flashes")
        scattered = (
            shading.scatter(gbuffer, painted, light.diffuse) if realism.scattering else shading.unscattered(light.diffuse)
        )
        clock.lap("scattering")
        highlight = light.highlight if realism.highlights else light.highlight * 0
        backdrop = shading.paint_backdrop(identity.room, gbuffer.resolution, generator(seed, Stream.BACKDROP))
        images = shading.compose(gbuffer, painted, identity, directions, ambient, scattered, highlight, backdrop)
        clock.lap("composition")
        return images


def _coverage(gbuffer: GBuffer) -> Array:
    """Which samples (resolution, resolution) show the person, float32."""
    covered = gbuffer.lash.astype(np.float32)
    covered[gbuffer.pixels] = 1
    return covered.reshape(gbuffer.resolution, gbuffer.resolution)


def _draw_lightings(seed: int, expression: str, view: View) -> list[Lighting]:
    n = SETTINGS[view].n_lightings
    if n is None:
        return list(LIGHTINGS)
    random = generator(seed, Stream.LIGHTS, EXPRESSIONS.index(expression))
    return [LIGHTINGS[k] for k in sorted(random.choice(len(LIGHTINGS), n, replace=False))]


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
