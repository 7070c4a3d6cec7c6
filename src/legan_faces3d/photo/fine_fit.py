"""The last millimetre of a head fit: lids and lips laid on the landmarks of the photo's eyes and mouth.

The fit's own smooth field reaches too far to widen one eye. Here a second, short one (a Gaussian process, like the first) moves
the skin of lids and lips alone; eyeballs and teeth stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.head.landmarks import Landmarks
from legan_faces3d.photo.checks import UnusablePhotoError
from legan_faces3d.photo.fit import HeadFit

_EYES, _MOUTH = np.arange(36, 48), np.arange(48, 68)
_UPPER_EDGE, _LOWER_EDGE = np.array([61, 62, 63]), np.array([67, 66, 65])
_REACH, _SIZE, _NOISE = 0.0045, 0.003, 0.0006  # metres
_FAR = 3.0  # reaches; vertices beyond are left alone
MAX_LEFT = 1.0  # millimetres, root mean square, of what fit and field together leave of eyes and mouth
_MAX_SMILE, _MAX_JAW = 0.4, 0.2  # of a face that may pass for one at rest


@dataclass(frozen=True)
class FineMoves:
    """Offsets (19158, 3) of base vertices in metres, unturned."""

    lids: Array
    lips: Array


def fine_moves(fit: HeadFit, head: Head, places: Landmarks) -> FineMoves:
    """What brings lids and lips of the fitted head onto the photo's landmarks."""
    base = fit.vertices(head)
    on_face = places.on_face(base)
    seen = fit.pose.apply(on_face)
    offset = fit.landmarks - fit.camera.project(seen, fit.size)
    metres = fit.camera.height / fit.size * (seen[:, 1] - fit.camera.position[1]) / fit.camera.distance
    moves = np.stack([offset[:, 0], np.zeros(len(offset)), -offset[:, 1]], axis=1) * metres[:, None] @ fit.pose.rotation
    skin = np.unique(head.parts[BODY].matrix.indices)
    lids, lips = (_field(base, skin, on_face[part], moves[part]) for part in (_EYES, _MOUTH))
    return FineMoves(lids, lips)


def closing_lips(base: Array, head: Head, places: Landmarks) -> Array:
    """Offsets (19158, 3) that bring the edges of the lips together, each half way."""
    on_face = places.on_face(base)
    upper, lower = on_face[_UPPER_EDGE], on_face[_LOWER_EDGE]
    moves = 0.5 * (lower - upper)
    skin = np.unique(head.parts[BODY].matrix.indices)
    return _field(base, skin, np.concatenate([upper, lower]), np.concatenate([moves, -moves]))


def check_fine_fit(fit: HeadFit, head: Head, places: Landmarks) -> None:
    """Raises UnusablePhotoError where lids and lips cannot be laid on the photo's."""
    moves = fine_moves(fit, head, places)
    points = fit.camera.project(fit.pose.apply(places.on_face(fit.vertices(head) + moves.lids + moves.lips)), fit.size)
    features = np.concatenate([_EYES, _MOUTH])
    left = np.linalg.norm(points - fit.landmarks, axis=1)[features] / fit.pixels_per_mm
    rms = float(np.sqrt(np.mean(left**2)))
    if rms > MAX_LEFT:
        raise UnusablePhotoError("bad fit", f"eyes and mouth {rms:.1f} mm off the fitted ones, at most {MAX_LEFT:.1f} allowed")


def check_at_rest(fit: HeadFit) -> None:
    """Raises UnusablePhotoError for a face that smiles or opens its mouth."""
    smile = 0.5 * (fit.actions.get("mouthSmileLeft", 0.0) + fit.actions.get("mouthSmileRight", 0.0))
    if smile > _MAX_SMILE or fit.actions.get("jawOpen", 0.0) > _MAX_JAW:
        raise UnusablePhotoError("not at rest", "the face smiles or opens its mouth: name its expression in the manifest")


def _field(base: Array, movable: Array, places: Array, moves: Array) -> Array:
    """Offsets of base vertices (19158, 3), of the `movable` ones only, smooth over space and near `moves` at `places`."""
    at = base[movable]
    squared = ((at[:, None] - places[None]) ** 2).sum(axis=2)
    near = squared.min(axis=1) < (_FAR * _REACH) ** 2
    among = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    kernel = _SIZE**2 * np.exp(-among / (2 * _REACH**2)) + _NOISE**2 * np.eye(len(places))
    amounts = np.linalg.solve(kernel, moves)
    field = np.zeros_like(base)
    field[movable[near]] = _SIZE**2 * np.exp(-squared[near] / (2 * _REACH**2)) @ amounts
    return field.astype(np.float32)
