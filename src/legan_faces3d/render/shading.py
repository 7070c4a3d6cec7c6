"""Light: ambient light of the room, one flash with shadows and highlights, scattering below the skin, and the composed image.

Ambient light is a sky of base colour and one window, gathered by cosine-weighted rays (ambient occlusion with colour). A flash is
a far source of a few degrees: a Lambert term and two GGX lobes (Walter et al., EGSR 2007) on skin, Kajiya-Kay on hair. Scattering
is a sum of three Gaussians in screen space, wider for red (d'Eon and Luebke, GPU Gems 3, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from legan.core.conditions import Lighting
from legan.core.geometry import Array, dot, normalize
from legan_faces3d.head import hair
from legan_faces3d.head.head import Anchors
from legan_faces3d.head.identity import Identity, Room
from legan_faces3d.render.gbuffer import GBuffer, Material
from legan_faces3d.render.surface import Surface

_FLASH_COLOUR = np.array([1.0, 0.985, 0.96], np.float32)
_FLASH_SPREAD = 0.022  # radians: softens the shadows' edges
_BOUNCE = np.array([0.05, 0.0225, 0.0175])  # light that an ambient ray finds where it meets skin
_RAY_LIFT_AMBIENT, _RAY_LIFT_FLASH = 0.0008, 0.0012  # metres off the surface, so that it does not shadow itself
_MAX_HIGHLIGHT, _MAX_HIGHLIGHT_EYE = 3.0, 6.0
_HIGHLIGHT_STRENGTH = 0.5
_SCATTER_MM = (0.45, 1.3, 3.2)
_SCATTER_WEIGHTS = np.array([[0.34, 0.33, 0.33], [0.62, 0.28, 0.10], [0.80, 0.17, 0.03]])  # rows: red, green, blue


def image_direction(lighting: Lighting) -> Array | None:
    """Unit vector (3,) from the face to the flash in the renderer's axes (x right, y backwards, z up); None for room light."""
    if lighting.direction is None:
        return None
    right, up, to_camera = lighting.direction
    return np.array([right, -to_camera, up], np.float32)


def ambient_light(
    gbuffer: GBuffer, normal: Array, room: Room, n_rays: int, random: np.random.Generator, shadows: bool = True
) -> Array:
    """Ambient irradiance (n, 3) over pi; computed for every fourth sample and smoothed, as it changes slowly."""
    resolution = gbuffer.resolution
    rows, columns = np.divmod(gbuffer.pixels, resolution)
    chosen = np.flatnonzero((rows % 2 == 0) & (columns % 2 == 0))
    light = _gather(gbuffer, normal[chosen], gbuffer.position[chosen], room, n_rays, random, shadows)

    half = resolution // 2
    image, weight = np.zeros((half, half, 3), np.float32), np.zeros((half, half), np.float32)
    at = rows[chosen] // 2, columns[chosen] // 2
    image[at], weight[at] = light, 1
    blurred = _blur(image, 1.2) / np.maximum(_blur(weight, 1.2), 1e-3)[..., None]
    full = cv2.resize(blurred, (resolution, resolution), interpolation=cv2.INTER_LINEAR)
    return full.reshape(-1, 3)[gbuffer.pixels]


def _gather(
    gbuffer: GBuffer, normal: Array, position: Array, room: Room, n_rays: int, random: np.random.Generator, shadows: bool
) -> Array:
    golden = np.pi * (1 + 5**0.5)
    index = np.arange(n_rays) + 0.5
    rise, reach = np.sqrt(1 - index / n_rays), np.sqrt(index / n_rays)  # cosine-weighted spiral over the hemisphere
    start = random.uniform(0, 2 * np.pi, len(normal))  # turned at random for each sample
    helper = np.where(np.abs(normal[:, 2:3]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])
    tangent = normalize(np.cross(helper, normal))
    bitangent = np.cross(normal, tangent)
    origins = (position + normal * _RAY_LIFT_AMBIENT).astype(np.float32)
    total = np.zeros((len(normal), 3), np.float32)
    for k in range(n_rays):
        turn = golden * index[k] + start
        across = np.cos(turn)[:, None] * tangent + np.sin(turn)[:, None] * bitangent
        direction = (reach[k] * across + rise[k] * normal).astype(np.float32)
        light = _room_light(direction, room)
        total += np.where(gbuffer.scene.visible(origins, direction)[:, None], light, _BOUNCE) if shadows else light
    return total / n_rays


def _room_light(direction: Array, room: Room) -> Array:
    """What the room sends from a direction, (n, 3): brighter from above, one window."""
    window = np.maximum(0, direction @ room.window_direction.astype(np.float32))[:, None] ** 3
    return (room.base * (0.55 + 0.45 * direction[:, 2])[:, None] + room.window * window).astype(np.float32)


@dataclass(frozen=True)
class FlashLight:
    """Light of some flashes at n samples."""

    diffuse: Array  # (n, flashes)
    highlight: Array  # (n, flashes)


