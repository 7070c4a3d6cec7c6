"""What a photo shows where: person, skin, hair, eyes, mouth, each as a soft mask over the crop's samples.

The person is cut out by GrabCut (Rother et al., SIGGRAPH 2004), which starts from the fitted head and sees more than the crop.
Skin is what has the colour of the middle of the face: a Gaussian in log colour; below the brows the face counts as skin whatever
its colour, so that beards, moles and frames of glasses are lit like the skin that they lie on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from legan.synthesis.fit import HeadFit
from legan.synthesis.srgb import to_linear
from legan.synthesis.vectors import Array, smoothstep

WINDOW = 1.5  # side of the piece of photo that is looked at, in crops
_MATTE_SIDE = 192  # pixels of that piece for GrabCut
_N_ROUNDS = 3
_MATTE_SOFTNESS = 0.006  # of the crop's side

_LEFT_EYE, _RIGHT_EYE, _OUTER_LIPS, _INNER_LIPS = (slice(36, 42), slice(42, 48), slice(48, 60), slice(60, 68))
_LEFT_BROW, _RIGHT_BROW = slice(17, 22), slice(22, 27)
_SKIN_NEAR, _SKIN_FAR = 11.0, 30.0  # squared Mahalanobis distances of surely skin and surely not


@dataclass(frozen=True)
class Layers:
    """Pictures of N x N samples over the crop; masks are float32 in 0..1."""

    light: Array  # (N, N, 3) linear RGB in 0..1
    person: Array
    skin: Array
    hair: Array  # the rest of the person: hair, clothes
    eyes: Array
    mouth: Array  # between the lips
    lips: Array
    features: Array  # eyes, brows and mouth with a margin: what is no plain skin
    core: Array  # bool: surely plain skin

    @property
    def resolution(self) -> int:
        return self.light.shape[0]


def build_layers(window: Array, inside: Array, fit: HeadFit, head_outline: Array, resolution: int) -> Layers:
    """Takes a photo apart.

    Args:
        window: uint8 (side, side, 3), sRGB: the photo, aligned as the crop and `WINDOW` times as wide.
        inside: bool (side, side): False where the photo has ended.
        fit: the head in it.
        head_outline: (n, 2) outline of the fitted head in crop pixels.
        resolution: N; the window's side is `WINDOW` times as many samples.
    """
    unit = resolution / fit.size
    points = fit.landmarks.astype(np.float64) * unit
    margin = (window.shape[0] - resolution) // 2
    middle = slice(margin, margin + resolution)
    light = to_linear(window[middle, middle])
    person = _person(window, inside, points + margin, head_outline * unit + margin)[middle, middle]

    def filled(part: slice, blur: float = 0.4) -> Array:
        return polygon(resolution, points[part], blur * unit)

    eyes = np.maximum(filled(_LEFT_EYE), filled(_RIGHT_EYE))
    mouth, lips = filled(_INNER_LIPS), filled(_OUTER_LIPS, 0.8)
    brows = np.maximum(*(_stroke(resolution, points[part], 3.4 * unit) for part in (_LEFT_BROW, _RIGHT_BROW)))
    features = _grown(np.maximum.reduce([eyes, lips, brows]), 2.5 * unit)
    face = polygon(resolution, _face_outline(points))
    core = (_shrunk(face, 5 * unit) * (1 - features) * person > 0.5) & (light.max(axis=2) < 0.97)
    skin = _skin(light, core, face, unit)

    # what lies inside the face and below the brows is skin, whatever its colour
    rows = np.arange(resolution, dtype=np.float64)[:, None]
    brow_row = points[17:27, 1].mean()
    inner = cv2.GaussianBlur(_shrunk(face, 6 * unit), (0, 0), 2.5 * unit)
    surely = (inner * smoothstep(brow_row - 9 * unit, brow_row + 3 * unit, rows)).astype(np.float32)
    skin = np.maximum(skin * person, surely)
    return Layers(
        light, np.maximum(person, surely), skin, np.clip((1 - skin) * person, 0, 1), eyes, mouth, lips, features, core
    )


def window_of(matrix: Array, size: int, samples_per_axis: int) -> tuple[Array, int]:
    """The piece of a photo about a crop: matrix (2, 3) photo pixels -> its samples, and its side in samples.

    Args:
        matrix: (2, 3) photo pixels -> crop pixels.
        size: side of the crop in pixels.
        samples_per_axis: samples to a pixel of the crop.
    """
    resolution = size * samples_per_axis
    side = round(resolution * WINDOW)
    matrix = matrix * samples_per_axis
    matrix[:, 2] += (side - resolution) / 2
    return matrix, side


def polygon(resolution: int, points: Array, blur: float = 0.0) -> Array:
    """Mask (N, N) of the inside of a polygon (n, 2), antialiased."""
    mask = np.zeros((resolution, resolution), np.uint8)
    cv2.fillPoly(mask, [np.round((points - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(soft, (0, 0), blur) if blur else soft


def _stroke(resolution: int, points: Array, width: float) -> Array:
    mask = np.zeros((resolution, resolution), np.uint8)
    cv2.polylines(mask, [np.round((points - 0.5) * 16).astype(np.int32)], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def _ellipse(radius: float) -> Array:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _grown(mask: Array, radius: float) -> Array:
    return cv2.dilate(mask, _ellipse(radius))


def _shrunk(mask: Array, radius: float) -> Array:
    return cv2.erode(mask, _ellipse(radius), borderValue=0)


def _face_outline(points: Array) -> Array:
    """Jaw and a forehead: the brows raised by a third of the face's width between the jaw's ends."""
    rise = np.array([0, -0.22 * np.linalg.norm(points[16] - points[0])])
    return np.concatenate([points[:17], (points[17:27] + rise)[::-1]])


def _person(window: Array, inside: Array, points: Array, head_outline: Array) -> Array:
    """Matte (side, side) of the person in a window; points and outline in window pixels."""
    side = window.shape[0]
    shrink = _MATTE_SIDE / side
    picture = cv2.resize(window, (_MATTE_SIDE, _MATTE_SIDE), interpolation=cv2.INTER_AREA)
    points, outline = points * shrink, cv2.convexHull((head_outline * shrink).astype(np.float32)).reshape(-1, 2)
    width = float(np.ptp(points[:17, 0]))
    chin, middle = points[8], points[:17, 0].mean()
    face = _shrunk(polygon(_MATTE_SIDE, _face_outline(points)), 0.04 * width) > 0.5
    head = polygon(_MATTE_SIDE, outline)
    neck = np.array(
        [[-0.32, -0.15], [0.32, -0.15], [0.36, 0.25], [0.75, 0.6], [0.75, 9], [-0.75, 9], [-0.75, 0.6], [-0.36, 0.25]]
    )
    below = polygon(_MATTE_SIDE, np.clip(neck * width + [middle, chin[1]], -_MATTE_SIDE, 2 * _MATTE_SIDE))

    marks = np.full(picture.shape[:2], cv2.GC_PR_BGD, np.uint8)
    marks[(_grown(head, 0.10 * width) > 0.5) | (below > 0.5)] = cv2.GC_PR_FGD
    marks[face] = cv2.GC_FGD
    far = _grown(np.maximum(head, below), 0.55 * width) < 0.5
    marks[far & (np.arange(_MATTE_SIDE)[:, None] < chin[1] - 0.4 * width)] = cv2.GC_BGD
    ended = cv2.resize(inside.astype(np.uint8), (_MATTE_SIDE, _MATTE_SIDE), interpolation=cv2.INTER_NEAREST) == 0
    if picture[~ended].reshape(-1, 3).std(axis=0).max() < 2:
        return np.ones((side, side), np.float32)
    cv2.setRNGSeed(0)  # GrabCut starts with k-means: the same photo must give the same matte
    cv2.grabCut(picture, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), _N_ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    person = cv2.resize(_without_holes(person, points), (side, side), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(person, (0, 0), _MATTE_SOFTNESS * side / WINDOW)


def _without_holes(person: Array, points: Array) -> Array:
    """Only the piece that holds the nose, with holes filled that touch no border."""
    _, pieces = cv2.connectedComponents(person.astype(np.uint8))
    column, row = np.clip(points[30], 0, person.shape[0] - 1).astype(int)
    whole = (pieces == pieces[row, column]).astype(np.uint8)
    _, gaps, sizes, _ = cv2.connectedComponentsWithStats(1 - whole)
    small = np.flatnonzero(sizes[:, cv2.CC_STAT_AREA] < 0.004 * person.size)
    whole[np.isin(gaps, small[small > 0])] = 1
    return whole.astype(np.float32)


def _skin(light: Array, core: Array, face: Array, unit: float) -> Array:
    """How likely each sample is skin, by colour alone, smoothed."""
    logs = np.log(light + 0.004)
    features = np.stack([0.45 * logs.mean(axis=2), logs[..., 0] - logs[..., 1], logs[..., 1] - logs[..., 2]], axis=-1)
    sample = features[core] if core.sum() > 50 else features[face > 0.5]
    centre = np.median(sample, axis=0)
    near = np.linalg.norm((sample - centre) / (sample.std(axis=0) + 1e-3), axis=1) < 2.5
    centre, covariance = sample[near].mean(axis=0), np.cov(sample[near].T) + 4e-4 * np.eye(3)
    offset = features - centre
    distance = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
    # a highlight on the face is skin too
    shine = smoothstep(0, 0.15, offset[..., 0]) * cv2.GaussianBlur(face, (0, 0), unit)
    likely = smoothstep(_SKIN_FAR, _SKIN_NEAR, distance * (1 - 0.8 * shine))
    return cv2.GaussianBlur(likely.astype(np.float32), (0, 0), 0.8 * unit)
