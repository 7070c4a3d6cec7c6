"""Motion of a re-expressed photo: which pixels go where, and which parts of the face they belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from legan.core.geometry import Array, dot, smoothstep
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.photo.view import FRONT_CHIN, FRONT_DEPTH, FaceView, places_in
from legan_faces3d.render.gbuffer import Material

# The parts of a bare face as a camera sees it: skin, lips, lids, eyeballs, mouth, as images over its pixels.


_FACING = 0.25  # cosine to the camera: flatter skin lies too near the outline to be trusted
_NO_LIP = 14.0  # squared Mahalanobis distance from the colours of the lips' rim
_TEETH_REACH = 7.0  # pixels of a 128-pixel crop that fitted lips may cover of the teeth


@dataclass(frozen=True)
class Movers:
    """How much each vertex (v,) of the solid mesh goes with the lower jaw and with the upper lids, 0..1."""

    jaw: Array
    lid: Array

    @classmethod
    def of(cls, head: Head) -> Movers:
        def reach(*actions: str) -> Array:
            base = np.zeros_like(head.canonical_base)
            for action in actions:
                rows, offsets = head.actions[action]
                base[rows] += offsets
            return np.linalg.norm(head.solid_vertices(base), axis=1)

        jaw, lid = reach("jawOpen"), reach("eyeBlinkLeft", "eyeBlinkRight")
        body = len(head.parts[BODY].canonical)
        jaw, lid = jaw / jaw[head.lip_vertices].max(), lid / lid[:body].max()
        return cls(np.minimum(jaw, 1).astype(np.float32), np.minimum(lid, 1).astype(np.float32))


@dataclass(frozen=True)
class Parts:
    """Boolean images (N, N), except where noted."""

    view: FaceView
    body: Array
    eyes: Array
    cavity: Array  # what one sees between the lips: gums, teeth, tongue
    lips: Array
    lower: Array  # float32: 1 below the line between the lips, 0 above it
    lid: Array  # float32: 1 on the edge of the upper lids
    front: Array  # the face without its outline, ears and neck
    opening: Array  # what the image shows between the lips; in an image to be made, the cavity

    @cached_property
    def beyond_seam(self) -> Array:
        """Distance (N, N) in pixels from the line between the lips, from the opening where the mouth is open."""
        mouth = (self.lips | self.cavity) & self.body | self.cavity
        below = self.lower > 0.5
        line = self.opening.copy()
        line[:-1] |= mouth[:-1] & mouth[1:] & ~below[:-1] & below[1:]
        if not line.any():
            return np.full(line.shape, np.inf)
        return distance_to(line)


def parts_of(head: Head, view: FaceView, movers: Movers) -> Parts:
    """Tells the parts apart."""
    gbuffer = view.gbuffer
    body = gbuffer.is_material(Material.BODY)
    inside = (head.masks.mouth(gbuffer.uv) > 0.5) & body
    cavity = inside | gbuffer.is_material(Material.UPPER_TEETH, Material.LOWER_TEETH, Material.TONGUE)
    lips = (head.masks.lips(gbuffer.uv) > 0.4) & body
    local = gbuffer.canonical - head.anchors.eyes
    facing = dot(gbuffer.normal, gbuffer.to_camera)
    front = (facing > _FACING) & (local[:, 1] < FRONT_DEPTH) & (local[:, 2] > FRONT_CHIN)
    return Parts(
        view=view,
        body=view.image(body & ~cavity, False),
        eyes=view.image(gbuffer.is_material(Material.LEFT_EYE, Material.RIGHT_EYE), False),
        cavity=view.image(cavity, False),
        lips=view.image(lips & ~cavity, False),
        lower=view.image(view.of_vertices(movers.jaw[:, None])[:, 0]),
        lid=view.image(view.of_vertices(movers.lid[:, None])[:, 0] * body),
        front=view.image(front | cavity, False),
        opening=view.image(cavity, False),
    )


def shut(parts: Parts) -> Parts:
    """The parts of a face whose lips are known to be closed: slits that the mesh leaves are lips."""
    none = np.zeros_like(parts.cavity)
    return replace(parts, body=parts.body | parts.cavity, lips=parts.lips | parts.cavity, cavity=none, opening=none)


def with_opening(parts: Parts, light: Array, unit: float) -> Parts:
    """The parts of an open mouth, with teeth that the fitted lips cover: what is within them and has not their colour.

    Args:
        light: (N, N, 3) the photo, linear.
        unit: samples to a pixel of a 128-pixel crop.
    """
    colour = np.log(light + 0.004)
    rim = parts.lips & (parts.beyond_seam > np.percentile(parts.beyond_seam[parts.lips], 60))
    if rim.sum() < 30:
        return parts
    middle = np.median(colour[rim], axis=0)
    covariance = np.cov((colour[rim] - middle).T) + 0.01 * np.eye(3)
    offset = colour - middle
    distance = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
    mouth = cv2.erode((parts.lips | parts.cavity).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=round(0.8 * unit))
    strange = (mouth > 0) & (distance > _NO_LIP) & (parts.beyond_seam < _TEETH_REACH * unit) | parts.cavity
    strange = cv2.morphologyEx(strange.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(strange)
    inner = np.isin(pieces, np.setdiff1d(pieces[parts.beyond_seam < 0.5 * unit], 0)) | parts.cavity
    # gums and tongue have the colour of lips, but stand between teeth
    whole = np.logical_or.accumulate(inner, axis=0) & np.logical_or.accumulate(inner[::-1], axis=0)[::-1]
    grown = cv2.dilate(whole.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=round(0.4 * unit)) > 0
    return replace(parts, opening=grown & (mouth > 0) | parts.cavity)


# From which place of the photo each pixel of a re-expressed image comes.
#
# Skin follows the mesh. Lips that lay hidden in a closed mouth are drawn on from the lip that is seen, as in a mirror. Iris and
# white are round: what a lid hid is taken from as far from the middle of the iris, but beside it. Round the face the motion
# fades away, so that hair and background bend a little where a cheek or a chin goes, and nothing tears.


# Lengths in pixels of a 128-pixel crop.
_MOUTH_REACH = 9.0  # from the line between the lips
_SMOOTH = 0.8  # of lips that are drawn on
_SEAM = 0.8  # the dark line between closed lips, half its width: it must not come along when they part
_LASHES = 1.7  # under the lid's edge: what lashes and their shadow darken
_FADE = 10.0  # reach of the motion beyond the face
_FLAT = 0.42  # sine of the steepest angle at which the iris is surely seen
_IRIS_RADIUS_MM = 6.2
_HALF_WAY = 0.6  # how firmly the iris is held half way between the lids


@dataclass(frozen=True)
class Motion:
    """Images (N, N)."""

    places: Array  # (N, N, 2) float32: pixels of the photo, centres at +0.5
    revealed: Array  # float32 0..1: parts of the eye that a lid had hidden
    stretched: Array  # float32 0..1: skin of the upper lids that the photo hardly shows


def motion(light: Array, old: Parts, new: Parts, unit: float, pixels_per_mm: float) -> Motion:
    """Finds the places.

    Args:
        light: (N, N, 3) the photo, linear.
        old, new: the parts of its face as it is and as it shall be.
        unit: samples to a pixel of a 128-pixel crop.
        pixels_per_mm: samples to a millimetre.
    """
    found = places_in(new.view, old.view)
    n = new.view.resolution
    grid = np.stack(np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5), axis=-1).astype(np.float32)
    places = new.view.image(found.places)
    skin = new.body & new.front & ~new.view.image(found.hidden, True)
    places, lips = _with_lips(places, skin, old, new, unit)
    skin |= lips
    places = _extended(places, grid, skin, new, unit)
    stretched = _stretched(places, skin, new, unit)
    places[new.eyes] = grid[new.eyes]
    places, revealed = _with_eyes(places, grid, light, old, new, unit, pixels_per_mm)
    return Motion(places, revealed, stretched)


def sample(image: Array, places: Array, kernel: int = cv2.INTER_LINEAR) -> Array:
    """An image (N, N) or (N, N, k) at places (M, M, 2)."""
    x, y = places[..., 0] - 0.5, places[..., 1] - 0.5
    return cv2.remap(image, x, y, kernel, borderMode=cv2.BORDER_REPLICATE)


def distance_to(mask: Array) -> Array:
    """Distance (N, N) float32, in pixels, of each pixel to the nearest of a mask; large where the mask is empty."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def gap(parts: Parts) -> float:
    """Height in pixels of the opening between the lips."""
    return float(parts.opening.sum(axis=0).max())


