"""Light of a re-expressed face: what folds and turned skin change, and the inside of the mouth."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np

from legan.core.geometry import Array, smoothstep
from legan_faces3d.head import mouth
from legan_faces3d.head import skin as wrinkles
from legan_faces3d.head.expressions import Furrows
from legan_faces3d.head.head import Head
from legan_faces3d.head.identity import Identity, Room
from legan_faces3d.head.landmarks import FacePoints
from legan_faces3d.photo import even_light
from legan_faces3d.photo.checks import check_exposure
from legan_faces3d.photo.even_light import EvenLight
from legan_faces3d.photo.geometry import fill
from legan_faces3d.photo.reexpress_motion import Parts, sample
from legan_faces3d.photo.view import FaceView
from legan_faces3d.render import shading
from legan_faces3d.render.gbuffer import GBuffer, Material

# A sky of one brightness; light that reaches an open sample straight on is 1 after division by _OPEN.
_SKY = Room(np.full(3, 1.0), np.zeros(3), np.array([0.0, -1.0, 0.0]), np.zeros(3), np.zeros(3))
_OPEN_BASE, _OPEN_RISE = 0.55, 0.30
_N_RAYS, _N_RAYS_MOUTH = 24, 32
_LEAST, _MOST = 0.5, 1.18  # of new light to old; brighter folds look like scars
_WRINKLE_UP = 0.45  # wrinkles are shaded by a light from above: an even one would hardly show them
_GROOVE = 260.0  # share of light that a groove loses, per metre of depth
# Painted teeth were half as bright as those of true smiles of the same people (`experiments/native/teeth.py`). Not all of that, as true
# smiles are broader and let more light in.
_TEETH = 1.6
_GUM = np.array([0.22, 0.05, 0.045], np.float32)
_FOLDS_TAKEN = 0.75  # share of what a smile's folds darken that can be separated from the skin's own marks
# The photo's white is estimated from the whites of the eyes: medians over London's smiles.
_SCLERA, _WHITE = 0.29, 0.74
# arrays of a G-buffer that have one entry a sample
_PER_SAMPLE = (
    *("pixels", "position", "normal", "canonical", "uv", "material", "cover", "ear"),
    *("hair_tangent", "hair_shade", "to_camera"),
)
_LUMINANCE = np.array([0.3, 0.5, 0.2], np.float32)


def occlusion_of(view: FaceView, step: int, random: np.random.Generator) -> Array:
    """Ambient occlusion (N, N), computed at every `step`-th sample a side."""
    gbuffer, n = view.gbuffer, view.resolution
    rows, columns = np.divmod(gbuffer.pixels, n)
    chosen = (rows % step == step // 2) & (columns % step == step // 2)
    coarse = _subset(gbuffer, chosen)
    side = -(-n // step)
    side += side % 2  # `ambient_light` halves it
    coarse = replace(coarse, resolution=side, pixels=rows[chosen] // step * side + columns[chosen] // step)
    light = shading.ambient_light(coarse, coarse.normal, _SKY, _N_RAYS, random)[:, 0]
    values = np.ones(side * side, np.float32)
    values[coarse.pixels] = np.clip(light / np.maximum(_OPEN_BASE + _OPEN_RISE * coarse.normal[:, 2], 0.1), 0.1, 1)
    known = np.zeros(side * side, np.float32)
    known[coarse.pixels] = 1
    filled = fill(values.reshape(side, side, 1), known.reshape(side, side))[..., 0]
    return cv2.resize(filled, (side * step, side * step), interpolation=cv2.INTER_LINEAR)[:n, :n]


def light_of_photo(light: Array, parts: Parts, occlusion: Array) -> EvenLight:
    """The even light of a photo (N, N, 3), estimated from the skin of its face.

    Raises:
        UnusablePhotoError: the skin is overexposed.
    """
    core = cv2.erode((parts.body & parts.front & ~parts.lips).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    core &= parts.lid < 0.1
    at = core.ravel()[parts.view.gbuffer.pixels]
    seen = core.ravel()
    check_exposure(int(seen.sum()))
    return even_light.estimate(light.reshape(-1, 3)[seen], parts.view.gbuffer.normal[at], occlusion.ravel()[seen])


def shade(parts: Parts, occlusion: Array, even: EvenLight) -> Array:
    """Light (N, N) on the skin, about 1."""
    view = parts.view
    body = parts.body.ravel()[view.gbuffer.pixels]
    dim = occlusion.ravel()[view.gbuffer.pixels]
    return view.image(even_light.shading_of(even, view.gbuffer.normal, dim, body).astype(np.float32), 1.0)


def change_of_light(old_shade: Array, new_shade: Array, places: Array, new: Parts, unit: float) -> Array:
    """How much brighter (N, N) the skin gets; 1 off the face."""
    ratio = new_shade / sample(old_shade, places)
    ratio = cv2.GaussianBlur(np.clip(ratio, _LEAST, _MOST).astype(np.float32), (0, 0), 0.4 * unit)
    trusted = cv2.erode((new.front & (new.body | new.eyes | new.cavity)).astype(np.float32), np.ones((3, 3)))
    trusted = cv2.GaussianBlur(cv2.erode(trusted, np.ones((5, 5)), iterations=int(unit)), (0, 0), 2 * unit)
    return np.where(new.body, 1 + (ratio - 1) * trusted, 1).astype(np.float32)


def wrinkle_light(head: Head, new: Parts, identity: Identity, old_folds: Furrows, new_folds: Furrows) -> Array:
    """Factor (N, N) of the light for the folds that an expression adds."""
    more = Furrows(
        **{f.name: max(0.0, getattr(new_folds, f.name) - max(0.0, getattr(old_folds, f.name))) for f in fields(Furrows)}
    )
    view = new.view
    skin = (new.body & new.front & ~new.lips).ravel()[view.gbuffer.pixels]
    points = FacePoints.of(view.gbuffer.canonical[skin], head.anchors)
    values = np.zeros(len(view.gbuffer.pixels), np.float32)
    values[skin] = wrinkles.folds(points, identity, more)
    depth = view.image(values)
    rise = -cv2.Sobel(depth, cv2.CV_32F, 0, 1, scale=1 / 8) / view.gbuffer.sample_size  # upwards; metres to a metre
    factor = (1 + _WRINKLE_UP * rise) * np.exp(-_GROOVE * depth)
    return np.where(new.body, np.clip(factor, _LEAST, _MOST), 1).astype(np.float32)


def without_folds(head: Head, light: Array, new: Parts, amount: float, unit: float) -> Array:
    """The light (N, N, 3) with the folds of a smile (beside the nose, round the eyes) taken out by `amount`, 0..1."""
    if amount == 0:
        return light
    view = new.view
    points = FacePoints.of(view.gbuffer.canonical, head.anchors)
    zones = points.spot(0.030, -0.062, 0.016, 0.024) + points.spot(0.054, -0.006, 0.013, 0.014)
    zones = view.image(np.minimum(zones + points.spot(0.032, -0.020, 0.018, 0.008), 1).astype(np.float32))
    plain = cv2.erode((new.body & new.front & ~new.lips).astype(np.float32), np.ones((5, 5), np.uint8), iterations=int(unit))
    share = amount * _FOLDS_TAKEN * zones * cv2.GaussianBlur(plain, (0, 0), unit)
    weight = np.maximum(plain, 1e-3)
    level = np.log(light @ _LUMINANCE + 0.002)

    def smooth(width: float) -> Array:
        return cv2.GaussianBlur(level * weight, (0, 0), width * unit) / cv2.GaussianBlur(weight, (0, 0), width * unit)

    folds = smooth(0.5) - smooth(6.0)
    return light * np.exp(-share * folds)[..., None]


def white_of_photo(light: Array, parts: Parts, unit: float) -> Array:
    """Linear RGB (3,) that a white surface would have in the photo's light, estimated from the whites of the eyes."""
    eyes = cv2.erode(parts.eyes.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(0.4 * unit))) > 0
    if eyes.sum() < 20 * unit:
        return np.full(3, _WHITE)
    colours = light[eyes]
    brightness = colours @ _LUMINANCE
    sclera = np.median(colours[brightness >= np.percentile(brightness, 80)], axis=0)
    return _WHITE * np.sqrt(np.clip(sclera, 0.05, 0.7) / _SCLERA)


