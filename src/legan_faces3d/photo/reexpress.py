"""Re-expression of photos: the fitted head makes another face, and the photo's own skin goes with it.

The facial actions are those of the rendered set. Each pixel is fetched from where the photo shows the same point of the skin
(`reexpress_motion`), brightened or darkened as the turned and folded skin would be under the photo's even light, and what opens
between the lips is painted as the renderer does, in the photo's white (`reexpress_light`). The result is again a photo with a
fitted head, so that it can be relit like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConditionError
from legan.core.geometry import CROP_SIZE, Array, smoothstep
from legan.core.light import linear_to_pixels, pixels_to_linear
from legan_faces3d.head.expressions import draw_actions, furrows, usual_actions
from legan_faces3d.head.head import Head
from legan_faces3d.head.identity import Identity, draw_identity
from legan_faces3d.head.landmarks import Landmarks
from legan_faces3d.head.noise import Stream, generator
from legan_faces3d.photo.checks import UnusablePhotoError
from legan_faces3d.photo.even_light import EvenLight
from legan_faces3d.photo.fine_fit import FineMoves, closing_lips, fine_moves
from legan_faces3d.photo.fit import MAX_ACTION, HeadFit
from legan_faces3d.photo.geometry import WINDOW, fill, window_of
from legan_faces3d.photo.reexpress_light import (
    change_of_light,
    light_of_photo,
    mouth_inside,
    occlusion_of,
    shade,
    white_of_photo,
    without_folds,
    wrinkle_light,
)
from legan_faces3d.photo.reexpress_motion import (
    Motion,
    Movers,
    Parts,
    distance_to,
    gap,
    motion,
    parts_of,
    sample,
    shut,
    with_opening,
)
from legan_faces3d.photo.view import view_face

SAMPLES_PER_AXIS = 3
_OCCLUSION_STEP = 3
_USUAL_AGE = 0.74  # of wrinkles, on anny's scale: a photo does not tell
_CLOSED_MM = 1.5  # lips nearer than this are closed
_OPENING = ("jawOpen", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthFunnel")
_MAX_OPEN = 6.0  # pixels of a 128-pixel crop between lips that can still be drawn together
_CLOSED = ("neutral", "squint")  # expressions with closed lips
# Strength of an expression on a photo, where true ones are known: smiles of the rendered set are twice as strong as people's
# (experiments/reexpress), and a face that is known well bears less of it.
_STRENGTH = {"smile": (0.5, 0.85)}
# Actions of a smile that shows the teeth: (lowest, highest), both sides alike.
_BROAD = {
    "mouthSmile": (1.0, 1.25),
    "mouthUpperUp": (0.6, 1.0),
    "mouthLowerDown": (0.2, 0.6),
    "mouthStretch": (0.1, 0.4),
    "cheekSquint": (0.7, 1.1),
    "jawOpen": (0.1, 0.3),
}
_OWN = 0.5  # of what a face at rest does beyond the usual stays in its expressions
_TEETH_BLUR = 0.25  # pixels of a 128-pixel crop: one ray a sample gives edges of teeth in steps
_LASH_DARK = 0.75  # share of light that closed lashes take


@dataclass(frozen=True)
class Subject:
    """A photo made ready; all images have N samples a side."""

    fit: HeadFit  # with closed lips where the photo's are
    fine: FineMoves
    expression: str
    light: Array  # (N, N, 3) linear
    parts: Parts
    occlusion: Array  # (N, N)
    even: EvenLight
    white: Array  # (3,)


@dataclass(frozen=True)
class Reexpressed:
    """A photo with another expression."""

    fit: HeadFit  # its matrix maps the window's pixels to the crop's
    motion: Motion
    light: Array  # (N, N, 3) linear, cut as `Reexpresser.window` says
    drawn: Array  # (N, N) 0..1: how much of each pixel is painted, not fetched from the photo

    @cached_property
    def window(self) -> Array:
        """The light as an image, uint8 (N, N, 3), sRGB."""
        return linear_to_pixels(self.light)


class Reexpresser:
    """Re-expresses photos with one head model."""

    def __init__(self, head: Head, places: Landmarks) -> None:
        self.head, self.places = head, places
        self._movers = Movers.of(head)

    def window(self, fit: HeadFit) -> tuple[Array, int]:
        """The piece of photo that `prepare` takes: matrix (2, 3) photo pixels -> its pixels, and its side in pixels."""
        return window_of(fit.matrix, fit.size, SAMPLES_PER_AXIS)

    def prepare(self, window: Array, fit: HeadFit, expression: str) -> Subject:
        """Args: `window` uint8 (N, N, 3), cut out as `window` says; `expression` is the photo's, one of the six."""
        fit = _with_closed_lips(fit)
        fine = fine_moves(fit, self.head, self.places)
        fit = replace(fit, residual=fit.residual + fine.lids + fine.lips)
        parts = self._parts(fit, fit.actions, window.shape[0])
        light = pixels_to_linear(window)
        parts = shut(parts) if is_shut(fit) else parts
        if expression != "neutral":  # landmarks of a smile's inner edges are not to be relied on
            parts = with_opening(parts, light, window.shape[0] / WINDOW / CROP_SIZE)
        occlusion = occlusion_of(parts.view, _OCCLUSION_STEP, np.random.default_rng(0))
        even = light_of_photo(light, parts, occlusion)
        white = white_of_photo(light, parts, window.shape[0] / WINDOW / CROP_SIZE)
        return Subject(fit, fine, expression, light, parts, occlusion, even, white)

    def make(self, subject: Subject, target: str, seed: int, actions: dict[str, float] | None = None) -> Reexpressed:
        """Gives a photo another expression; equal arguments give equal images.

        Args:
            target: one of the six expressions.
            seed: of the person: how they smile, what their teeth are like.
            actions: facial actions instead of those drawn for `target`.

        Raises:
            ConditionError: unknown expression.
            UnusablePhotoError: the mouth is too open to be closed.
        """
        actions = actions or new_actions(subject.fit, subject.expression, target, seed)
        if target in _CLOSED and gap(subject.parts) > _MAX_OPEN * subject.light.shape[0] / WINDOW / CROP_SIZE:
            raise UnusablePhotoError("mouth too open", f"lips that show so much of the teeth cannot be closed to {target}")
        closing = _closing(subject, actions)
        fit = replace(subject.fit, actions=actions, residual=subject.fit.residual - closing * subject.fine.lids)
        if target in _CLOSED:
            fit = replace(fit, residual=fit.residual + closing_lips(fit.vertices(self.head), self.head, self.places))
        old, side = subject.parts, subject.light.shape[0]
        new = self._parts(fit, actions, side)
        new = shut(new) if target in _CLOSED else new
        unit = side / WINDOW / CROP_SIZE
        random = generator(seed, Stream.RAYS)
        identity = _person(seed)
        moved = motion(subject.light, old, new, unit, fit.pixels_per_mm * unit * CROP_SIZE / fit.size)
        light = np.maximum(sample(subject.light, moved.places, cv2.INTER_CUBIC), 0)
        light = _with_lids(light, moved, new, unit)
        light = without_folds(self.head, light, new, _relaxed(subject.fit.actions, actions), unit)
        old_shade = shade(old, subject.occlusion, subject.even)
        new_shade = shade(new, occlusion_of(new.view, _OCCLUSION_STEP, random), subject.even)
        factor = change_of_light(old_shade, new_shade, moved.places, new, unit)
        factor = factor * wrinkle_light(self.head, new, identity, furrows(subject.fit.actions), furrows(actions))
        factor = factor * _seam(old, new, unit) * _under_lids(moved, new, unit) * _shut(new, closing)
        light = light * factor[..., None]
        inside = mouth_inside(self.head, new, identity, subject.white, subject.even.brightness, random)
        inside = cv2.GaussianBlur(inside, (0, 0), _TEETH_BLUR * unit)
        cover = cv2.GaussianBlur(new.cavity.astype(np.float32), (0, 0), 0.25 * unit)[..., None]
        light = light * (1 - cover) + inside * cover
        drawn = np.maximum(cover[..., 0], moved.stretched)
        return Reexpressed(self._new_fit(subject, fit, side), moved, light, drawn)

    def _parts(self, fit: HeadFit, actions: dict[str, float], side: int) -> Parts:
        camera = replace(fit.camera, height=fit.camera.height * WINDOW)
        view = view_face(self.head, fit.vertices(self.head, actions), fit.pose, camera, side)
        return parts_of(self.head, view, self._movers)

    def _new_fit(self, subject: Subject, fit: HeadFit, side: int) -> HeadFit:
        """The fit of the new image: landmarks go as the mesh goes."""

        def seen(one: HeadFit) -> Array:
            return one.camera.project(one.pose.apply(self.places.on_face(one.vertices(self.head))), one.size)

        landmarks = fit.landmarks + seen(fit) - seen(subject.fit)
        margin = (side - fit.size * SAMPLES_PER_AXIS) / 2 / SAMPLES_PER_AXIS
        matrix = np.array([[1 / SAMPLES_PER_AXIS, 0, -margin], [0, 1 / SAMPLES_PER_AXIS, -margin]])
        return replace(fit, landmarks=landmarks.astype(np.float32), matrix=matrix)