def _with_lips(places: Array, skin: Array, old: Parts, new: Parts, unit: float) -> tuple[Array, Array]:
    """Places with the lips' hidden skin, and where these are."""
    near = new.body & (new.beyond_seam < _MOUTH_REACH * unit)
    if not near.any():
        return places, near
    margin = _SEAM * unit * float(smoothstep(0, 2 * unit, abs(gap(new) - gap(old))))
    distance = np.minimum(old.beyond_seam, 1e6).astype(np.float32)
    good = near & skin & (sample(distance, places) >= margin)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result, drawn = places.copy(), np.zeros_like(near)
    for side in (new.lower > 0.5, new.lower <= 0.5):
        sound, wanted = (good & side)[box], (near & ~good & side)[box]
        if not sound.any() or not wanted.any():
            continue
        _, edge = distance_transform_edt(~sound, return_indices=True)
        at = np.argwhere(wanted)
        on_edge = edge[:, wanted].T
        mirrored = np.clip(2 * on_edge - at, 0, np.array(sound.shape) - 1)
        mirrored = np.where(sound[tuple(mirrored.T)][:, None], mirrored, on_edge)
        result[box][wanted] = places[box][tuple(mirrored.T)]
        # Neighbours may have been mirrored about edges far apart: smoothed, the skin does not break up.
        lip = (sound | wanted).astype(np.float32)
        smooth, weight = (cv2.GaussianBlur(values, (0, 0), _SMOOTH * unit) for values in (result[box] * lip[..., None], lip))
        result[box][wanted] = (smooth / np.maximum(weight, 1e-4)[..., None])[wanted]
        drawn[box] |= wanted
    return result, drawn