def mouth_inside(head: Head, new: Parts, identity: Identity, white: Array, skin: float, random: np.random.Generator) -> Array:
    """ImageInput (N, N, 3), linear: gums, teeth and tongue, also a little beyond the lips' edges.

    Args:
        white: (3,) as `white_of_photo` gives it.
        skin: luminance of the photo's skin; gums and tongue follow it a little.
    """
    view = new.view
    chosen = new.cavity.ravel()[view.gbuffer.pixels]
    if not chosen.any():
        return np.zeros((view.resolution, view.resolution, 3), np.float32)
    inner = _subset(view.gbuffer, chosen)
    flesh = float(np.clip((skin / 0.22) ** 0.5, 0.45, 1.2))
    albedo = np.tile(_GUM * flesh, (len(inner.pixels), 1))
    dim = shading.ambient_light(inner, inner.normal, _SKY, _N_RAYS_MOUTH, random)[:, :1] / _OPEN_BASE
    light = np.minimum(dim, 1) ** 1.3
    for material, upper in ((Material.UPPER_TEETH, True), (Material.LOWER_TEETH, False)):
        tooth = inner.is_material(material)
        if tooth.any():
            albedo[tooth] = mouth.teeth(inner.canonical[tooth], head, identity, upper)
            aside = smoothstep(0.016, 0.026, np.abs(inner.canonical[tooth, :1]))  # the back teeth stand in the cheeks' shadow
            light[tooth] = _TEETH * (0.4 + 0.6 * np.minimum(dim[tooth], 1)) * (1 - (0.6 if upper else 0.9) * aside)
    tongue = inner.is_material(Material.TONGUE)
    albedo[tongue] = mouth.tongue(inner.canonical[tongue], identity) * flesh
    colours = np.zeros((view.resolution**2, 3), np.float32)
    colours[inner.pixels] = albedo * light * white
    shape = view.resolution, view.resolution
    return fill(colours.reshape(*shape, 3), new.cavity.astype(np.float32))


def _subset(gbuffer: GBuffer, chosen: Array) -> GBuffer:
    return replace(gbuffer, **{name: getattr(gbuffer, name)[chosen] for name in _PER_SAMPLE})
