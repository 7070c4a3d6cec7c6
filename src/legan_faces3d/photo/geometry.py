"""Geometry of a fitted photo: normals, depth and layers of the crop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from legan.core.geometry import Array, dot, normalize, smoothstep
from legan.core.light import pixels_to_linear
from legan_faces3d.head.hair import HairLayout, Ribbons
from legan_faces3d.head.head import Head
from legan_faces3d.head.identity import Identity
from legan_faces3d.photo.fit import HeadFit
from legan_faces3d.render.gbuffer import GBuffer, Material, Person, build_gbuffer

# What a photo shows where: person, skin, hair, eyes, mouth, each as a soft mask over the crop's samples.
#
# The person is cut out by GrabCut (Rother et al., SIGGRAPH 2004), which starts from the fitted head and sees more than the crop.
# Skin is what has the colour of the middle of the face: a Gaussian in log colour; below the brows the face counts as skin whatever
# its colour, so that beards, moles and frames of glasses are lit like the skin that they lie on.


WINDOW = 1.5  # side of the piece of photo that is looked at, in crops
_MATTE_SIDE = 192  # pixels of that piece for GrabCut
_N_ROUNDS = 3
_MATTE_SOFTNESS = 0.006  # of the crop's side

_LEFT_EYE, _RIGHT_EYE, _OUTER_LIPS, _INNER_LIPS = (slice(36, 42), slice(42, 48), slice(48, 60), slice(60, 68))
_LEFT_BROW, _RIGHT_BROW = slice(17, 22), slice(22, 27)
_SPECK = 2.5  # pixels of a crop, radius: smaller pieces of skin or hair are not told apart
_SKIN_NEAR, _SKIN_FAR = 11.0, 30.0  # squared Mahalanobis distances of surely skin and surely not


@dataclass(frozen=True)
class Layers:
    """Images of N x N samples over the crop; masks are float32 in 0..1."""

    light: Array  # (N, N, 3) linear RGB in 0..1
    person: Array
    skin: Array
    hair: Array  # the rest of the person: hair, clothes
    eyes: Array
    mouth: Array  # between the lips
    lips: Array
    features: Array  # eyes, brows and mouth with a margin: all but plain skin
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
    # The crop within the window, in linear light, and the person's matte.
    unit = resolution / fit.size
    points = fit.landmarks.astype(np.float64) * unit
    margin = (window.shape[0] - resolution) // 2
    middle = slice(margin, margin + resolution)
    light = pixels_to_linear(window[middle, middle])
    person = _person(window, inside, points + margin, head_outline * unit + margin)[middle, middle]

    def filled(part: slice, blur: float = 0.4) -> Array:
        return polygon(resolution, points[part], blur * unit)

    # Polygons of the landmarks: eyes, lips, mouth, brows; plain skin is the face without them.
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
    image = cv2.resize(window, (_MATTE_SIDE, _MATTE_SIDE), interpolation=cv2.INTER_AREA)
    points, outline = points * shrink, cv2.convexHull((head_outline * shrink).astype(np.float32)).reshape(-1, 2)
    # Regions in units of the face's width: face, head, and the neck and shoulders below.
    width = float(np.ptp(points[:17, 0]))
    chin, middle = points[8], points[:17, 0].mean()
    face = _shrunk(polygon(_MATTE_SIDE, _face_outline(points)), 0.04 * width) > 0.5
    head = polygon(_MATTE_SIDE, outline)
    neck = np.array(
        [[-0.32, -0.15], [0.32, -0.15], [0.36, 0.25], [0.75, 0.6], [0.75, 9], [-0.75, 9], [-0.75, 0.6], [-0.36, 0.25]]
    )
    below = polygon(_MATTE_SIDE, np.clip(neck * width + [middle, chin[1]], -_MATTE_SIDE, 2 * _MATTE_SIDE))

    # GrabCut's labels: the face is surely the person, the surroundings of the head surely not.
    marks = np.full(image.shape[:2], cv2.GC_PR_BGD, np.uint8)
    marks[(_grown(head, 0.10 * width) > 0.5) | (below > 0.5)] = cv2.GC_PR_FGD
    marks[face] = cv2.GC_FGD
    far = _grown(np.maximum(head, below), 0.55 * width) < 0.5
    marks[far & (np.arange(_MATTE_SIDE)[:, None] < chin[1] - 0.4 * width)] = cv2.GC_BGD
    ended = cv2.resize(inside.astype(np.uint8), (_MATTE_SIDE, _MATTE_SIDE), interpolation=cv2.INTER_NEAREST) == 0
    if image[~ended].reshape(-1, 3).std(axis=0).max() < 2:
        return np.ones((side, side), np.float32)
    cv2.setRNGSeed(0)  # GrabCut starts with k-means: the same photo must give the same matte
    cv2.grabCut(image, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), _N_ROUNDS, cv2.GC_INIT_WITH_MASK)
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
    # Robust mean and covariance of the colours of plain skin; distances are Mahalanobis distances.
    sample = features[core] if core.sum() > 50 else features[face > 0.5]
    centre = np.median(sample, axis=0)
    near = np.linalg.norm((sample - centre) / (sample.std(axis=0) + 1e-3), axis=1) < 2.5
    centre, covariance = sample[near].mean(axis=0), np.cov(sample[near].T) + 4e-4 * np.eye(3)
    offset = features - centre
    distance = np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset)
    # a highlight on the face is skin too
    shine = smoothstep(0, 0.15, offset[..., 0]) * cv2.GaussianBlur(face, (0, 0), unit)
    likely = smoothstep(_SKIN_FAR, _SKIN_NEAR, distance * (1 - 0.8 * shine))
    # dark skin in shadow is noise: single samples of it are no hair
    side = 2 * round(_SPECK * unit) + 1
    likely = cv2.medianBlur((255 * likely).astype(np.uint8), side).astype(np.float32) / 255
    return cv2.GaussianBlur(likely, (0, 0), 0.8 * unit)


# The G-buffer of a photo: the fitted head where it covers the person, completed over hair, ears and shoulders.
#
# Hair takes the normals of an inflated silhouette, which is how a ball of hair shades; the eyes take those of their balls, since the
# photo's lids and the head's never lie quite alike. Depth and what else is missing is drawn in from the edges of what is there.


MIN_COVER = 0.01  # of the person's matte: samples below are backdrop
_N_LEVELS = 7  # of the pyramid that fills gaps
_HAIR_LIFT = 0.004  # metres that hair stands off the head
_DOWN = np.array([0.0, 0.0, -1.0])


def cast_head(head: Head, fit: HeadFit, identity: Identity, resolution: int) -> GBuffer:
    """What the crop's camera sees of the fitted head alone, without hair, lashes and glasses."""
    n = head.n_body
    nothing = np.zeros((0, 3), np.float32)
    no_hair = Ribbons(nothing, np.zeros((0, 3), np.int32), nothing, nothing, nothing, np.zeros(0, np.float32))
    layout = HairLayout(np.full(n, -1, np.float32), np.zeros(n, np.float32), no_hair)
    person = Person(identity, fit.neutral, layout, np.zeros(n, np.float32), None)
    gbuffer = build_gbuffer(head, person, fit.vertices(head), fit.pose, fit.camera, resolution)
    return replace(gbuffer, lash=np.zeros_like(gbuffer.lash))


