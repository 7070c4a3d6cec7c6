"""The camera: projection of a head to the face crop, and the sensor that turns light into pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from legan.core.conditions import EXPRESSIONS
from legan.core.geometry import CROP_SIZE, EYE_DISTANCE, EYES_Y, MOUTH_Y, Array, normalize
from legan.core.light import linear_to_pixels, with_tone
from legan_faces3d.head.noise import Stream, generator

# Head pose, camera and framing.
#
# The camera stands in front of the face at a finite distance, and the image's plane goes through the eyes. `View.CROP` frames as
# the aligned face crop does: the height of the frame is chosen so that the eye distance and the distance from eyes to mouth both
# come near their places in `legan.core.geometry`, and a little pose jitter is left in, as alignment of photos leaves it, the same in all
# crops of a person. `View.TURNED` frames so too, of heads that are turned as people turn them before a camera, nearer or farther.
# `View.WIDE` shows the head in its surroundings, turned and shifted more, for training the landmark network.


class View(StrEnum):
    """How a face is framed."""

    CROP = "crop"
    TURNED = "turned"
    WIDE = "wide"


@dataclass(frozen=True)
class ViewSettings:
    """Framing of one view. Angles are standard deviations in degrees."""

    size: int  # pixels a side
    n_lightings: int | None  # lights drawn at random for each image; None: all of them
    angles: tuple[float, float, float]  # yaw, pitch, roll
    shift: float  # standard deviation of the image's centre, metres
    frame: tuple[float, float]  # height of the frame, as a multiple of the crop's
    distance: tuple[float, float]  # of the camera from the eyes, metres


SETTINGS = {
    View.CROP: ViewSettings(
        size=CROP_SIZE, n_lightings=None, angles=(2.2, 2.2, 1.2), shift=0.0008, frame=(1.0, 1.0), distance=(1.25, 1.25)
    ),
    View.TURNED: ViewSettings(
        size=CROP_SIZE, n_lightings=None, angles=(14.0, 8.0, 2.0), shift=0.0015, frame=(0.97, 1.04), distance=(0.7, 1.8)
    ),
    View.WIDE: ViewSettings(
        size=256, n_lightings=4, angles=(10.0, 7.0, 8.0), shift=0.010, frame=(1.3, 1.75), distance=(0.55, 1.6)
    ),
}

# Degrees of yaw, pitch and roll: the far eye of a head turned farther begins to hide.
_MAX_ANGLES = np.array([32.0, 20.0, 5.0])
# Share of nose and mouth in what alignment centres a face by (`legan.faces.align`).
_MOUTH_SHARE = 0.2
_PIVOT_BEHIND_EYES = 0.09  # a head turns about a point between the ears ...
_PIVOT_BELOW_EYES = 0.03  # ... a little below the eyes


@dataclass(frozen=True)
class Pose:
    """A turn about a pivot."""

    rotation: Array  # (3, 3)
    pivot: Array  # (3,)

    def apply(self, points: Array) -> Array:
        """Turned points (n, 3) float32."""
        return ((points - self.pivot) @ self.rotation.T + self.pivot).astype(np.float32)

    def turn(self, directions: Array) -> Array:
        """Turned directions (n, 3)."""
        return directions @ self.rotation.T


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +y at a square frame."""

    position: Array  # (3,)
    distance: float  # from the frame's plane, metres
    height: float  # of the frame, metres

    def rays(self, resolution: int, box: tuple[slice, slice] = np.s_[:, :]) -> tuple[Array, Array]:
        """Origins and unit directions (n, 3) float32 through the pixel centres, rows from the top.

        Args:
            resolution: pixels a side.
            box: rows and columns of the pixels; all of them without it.
        """
        grid = ((np.arange(resolution) + 0.5) / resolution - 0.5) * self.height
        x, z = np.meshgrid(grid[box[1]], -grid[box[0]])
        directions = np.stack([x, np.full_like(x, self.distance), z], axis=-1).reshape(-1, 3)
        origins = np.tile(self.position, (len(directions), 1))
        return origins.astype(np.float32), normalize(directions).astype(np.float32)

    def project(self, points: Array, size: int) -> Array:
        """Pixel positions (n, 2) of points (n, 3); x to the right, y down, pixel centres at +0.5."""
        offset = points - self.position
        scale = self.distance / offset[:, 1] * size / self.height
        return np.stack([size / 2 + offset[:, 0] * scale, size / 2 - offset[:, 2] * scale], axis=1).astype(np.float32)


def take(expression: str, view: View) -> int:
    """Number of the image that pose, camera and gaze are drawn for.

    One for all crops of a person, so that two of them differ in their conditions and in nothing else; wide images differ in all.
    """
    return EXPRESSIONS.index(expression) if view == View.WIDE else 0


def _number(view: View) -> int:
    """Number of a view in the streams of random numbers."""
    return {View.CROP: 0, View.WIDE: 1, View.TURNED: 2}[view]


def draw_pose(seed: int, expression: str, view: View, neutral_eyes: Array) -> Pose:
    """The head's pose in one image; `neutral_eyes` (2, 3) are the eye centres before turning."""
    random = generator(seed, Stream.POSE, take(expression, view), _number(view))
    drawn = random.normal(0, SETTINGS[view].angles)
    yaw, pitch, roll = np.radians(np.clip(drawn, -_MAX_ANGLES, _MAX_ANGLES) if view == View.TURNED else drawn)
    return turned_pose(yaw, pitch, roll, neutral_eyes)


