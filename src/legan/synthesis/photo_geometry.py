"""The G-buffer of a photo: the fitted head where it covers the person, completed over hair, ears and shoulders.

Hair takes the normals of an inflated silhouette, which is how a ball of hair shades; the eyes take those of their balls, since the
photo's lids and the head's never lie quite alike. Depth and what else is missing is drawn in from the edges of what is there.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from legan.synthesis.fit import HeadFit
from legan.synthesis.gbuffer import GBuffer, Material, Person, build_gbuffer
from legan.synthesis.hair import HairLayout
from legan.synthesis.hair_strands import Ribbons
from legan.synthesis.head import Head
from legan.synthesis.identity import Identity
from legan.synthesis.photo_layers import Layers
from legan.synthesis.vectors import Array, dot, normalize, smoothstep

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
    covered = gbuffer.picture(np.ones(len(gbuffer.pixels), np.float32))
    sure = cv2.erode(covered, np.ones((3, 3)))
    normals = fill(gbuffer.picture(gbuffer.normal), sure)
    depth = fill(gbuffer.picture((gbuffer.position - fit.camera.position)[:, 1:2]), sure)[..., 0]
    normals = _with_hair(normals, covered, layers, resolution / fit.size)

    pixels = np.flatnonzero(layers.person.ravel() > MIN_COVER)
    direction = directions[pixels]
    hair = layers.hair.ravel()[pixels]
    distance = depth.ravel()[pixels] / direction[:, 1] - _HAIR_LIFT * hair
    position = (fit.camera.position + direction * distance[:, None]).astype(np.float32)
    normal = normals.reshape(-1, 3)[pixels]
    eye = layers.eyes.ravel()[pixels][:, None]
    normal = normalize((1 - eye) * normal + eye * _eyeball_normals(position, gbuffer.eye_centres, eye_radius))
    away = dot(normal, direction)
    normal = normalize(normal - np.maximum(away + 0.02, 0)[:, None] * direction)  # nothing that is seen faces away

    def carried(values: Array, missing: float) -> Array:
        return gbuffer.picture(values, missing).reshape(resolution * resolution, *values.shape[1:])[pixels]

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
    across = offset[:, [0, 2]] / radius
    across *= np.minimum(1, 0.9 / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-9))
    depth = np.sqrt(1 - (across**2).sum(axis=1))
    return np.stack([across[:, 0], -depth, across[:, 1]], axis=1)


def fill(picture: Array, weight: Array) -> Array:
    """Fills a picture (N, N, k) where `weight` (N, N) is 0 from its surroundings (pull-push, Gortler et al., SIGGRAPH 1996)."""
    levels = [(picture * weight[..., None], weight)]
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


def _halved(picture: Array) -> Array:
    smaller = cv2.pyrDown(picture)
    return smaller.reshape(*smaller.shape[:2], picture.shape[2])