def _extended(places: Array, grid: Array, skin: Array, new: Parts, unit: float) -> Array:
    """Places everywhere: from the nearest skin within the face, fading beyond it."""
    nearest = distance_transform_edt(~skin, return_distances=False, return_indices=True)
    move = (places - grid)[tuple(nearest)]
    within = (new.body | new.eyes | new.cavity) & new.front
    beyond = distance_to(within)
    smooth = cv2.GaussianBlur(move, (0, 0), 2.0 * unit)
    share = smoothstep(0, 3 * unit, beyond)[..., None]
    fade = np.exp(-((beyond / (_FADE * unit)) ** 2))[..., None]
    moved = grid + (move * (1 - share) + smooth * share) * fade
    return np.where(skin[..., None], places, moved).astype(np.float32)


def _stretched(places: Array, skin: Array, new: Parts, unit: float) -> Array:
    """Where the upper lids' skin comes from a narrow strip of the photo or from none."""
    growth = np.gradient(cv2.GaussianBlur(places[..., 1], (0, 0), 0.5 * unit), axis=0)
    lid = (new.lid > 0.1) & new.body
    thin = lid & ((growth < 0.55) | ~skin)
    thin = cv2.morphologyEx(thin.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(thin.astype(np.float32), (0, 0), 0.5 * unit)


def _with_eyes(
    places: Array, grid: Array, light: Array, old: Parts, new: Parts, unit: float, pixels_per_mm: float
) -> tuple[Array, Array]:
    """Places with the parts of the eyes that lids or lashes had hidden, and how much of each pixel is such a part."""
    result, revealed = places.copy(), np.zeros(new.eyes.shape, np.float32)
    inside_old, inside_new = distance_to(~old.eyes), distance_to(~new.eyes)
    share = smoothstep(1.3 * _LASHES * unit, 0.7 * _LASHES * unit, inside_old) * new.eyes
    share = share * smoothstep(0.2 * unit, 0.7 * unit, inside_new - inside_old)
    middle = new.eyes.shape[1] // 2
    for half in (np.s_[:, :middle], np.s_[:, middle:]):
        if share[half].max(initial=0) < 0.05:
            continue
        seen = inside_old[half] > 0.5 * _LASHES * unit
        iris = find_iris(light[half].mean(axis=2), seen, _IRIS_RADIUS_MM * pixels_per_mm)
        if iris is None:
            continue
        centre = iris + grid[half][0, 0] - 0.5
        offset = grid[half] - centre
        radius = np.linalg.norm(offset, axis=2) + 1e-6
        sine = np.clip(offset[..., 1] / radius, -_FLAT, _FLAT)
        side = np.where(offset[..., 0] < 0, -1, 1) * np.sqrt(1 - sine**2)
        beside = centre + np.stack([side, sine], axis=2) * radius[..., None]
        part = share[half][..., None]
        result[half] = result[half] * (1 - part) + beside * part
        revealed[half] = share[half]
    return result.astype(np.float32), revealed


def find_iris(luminance: Array, seen: Array, radius: float) -> Array | None:
    """Centre (x, y) in pixels, centres at +0.5, of the darkest disc of this radius; None where too little of an eye is seen.

    Args:
        luminance: (H, W).
        seen: (H, W) bool, the eyeball.
        radius: in pixels.
    """
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) < 0.4 * radius or len(columns) < radius:
        return None
    pad = int(1.6 * radius) + 1
    top, left = max(rows[0] - pad, 0), max(columns[0] - pad, 0)
    box = np.s_[top : rows[-1] + pad, left : columns[-1] + pad]
    weight = seen[box].astype(np.float32)
    values = np.minimum(luminance[box], np.percentile(luminance[seen], 75)).astype(np.float32) * weight  # spares glints
    y, x = np.mgrid[-pad : pad + 1, -pad : pad + 1]
    distance = np.hypot(x, y)
    disc = (distance <= radius).astype(np.float32)
    ring = ((distance > 1.1 * radius) & (distance < 1.6 * radius) & (np.abs(y) < 0.8 * radius)).astype(np.float32)

    def mean(kernel: Array) -> tuple[Array, Array]:
        amount = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        return cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_CONSTANT) / np.maximum(amount, 1), amount

    dark, covered = mean(disc)
    pale, around = mean(ring)
    middle = (weight * np.arange(len(weight))[:, None]).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    off_middle = (np.arange(len(weight))[:, None] - middle) / radius  # the iris stands about half way between the lids
    score = (pale - dark) / max(float(values.max()), 1e-4) - _HALF_WAY * off_middle**2
    score = np.where((covered > 0.4 * disc.sum()) & (around > 0.1 * ring.sum()) & (weight.max(axis=0) > 0), score, -np.inf)
    row, column = np.unravel_index(score.argmax(), score.shape)
    return np.array([column + left + 0.5, row + top + 0.5], np.float32) if np.isfinite(score[row, column]) else None