def complete(gbuffer: GBuffer, layers: Layers, fit: HeadFit, eye_radius: float) -> GBuffer:
    """The same over all samples of the person, `layers.person` > `MIN_COVER`."""
    resolution = gbuffer.resolution
    _, directions = fit.camera.rays(resolution)
    # Normals and depth of the head, extended over the gaps from samples away from its outline.
    covered = gbuffer.image(np.ones(len(gbuffer.pixels), np.float32))
    sure = cv2.erode(covered, np.ones((3, 3)))
    normals = fill(gbuffer.image(gbuffer.normal), sure)
    depth = fill(gbuffer.image((gbuffer.position - fit.camera.position)[:, 1:2]), sure)[..., 0]
    normals = _with_hair(normals, covered, layers, resolution / fit.size)

    # Positions along the camera's rays; hair lies a little before the head.
    pixels = np.flatnonzero(layers.person.ravel() > MIN_COVER)
    direction = directions[pixels]
    hair = layers.hair.ravel()[pixels]
    distance = depth.ravel()[pixels] / direction[:, 1] - _HAIR_LIFT * hair
    position = (fit.camera.position + direction * distance[:, None]).astype(np.float32)
    normal = normals.reshape(-1, 3)[pixels]
    # Normals: eyeballs in the eyes, and nothing that is seen faces away from the camera.
    eye = layers.eyes.ravel()[pixels][:, None]
    normal = normalize((1 - eye) * normal + eye * _eyeball_normals(position, gbuffer.eye_centres, eye_radius))
    away = dot(normal, direction)
    normal = normalize(normal - np.maximum(away + 0.02, 0)[:, None] * direction)  # nothing that is seen faces away

    def carried(values: Array, missing: float) -> Array:
        return gbuffer.image(values, missing).reshape(resolution * resolution, *values.shape[1:])[pixels]

    on_hair = hair > 0.5
    material = np.where(on_hair, int(Material.HAIR), carried(gbuffer.material, int(Material.BODY)))
    return replace(
        gbuffer,
        pixels=pixels,
        position=position,
        normal=normal.astype(np.float32),
        canonical=carried(gbuffer.canonical, 0.0),
        uv=carried(gbuffer.uv, 0.0),
        material=material,
        cover=np.full(len(pixels), -1, np.float32),
        ear=carried(gbuffer.ear, 0.0),
        hair_tangent=normalize(_DOWN - normal * (normal @ _DOWN)[:, None]).astype(np.float32) * on_hair[:, None],
        hair_shade=np.ones(len(pixels), np.float32),
        to_camera=-direction,
    )