@dataclass(frozen=True)
class _Samples:
    """What reflection depends on, arrays over n samples."""

    normal: Array  # (n, 3)
    to_camera: Array  # (n, 3)
    strand: Array  # (n, 3) direction of the hair
    strands: Array  # (n,) pattern along the hair
    hair: Array  # (n,) 0..1
    specular: Array  # (n,)
    roughness: Array  # (n,)
    max_highlight: Array  # (n,)

    def at(self, chosen: Array) -> _Samples:
        """Some of the samples, by number."""
        return _Samples(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def flash_light(
    gbuffer: GBuffer,
    surface: Surface,
    identity: Identity,
    anchors: Anchors,
    flashes: list[Array],
    random: np.random.Generator,
    shadows: bool = True,
) -> FlashLight:
    """Light of each flash, given by its direction (3,), before scattering."""
    normal = surface.normal
    painted = hair.cap_tangents(gbuffer.canonical, normal, surface.strands, gbuffer.rotation, identity, anchors)
    on_strand = gbuffer.is_material(Material.HAIR)[:, None]
    samples = _Samples(
        normal=normal,
        to_camera=gbuffer.to_camera,
        strand=np.where(on_strand, normalize(gbuffer.hair_tangent), painted).astype(np.float32),
        strands=surface.strands.astype(np.float32),
        hair=surface.hair,
        specular=surface.specular,
        roughness=surface.roughness,
        max_highlight=np.where(surface.is_eye, _MAX_HIGHLIGHT_EYE, _MAX_HIGHLIGHT).astype(np.float32),
    )
    shape = len(gbuffer.pixels), len(flashes)
    diffuse, highlight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for k, flash in enumerate(flashes):
        seen = _seen_by_flash(gbuffer, normal, flash, random) if shadows else np.flatnonzero(normal @ flash > 0)
        diffuse[seen, k], highlight[seen, k] = _reflect(samples.at(seen), flash)
    return FlashLight(diffuse, highlight)


def _seen_by_flash(gbuffer: GBuffer, normal: Array, flash: Array, random: np.random.Generator) -> Array:
    """Numbers of the samples that the flash reaches; each ray aims at a random point of the flash."""
    facing = np.flatnonzero(normal @ flash > -0.05)
    aim = flash + _FLASH_SPREAD * random.standard_normal((len(facing), 3), np.float32)
    origins = gbuffer.position[facing] + normal[facing] * _RAY_LIFT_FLASH
    return facing[gbuffer.scene.visible(origins, normalize(aim))]


def _reflect(samples: _Samples, flash: Array) -> tuple[Array, Array]:
    """Diffuse light and highlight, each (n,), of samples that see the flash."""
    facing = samples.normal @ flash
    halfway = normalize(flash + samples.to_camera)
    gloss = np.minimum(_ggx(samples, halfway, facing), samples.max_highlight)
    along_flash, along_half = samples.strand @ flash, dot(samples.strand, halfway)
    hair_diffuse = np.sqrt(np.maximum(0, 1 - along_flash**2)) * np.maximum(0, facing * 0.8 + 0.2) * 0.9
    hair_gloss = 0.06 * np.sqrt(np.maximum(0, 1 - along_half**2)) ** 60 * np.maximum(0, facing + 0.1)
    hair_gloss = hair_gloss * (0.6 + 0.4 * np.clip(samples.strands + 0.5, 0, 2))
    hairy, bare = samples.hair, 1 - samples.hair
    return np.maximum(facing, 0) * bare + hair_diffuse * hairy, gloss * bare + hair_gloss * hairy


def _ggx(samples: _Samples, halfway: Array, facing: Array) -> Array:
    """Two GGX lobes with Schlick's Fresnel and shadowing terms, times the cosine: (n,)."""
    alpha_squared = samples.roughness**4
    cos_half = np.clip(dot(samples.normal, halfway), 0, 1)
    cos_view = np.clip(dot(samples.normal, samples.to_camera), 0.05, 1)
    cos_fresnel, cos_light = np.clip(dot(samples.to_camera, halfway), 0, 1), np.clip(facing, 0, 1)

    def lobe(squared: Array) -> Array:
        return squared / (np.pi * (cos_half**2 * (squared - 1) + 1) ** 2)

    distribution = 0.75 * lobe(alpha_squared) + 0.25 * lobe(np.minimum(alpha_squared * 6, 0.6))
    fresnel = samples.specular + (1 - samples.specular) * (1 - cos_fresnel) ** 5
    k = np.sqrt(alpha_squared) / 2
    shadowing = 1 / ((cos_light * (1 - k) + k) * (cos_view * (1 - k) + k) * 4)
    return distribution * fresnel * shadowing * cos_light


def scatter(gbuffer: GBuffer, surface: Surface, diffuse: Array) -> Array:
    """Light (n, flashes) -> (n, flashes, 3) after scattering below the skin; elsewhere the same in all three colours."""
    resolution, n_flashes = gbuffer.resolution, diffuse.shape[1]
    on_skin = (surface.skin > 0.3) & ~surface.is_eye
    image: Array = np.zeros((resolution * resolution, n_flashes), np.float32)
    weight: Array = np.zeros(resolution * resolution, np.float32)
    image[gbuffer.pixels[on_skin]], weight[gbuffer.pixels[on_skin]] = diffuse[on_skin], 1
    image, weight = image.reshape(resolution, resolution, n_flashes), weight.reshape(resolution, resolution)

    result = np.zeros((*diffuse.shape, 3), np.float32)
    for width, share in zip(_SCATTER_MM, _SCATTER_WEIGHTS.T, strict=True):
        sigma = width / 1000 / gbuffer.sample_size
        # normalised by the blurred mask, so that light does not leak out at the skin's edge
        spread = blur_channels(image, sigma) / np.maximum(_blur(weight, sigma), 1e-3)[..., None]
        result += spread.reshape(-1, n_flashes)[gbuffer.pixels][..., None] * share.astype(np.float32)
    result[~on_skin] = diffuse[~on_skin][..., None]
    return result


def unscattered(diffuse: Array) -> Array:
    """Light (n, flashes) -> (n, flashes, 3) as it falls on the surface."""
    return np.repeat(diffuse[..., None], 3, axis=2)


def evened(light: Array) -> Array:
    """Light (n, k) with its mean over the samples in each of them: no form is seen any more."""
    return np.broadcast_to(light.mean(axis=0), light.shape)


def compose(
    gbuffer: GBuffer,
    surface: Surface,
    identity: Identity,
    lightings: list[Array | None],
    ambient: Array,
    scattered: Array,
    highlight: Array,
    backdrop: Array,
) -> Array:
    """Linear images (lightings, resolution, resolution, 3).

    Args:
        lightings: directions (3,) of the flashes, or None for room light alone.
        ambient: (n, 3).
        scattered: (n, flashes, 3), in the order of the lightings that have a flash.
        highlight: (n, flashes).
        backdrop: (resolution^2, 3).
    """
    resolution = gbuffer.resolution
    grazing = (1 - np.clip(dot(surface.normal, gbuffer.to_camera), 0.05, 1)[:, None]) ** 5
    sheen = (surface.specular * 1.2 * (1 - surface.hair))[:, None] * ambient * 1.2 * (1 + 8 * grazing)
    room_lit = (surface.albedo * ambient + sheen).astype(np.float32)
    lash, lash_colour = gbuffer.lash[:, None], identity.hair.colour * 0.5
    images = np.zeros((len(lightings), resolution, resolution, 3), np.float32)
    flash_number = 0
    for k, flash in enumerate(lightings):
        colour, frontal = room_lit, 0.0
        if flash is not None:
            lit = surface.albedo * scattered[:, flash_number] + highlight[:, flash_number, None] * _HIGHLIGHT_STRENGTH
            colour = room_lit + _FLASH_COLOUR * lit
            frontal = max(0.0, float(-flash[1]))
            flash_number += 1
        image = backdrop * backdrop_level(flash)
        image[gbuffer.pixels] = colour
        image = image * (1 - lash) + lash * lash_colour * (0.28 + 0.6 * frontal)
        images[k] = image.reshape(resolution, resolution, 3)
    return images


def backdrop_level(flash: Array | None) -> float:
    """How bright a lighting makes the backdrop, as a factor of its colour: the flash stands nearer to the face."""
    return 0.42 if flash is None else 0.60 + 0.22 * max(0.0, float(-flash[1]))


def paint_backdrop(room: Room, resolution: int, random: np.random.Generator) -> Array:
    """A plain wall (resolution^2, 3) with up to three blurred uprights or blocks, shaded a little."""
    y, x = np.mgrid[0:resolution, 0:resolution] / resolution
    wall = np.ones((resolution, resolution, 3), np.float32) * room.backdrop
    for _ in range(random.integers(0, 4)):
        centre, width = random.uniform(0, 1), random.uniform(0.05, 0.4)
        where = _soft_step(x - centre + width / 2) * _soft_step(-(x - centre - width / 2))
        if random.random() < 0.4:
            where = where * _soft_step(y - random.uniform(0, 0.9))
        colour = random.uniform(0.05, 0.6) * (1 + random.normal(0, 0.15, 3))
        wall = wall * (1 - where[..., None]) + where[..., None] * colour
    wall = wall * (1 + 0.25 * (x[..., None] - 0.5) * random.normal() - 0.25 * (y[..., None] - 0.5))
    return np.clip(wall, 0.01, 1).reshape(-1, 3).astype(np.float32)


def _soft_step(x: Array) -> Array:
    return 1 / (1 + np.exp(-40 * x))


def _blur(image: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def blur_channels(image: Array, sigma: float) -> Array:
    """Gaussian blur of any number of channels; OpenCV takes four at most."""
    groups = [np.ascontiguousarray(image[..., k : k + 4]) for k in range(0, image.shape[2], 4)]
    blurred = [_blur(group, sigma).reshape(*image.shape[:2], -1) for group in groups]
    return np.concatenate(blurred, axis=2)