def turned_pose(yaw: float, pitch: float, roll: float, neutral_eyes: Array) -> Pose:
    """The pose of a head turned by angles in radians: yaw > 0 to the image's right, pitch > 0 downwards, roll > 0 clockwise."""
    about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_y = np.array([[math.cos(roll), 0, math.sin(roll)], [0, 1, 0], [-math.sin(roll), 0, math.cos(roll)]])
    pivot = neutral_eyes.mean(axis=0) + np.array([0, _PIVOT_BEHIND_EYES, -_PIVOT_BELOW_EYES])
    return Pose((about_z @ about_x @ about_y).astype(np.float32), pivot.astype(np.float32))


def draw_camera(
    seed: int,
    expression: str,
    view: View,
    neutral_eyes: Array,
    neutral_mouth: Array,
    posed_eyes: Array,
    pose: Pose | None = None,
) -> Camera:
    """The camera of one image.

    Args:
        neutral_eyes: (2, 3) eye centres of the face at rest; with the mouth they decide the scale, so that every expression of a
            person has the same one.
        neutral_mouth: (3,).
        posed_eyes: (2, 3) eye centres as turned; they decide the place.
        pose: of the head, for `View.TURNED`: a turned face is framed by what the camera sees of it, as alignment frames it.
    """
    settings = SETTINGS[view]
    random = generator(seed, Stream.POSE, take(expression, view), _number(view), 1)
    # Height of the crop's frame; a turned face is framed by its projection.
    middle = posed_eyes.mean(axis=0)
    crop_height = height_of_crop(neutral_eyes, neutral_mouth)
    if view == View.TURNED and pose is not None:
        seen_eyes, seen_mouth = pose.apply(neutral_eyes), pose.apply(neutral_mouth[None])[0]
        crop_height = height_of_crop(seen_eyes * [1, 0, 1], seen_mouth)
        middle[0] += _MOUTH_SHARE * (seen_mouth - seen_eyes.mean(axis=0))[0]
    # Frame and distance within the ranges of the view.
    height = crop_height * random.uniform(*settings.frame)
    distance = random.uniform(*settings.distance)
    # the crop holds the eyes at EYES_Y; a wider frame keeps the crop's own centre in its middle
    shift_x, shift_z = random.normal(0, settings.shift, 2)
    centre_z = middle[2] - (0.5 - EYES_Y) * crop_height + shift_z
    return Camera(np.array([middle[0] + shift_x, middle[1] - distance, centre_z]), float(distance), float(height))


def height_of_crop(neutral_eyes: Array, neutral_mouth: Array) -> float:
    """Height of a crop's frame in metres, from eye centres (2, 3) and mouth (3,) of the face at rest."""
    eye_distance = np.linalg.norm(neutral_eyes[0] - neutral_eyes[1])
    eyes_to_mouth = neutral_eyes.mean(axis=0)[2] - neutral_mouth[2]
    # half way between the frame that puts the eyes right and the one that puts the mouth right
    return float(0.5 * eye_distance / EYE_DISTANCE + 0.5 * eyes_to_mouth / (MOUTH_Y - EYES_Y))


def exact_crop_camera(height: float, posed_eyes: Array) -> Camera:
    """The camera of a crop without jitter: frame of this height (metres), the middle of the eyes (2, 3) at its place."""
    distance = SETTINGS[View.CROP].distance[0]
    x, y, z = posed_eyes.mean(axis=0)
    return Camera(np.array([x, y - distance, z - (0.5 - EYES_Y) * height]), float(distance), float(height))


# From linear light to an 8-bit image: blur, glare, noise, tone curve, sRGB.


_EXPOSURE = 1.3
_OPTICS_BLUR = 0.42  # in pixels of the result
_GLARE, _GLARE_BLUR = 0.015, 6.0
_SHOT_NOISE, _READ_NOISE = 0.00035, 0.0000075  # variances: a part of the signal, and a constant


def develop(images: Array, size: int, random: np.random.Generator) -> Array:
    """Linear images (k, resolution, resolution, 3) -> uint8 (k, size, size, 3)."""
    samples_per_axis = images.shape[1] // size
    return np.stack([_develop_one(image, size, samples_per_axis, random) for image in images])


def develop_matte(covered: Array, size: int) -> Array:
    """Shares of the samples (resolution, resolution) in 0..1 -> uint8 (size, size), as sharp as the optics are."""
    light = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), covered.shape[0] // size * _OPTICS_BLUR)
    return (255 * cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA) + 0.5).astype(np.uint8)


def _develop_one(image: Array, size: int, samples_per_axis: int, random: np.random.Generator) -> Array:
    # Optics and sensor pixels: blur, then average over each pixel's samples.
    light = cv2.GaussianBlur(image, (0, 0), samples_per_axis * _OPTICS_BLUR)
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA) * _EXPOSURE
    # Glare adds a wide blur; noise has variance proportional to the signal, and a constant (photon and read noise).
    light = light + _GLARE * cv2.GaussianBlur(light, (0, 0), _GLARE_BLUR)
    deviation = np.sqrt(np.maximum(light, 0) * _SHOT_NOISE + _READ_NOISE)
    light = np.maximum(light + random.normal(0, 1, light.shape) * deviation, 0)
    return linear_to_pixels(with_tone(light))
