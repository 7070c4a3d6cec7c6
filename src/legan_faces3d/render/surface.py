"""The paint of a G-buffer: colour, shine and normals of every sample, put together from the parts of the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.geometry import Array, blend
from legan_faces3d.head import accessories as collar
from legan_faces3d.head import eyes, hair, mouth, skin
from legan_faces3d.head import skin as facial_hair
from legan_faces3d.head import skin as wrinkles
from legan_faces3d.head.expressions import Furrows
from legan_faces3d.head.head import Head
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.landmarks import FacePoints
from legan_faces3d.render.gbuffer import GBuffer, Material

_MIN_ALBEDO, _MAX_ALBEDO = 0.003, 0.9
_MIN_ROUGHNESS, _MAX_ROUGHNESS = 0.08, 0.7
_STRAND_CONTRAST = 1.5  # brighter strands shine more as well


@dataclass
class Surface:
    """Arrays over the G-buffer's n samples."""

    albedo: Array  # (n, 3) linear RGB
    specular: Array  # (n,) reflectance at normal incidence
    roughness: Array  # (n,) of the GGX lobe
    normal: Array  # (n, 3) with wrinkles
    skin: Array  # (n,) 0..1: scatters light below the surface
    hair: Array  # (n,) 0..1: shines along strands
    strands: Array  # (n,) pattern along the strands
    is_eye: Array  # (n,) bool


def paint(head: Head, identity: Identity, gbuffer: GBuffer, furrows: Furrows, gaze: eyes.Gaze) -> Surface:
    """Paints one face."""
    n = len(gbuffer.pixels)
    points = FacePoints.of(gbuffer.canonical, head.anchors)
    on_body = gbuffer.is_material(Material.BODY, Material.HAIR)
    lips, mouth_inside = (mask(gbuffer.uv) * on_body for mask in (head.masks.lips, head.masks.mouth))
    lids = head.masks.lids(gbuffer.uv) * on_body
    pigment = skin.Regions(lips=lips, lids=lids, mouth=mouth_inside, ear=gbuffer.ear)
    albedo = skin.albedo(points, identity, pigment)
    specular, roughness = skin.shine(points, identity, lips)

    brows = facial_hair.brows(points, identity) * on_body
    beard = facial_hair.beard(points, identity, lips, mouth_inside) * on_body * (1 - gbuffer.ear)
    strands = hair.strand_pattern(gbuffer.canonical, identity, head.anchors)
    is_strand = gbuffer.is_material(Material.HAIR)
    strands = np.where(is_strand, _STRAND_CONTRAST * (gbuffer.hair_shade - 1), strands)
    hides = np.where(is_strand, 1, hair.opacity(gbuffer.cover, gbuffer.ear, strands, identity) * on_body)
    albedo = facial_hair.apply(albedo, identity, brows, beard)
    strand_colour = identity.hair.colour * gbuffer.hair_shade[:, None]
    cap_colour = hair.cap_colour(gbuffer.canonical, strands, identity)
    albedo = blend(albedo, np.where(is_strand[:, None], strand_colour, cap_colour), hides)
    albedo = skin.tint(albedo, identity, (1 - lips) * (1 - hides))
    shirt = collar.opacity(gbuffer.canonical, head, identity) * gbuffer.is_material(Material.BODY)
    albedo = blend(albedo, collar.colour(gbuffer.canonical, head, identity), shirt)
    specular = specular * (1 - 0.7 * np.maximum(brows, beard)) * (1 - hides) * (1 - shirt)

    surface = Surface(
        albedo=np.where(on_body[:, None], albedo, 0).astype(np.float32),
        specular=specular.astype(np.float32),
        roughness=roughness.astype(np.float32),
        normal=gbuffer.normal.copy(),
        skin=(on_body * (1 - hides) * (1 - mouth_inside) * (1 - shirt)).astype(np.float32),
        hair=hides.astype(np.float32),
        strands=strands,
        is_eye=gbuffer.is_material(Material.LEFT_EYE, Material.RIGHT_EYE),
    )
    assert surface.albedo.shape == (n, 3)
    _paint_objects(head, identity, gbuffer, surface, gaze)
    surface.albedo = np.clip(surface.albedo, _MIN_ALBEDO, _MAX_ALBEDO).astype(np.float32)
    surface.roughness = np.clip(surface.roughness, _MIN_ROUGHNESS, _MAX_ROUGHNESS).astype(np.float32)
    wrinkled = gbuffer.is_material(Material.BODY) & (surface.skin > 0)
    surface.normal[wrinkled] = wrinkles.bend_normals(
        points.at(wrinkled), surface.normal[wrinkled], surface.skin[wrinkled], gbuffer.rotation, identity, furrows
    )
    return surface


def _paint_objects(head: Head, identity: Identity, gbuffer: GBuffer, surface: Surface, gaze: eyes.Gaze) -> None:
    """Teeth, tongue, glasses and eyes, each over its own samples."""
    for material in (Material.UPPER_TEETH, Material.LOWER_TEETH):
        chosen = gbuffer.is_material(material)
        if chosen.any():
            upper = material is Material.UPPER_TEETH
            surface.albedo[chosen] = mouth.teeth(gbuffer.canonical[chosen], head, identity, upper)
            surface.specular[chosen], surface.roughness[chosen] = mouth.TEETH_SHINE
    chosen = gbuffer.is_material(Material.TONGUE)
    surface.albedo[chosen] = mouth.tongue(gbuffer.canonical[chosen], identity)
    surface.specular[chosen], surface.roughness[chosen] = mouth.TONGUE_SHINE
    chosen = gbuffer.is_material(Material.GLASSES)
    if identity.glasses is not None:
        surface.albedo[chosen] = identity.glasses.colour
        surface.specular[chosen], surface.roughness[chosen] = 0.05, 0.2
    for side, material in enumerate((Material.LEFT_EYE, Material.RIGHT_EYE)):
        chosen = gbuffer.is_material(material)
        if chosen.any():
            albedo, normal = eyes.paint(gbuffer.position[chosen], gbuffer.eye_centres, side, gaze, identity)
            surface.albedo[chosen], surface.normal[chosen] = albedo, normal
            surface.specular[chosen], surface.roughness[chosen] = eyes.SHINE