def new_actions(fit: HeadFit, expression: str, target: str, seed: int) -> dict[str, float]:
    """Facial actions of a person who makes `target`: those of the rendered set, and half of what is the person's own at rest.

    A person's smile has one strength, drawn from `seed`.

    Raises:
        ConditionError: unknown expression, or one that the photo has already.
    """
    if expression == target:
        raise ConditionError(f"the photo shows {target} already: name another expression")
    drawn, usual, shared = draw_actions(seed, target), usual_actions(expression), usual_actions(target)
    strength = generator(seed, Stream.EXPRESSION, EXPRESSIONS.index(target), 1).uniform(*_STRENGTH.get(target, (1.0, 1.0)))
    actions = {}
    for name in sorted(fit.actions.keys() | drawn.keys()):  # a set has another order in every process
        own = fit.actions.get(name, 0.0) - usual.get(name, 0.0)
        kept = _OWN if expression == "neutral" else 0.0 if name in usual or name in shared else _OWN
        kept = 0.0 if name in _OPENING else kept
        actions[name] = float(np.clip(strength * drawn.get(name, 0.0) + kept * own, 0, MAX_ACTION))
    return actions


def broad_smile(actions: Mapping[str, float], seed: int) -> dict[str, float]:
    """Return the facial actions of a smile, made broader until the teeth show; how broad is drawn from `seed`."""
    random, broad = np.random.default_rng([seed, 7]), dict(actions)
    for name, (low, high) in _BROAD.items():
        value = float(random.uniform(low, high))
        for key in (name,) if name == "jawOpen" else (f"{name}Left", f"{name}Right"):
            broad[key] = max(value, broad.get(key, 0.0))
    return broad