def _with_hair(normals: Array, covered: Array, layers: Layers, unit: float) -> Array:
    """Normals (N, N, 3): the head's on skin, an inflated silhouette's on hair and beyond the head."""
    silhouette = _inflated(layers.person, 5.3 * unit)
    smooth = normalize(cv2.GaussianBlur(normals, (0, 0), 2.3 * unit))
    hair = layers.hair[..., None]
    on_head = covered[..., None] > 0
    skin_normals = np.where(on_head, normalize(normals), normalize(0.5 * normals + 0.8 * silhouette))
    return normalize(skin_normals * (1 - hair) + normalize(0.6 * smooth + 0.6 * silhouette) * hair)


def _inflated(mask: Array, blur: float) -> Array:
    """Normals (N, N, 3) of a cushion over a mask: to the camera in the middle, outwards at the edge."""
    soft = cv2.GaussianBlur(mask, (0, 0), blur)
    x, y = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    steepness = np.hypot(x, y) + 1e-6
    lean = 0.95 * smoothstep(0.1, 0.9, 1.3 * steepness / steepness.max() * (mask > 0.02))
    outwards = np.stack([-x / steepness, np.zeros_like(x), y / steepness], axis=-1)
    return normalize(outwards * lean[..., None] + np.array([0, -1.0, 0]) * np.sqrt(1 - lean**2)[..., None])


def _eyeball_normals(position: Array, centres: Array, radius: float) -> Array:
    """Normals (n, 3) of the nearer eyeball at points on or before it."""
    left = np.abs(position[:, 0] - centres[0, 0]) < np.abs(position[:, 0] - centres[1, 0])
    offset = position - np.where(left[:, None], centres[0], centres[1])
    # A sphere's normal from the offset in the image plane, kept within its outline.
    across = offset[:, [0, 2]] / radius
    across *= np.minimum(1, 0.9 / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-9))
    depth = np.sqrt(1 - (across**2).sum(axis=1))
    return np.stack([across[:, 0], -depth, across[:, 1]], axis=1)


def fill(image: Array, weight: Array) -> Array:
    """Fills an image (N, N, k) where `weight` (N, N) is 0 from its surroundings (pull-push, Gortler et al., SIGGRAPH 1996)."""
    levels = [(image * weight[..., None], weight)]
    for _ in range(_N_LEVELS):
        values, known = levels[-1]
        levels.append((_halved(values), _halved(known[..., None])[..., 0]))
    values, known = levels.pop()
    result = values / np.maximum(known, 1e-4)[..., None]
    for values, known in levels[::-1]:
        larger = cv2.resize(result, known.shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(values.shape)
        share = np.minimum(known, 1)[..., None]
        result = values / np.maximum(known, 1e-4)[..., None] * share + larger * (1 - share)
    return result


def _halved(image: Array) -> Array:
    smaller = cv2.pyrDown(image)
    return smaller.reshape(*smaller.shape[:2], image.shape[2])