def is_shut(fit: HeadFit) -> bool:
    """Whether the landmarks of the lips' inner edges nearly meet."""
    points = fit.landmarks
    gap_mm = np.linalg.norm(points[[61, 62, 63]] - points[[67, 66, 65]], axis=1).mean() / fit.pixels_per_mm
    return bool(gap_mm <= _CLOSED_MM)


def _with_closed_lips(fit: HeadFit) -> HeadFit:
    """The fit with a shut mouth where the landmarks of the lips' edges nearly meet: a slit would open in skin."""
    if not is_shut(fit):
        return fit
    points = fit.landmarks
    closed = points.copy()
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        closed[[upper, lower]] = points[[upper, lower]].mean(axis=0)
    return replace(fit, landmarks=closed, actions=fit.actions | dict.fromkeys(_OPENING, 0.0))


def _closing(subject: Subject, actions: dict[str, float]) -> float:
    """How far the lids go down beyond the photo's, 0..1."""

    def blink(values: dict[str, float]) -> float:
        return 0.5 * (values.get("eyeBlinkLeft", 0.0) + values.get("eyeBlinkRight", 0.0))

    return float(np.clip(blink(actions) - blink(subject.fit.actions), 0, 1))


def _person(seed: int) -> Identity:
    """Teeth, and where wrinkles waver."""
    identity = draw_identity(seed)
    return replace(identity, shape=replace(identity.shape, age=_USUAL_AGE))


def _with_lids(light: Array, moved: Motion, new: Parts, unit: float) -> Array:
    """The light with lids whose stretched skin is drawn in from round them; a lash line stays at their edge."""
    if moved.stretched.max() < 0.05:
        return light
    lid = (new.lid > 0.3) & new.body
    edge = np.zeros_like(lid)
    edge[:-1] = lid[:-1] & ~lid[1:]
    off_edge = distance_to(edge)
    known = new.body & new.front & (moved.stretched < 0.02) & ~new.lips & (off_edge > 1.5 * unit)
    known = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(0.7 * unit)))
    drawn_in = cv2.GaussianBlur(fill(light, known.astype(np.float32)), (0, 0), unit)
    grain = light - cv2.GaussianBlur(light, (0, 0), 0.5 * unit)
    drawn_in = np.maximum(drawn_in + np.roll(grain, round(14 * unit), axis=0), 0)
    keep = np.exp(-((off_edge / (0.8 * unit)) ** 2))
    share = (moved.stretched * (1 - keep))[..., None]
    return light * (1 - share) + drawn_in * share


def _seam(old: Parts, new: Parts, unit: float) -> Array:
    """Factor (N, N): the dark line between lips that have met."""
    closed = float(smoothstep(2 * unit, 0.5 * unit, gap(new))) * float(smoothstep(0.5 * unit, 2 * unit, gap(old)))
    if closed == 0:
        return np.ones(new.body.shape, np.float32)
    return (1 - 0.6 * closed * np.exp(-((new.beyond_seam / (0.6 * unit)) ** 2))).astype(np.float32)


def _under_lids(moved: Motion, new: Parts, unit: float) -> Array:
    """Factor (N, N): the shadow of lids and lashes on what they have revealed."""
    depth = distance_to(~new.eyes)
    return (1 - 0.55 * moved.revealed * np.exp(-depth / (0.9 * unit))).astype(np.float32)


def _shut(new: Parts, closing: float) -> Array:
    """Factor (N, N): a slit that is left between closed lids is lashes."""
    return (1 - _LASH_DARK * float(smoothstep(0.5, 0.8, closing)) * new.eyes).astype(np.float32)


def _relaxed(old: dict[str, float], new: dict[str, float]) -> float:
    """How much of a smile, or of what else raises the cheeks, is given up, 0..1."""
    cheeks = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight")
    return float(np.clip(np.mean([old.get(name, 0.0) - new.get(name, 0.0) for name in cheeks]) / 0.6, 0, 1))
