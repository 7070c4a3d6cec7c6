"""The G-buffer: what each pixel sees of the head, by ray casting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from legan.core.errors import LeganError
from legan.core.geometry import Array, dot, normalize
from legan_faces3d.head import hair, mesh
from legan_faces3d.head.hair import Ribbons
from legan_faces3d.head.head import LASH_PARTS, Head
from legan_faces3d.head.identity import Identity
from legan_faces3d.head.noise import noise
from legan_faces3d.render.camera import Camera, Pose
from legan_faces3d.render.realism import FULL, Realism, clustered, clusters, facet_normals

# What each camera ray sees: position, normal, canonical coordinates and material of every covered pixel sample.
#
# Nothing here depends on the light, so one G-buffer serves all twenty lightings.


_LASH_OFFSET = 0.0006  # metres towards the camera, so that the lids do not swallow them
_LASH_REACH = 0.0005
_STRAND_COVER = 0.05  # a strand lies well inside the hair


class Material(IntEnum):
    """The first six follow `head.SOLID_PARTS`."""

    BODY = 0
    LEFT_EYE = 1  # the image's left
    RIGHT_EYE = 2
    UPPER_TEETH = 3
    LOWER_TEETH = 4
    TONGUE = 5
    HAIR = 6
    GLASSES = 7


@dataclass(frozen=True)
class SceneMesh:
    """All opaque triangles with what the materials need at them."""

    vertices: Array  # (n, 3)
    normals: Array  # (n, 3)
    canonical: Array  # (n, 3)
    cover: Array  # (n,) metres inside the hairline
    ear: Array  # (n,) 0..1
    hair_tangent: Array  # (n, 3) along strands of hair, zero elsewhere
    hair_shade: Array  # (n,) factor of the hair's colour
    triangles: Array  # (m, 3)
    material: Array  # (m,) Material
    corner_uv: Array  # (m, 3, 2)

    def with_object(self, added: mesh.TriangleMesh, material: Material) -> SceneMesh:
        """This mesh and another one, which carries no hair."""
        n = len(added.vertices)
        return self._joined(
            added,
            material,
            normals=mesh.vertex_normals(added.vertices, added.triangles),
            canonical=np.zeros((n, 3), np.float32),
            cover=np.full(n, -1, np.float32),
            hair_tangent=np.zeros((n, 3), np.float32),
            hair_shade=np.ones(n, np.float32),
        )

    def with_hair(self, ribbons: Ribbons, pose: Pose, eyes: Array) -> SceneMesh:
        """This mesh and strands of hair at rest, which turn with the head; `eyes` (3,) are the canonical ones."""
        return self._joined(
            mesh.TriangleMesh(pose.apply(ribbons.vertices), ribbons.triangles),
            Material.HAIR,
            normals=pose.turn(ribbons.normals),
            canonical=ribbons.local + eyes.astype(np.float32),
            cover=np.full(len(ribbons.vertices), _STRAND_COVER, np.float32),
            hair_tangent=pose.turn(ribbons.tangents),
            hair_shade=ribbons.shade,
        )

    def _joined(self, added: mesh.TriangleMesh, material: Material, **per_vertex: Array) -> SceneMesh:
        n, m = len(added.vertices), len(added.triangles)
        own = {name: np.concatenate([getattr(self, name), values]) for name, values in per_vertex.items()}
        return SceneMesh(
            vertices=np.concatenate([self.vertices, added.vertices.astype(np.float32)]),
            ear=np.concatenate([self.ear, np.zeros(n, np.float32)]),
            triangles=np.concatenate([self.triangles, added.triangles + len(self.vertices)]).astype(np.int32),
            material=np.concatenate([self.material, np.full(m, int(material))]),
            corner_uv=np.concatenate([self.corner_uv, np.zeros((m, 3, 2), np.float32)]),
            **own,
        )


@dataclass(frozen=True)
class Person:
    """One identity's geometry that all expressions share."""

    identity: Identity
    neutral: Array  # (19158, 3) base vertices at rest
    layout: hair.HairLayout
    shirt: Array  # (n_body,) metres that the shirt stands off the body
    glasses: mesh.TriangleMesh | None


@dataclass
class GBuffer:
    """Per covered sample (n of them, at flat indices `pixels` of a resolution x resolution grid), in world coordinates."""

    resolution: int
    pixels: Array  # (n,)
    position: Array  # (n, 3)
    normal: Array  # (n, 3), towards the camera; the wrinkles are added to it later
    canonical: Array  # (n, 3)
    uv: Array  # (n, 2)
    material: Array  # (n,)
    cover: Array  # (n,)
    ear: Array  # (n,)
    hair_tangent: Array  # (n, 3) along strands, zero where there are none
    hair_shade: Array  # (n,)
    to_camera: Array  # (n, 3)
    lash: Array  # (resolution^2,) opacity of the eyelashes
    eye_centres: Array  # (2, 3), the image's left one first
    rotation: Array  # (3, 3) of the head
    sample_size: float  # metres
    scene: RayScene  # for shadow rays

    def is_material(self, *materials: Material) -> Array:
        return np.isin(self.material, [int(material) for material in materials])

    def image(self, values: Array, missing: float = 0.0) -> Array:
        """Values (n, ...) of the samples as an image (N, N, ...)."""
        image = np.full((self.resolution**2, *values.shape[1:]), missing, values.dtype)
        image[self.pixels] = values
        return image.reshape(self.resolution, self.resolution, *values.shape[1:])


def build_gbuffer(
    head: Head, person: Person, base_vertices: Array, pose: Pose, camera: Camera, resolution: int, realism: Realism = FULL
) -> GBuffer:
    """Casts one ray a sample at the face with base vertices (19158, 3)."""
    scene_mesh = _build_scene(head, person, base_vertices, pose, realism)
    origins, directions = camera.rays(resolution)
    scene = RayScene(scene_mesh.vertices, scene_mesh.triangles)
    hits = scene.first_hits(origins, directions)

    # Interpolate position and normal over the triangles hit; normals face the camera.
    pixels = np.flatnonzero(hits.found)
    triangle = hits.triangle[pixels]
    corners = scene_mesh.triangles[triangle]
    weights = hits.weights(pixels)
    position = mesh.interpolate(scene_mesh.vertices, corners, weights)
    to_camera = -directions[pixels]
    if realism.facets:
        normal = facet_normals(scene_mesh.vertices, corners)
    else:
        normal = normalize(mesh.interpolate(scene_mesh.normals, corners, weights))
    normal[dot(normal, to_camera) < 0] *= -1
    return GBuffer(
        resolution=resolution,
        pixels=pixels,
        position=position,
        normal=normal,
        canonical=mesh.interpolate(scene_mesh.canonical, corners, weights),
        uv=(scene_mesh.corner_uv[triangle] * weights[:, :, None]).sum(axis=1),
        material=scene_mesh.material[triangle],
        cover=mesh.interpolate(scene_mesh.cover[:, None], corners, weights)[:, 0],
        ear=mesh.interpolate(scene_mesh.ear[:, None], corners, weights)[:, 0],
        hair_tangent=mesh.interpolate(scene_mesh.hair_tangent, corners, weights),
        hair_shade=scene_mesh.hair_shade[corners[:, 0]],
        to_camera=to_camera,
        lash=_cast_lashes(head, person.identity, base_vertices, pose, origins, directions, hits),
        eye_centres=pose.apply(head.eye_centres(base_vertices)),
        rotation=pose.rotation,
        sample_size=camera.height / resolution,
        scene=scene,
    )


def _build_scene(head: Head, person: Person, base_vertices: Array, pose: Pose, realism: Realism) -> SceneMesh:
    """Everything opaque, posed."""
    solid, n_body = head.solid, head.n_body
    vertices = head.solid_vertices(base_vertices)
    normals = mesh.vertex_normals(vertices, solid.triangles, solid.accumulate)
    # Hair cap and shirt stand off the body along its normals.
    vertices[:n_body] += normals[:n_body] * (person.layout.cap + person.shirt)[:, None]
    if realism.cell:
        vertices[:n_body] = clustered(vertices[:n_body], clusters(solid.canonical[:n_body], realism.cell))
    normals = mesh.vertex_normals(vertices, solid.triangles, solid.accumulate)
    if realism.cell:
        normals[:n_body] = clustered(normals[:n_body], clusters(solid.canonical[:n_body], realism.cell))

    # Pose the solid parts, then add strands and glasses.
    n_rest = len(vertices) - n_body
    scene = SceneMesh(
        vertices=pose.apply(vertices),
        normals=pose.turn(normals),
        canonical=solid.canonical,
        cover=np.concatenate([person.layout.cover, np.zeros(n_rest)]).astype(np.float32),
        ear=np.concatenate([head.ear, np.zeros(n_rest)]).astype(np.float32),
        hair_tangent=np.zeros_like(vertices),
        hair_shade=np.ones(len(vertices), np.float32),
        triangles=solid.triangles,
        material=solid.part_of_triangle,
        corner_uv=solid.corner_uv,
    )
    if realism.strands:
        scene = scene.with_hair(person.layout.ribbons, pose, head.anchors.eyes)
    if person.glasses is not None:
        posed = mesh.TriangleMesh(pose.apply(person.glasses.vertices), person.glasses.triangles)
        scene = scene.with_object(posed, Material.GLASSES)
    return scene


def _cast_lashes(
    head: Head,
    identity: Identity,
    base_vertices: Array,
    pose: Pose,
    origins: Array,
    directions: Array,
    hits: Hits,
) -> Array:
    """Opacity (rays,) of the lashes: their strips with a pattern of hairs, denser on the upper lid."""
    # The strips of both lids, a little towards the camera.
    parts = [
        mesh.TriangleMesh(pose.apply(head.part_vertices(name, base_vertices)), head.parts[name].triangles)
        for name in LASH_PARTS
    ]
    lashes = mesh.join(parts)
    lashes.vertices[:, 1] -= _LASH_OFFSET
    canonical = np.concatenate([head.parts[name].canonical for name in LASH_PARTS])
    # Lashes count where they lie before the face, or before the backdrop.
    over = RayScene(lashes.vertices, lashes.triangles).first_hits(origins, directions)
    rays = np.flatnonzero(over.found & ((over.distance < hits.distance + _LASH_REACH) | ~hits.found))
    opacity = np.zeros(len(origins), np.float32)
    if len(rays):
        at = mesh.interpolate(canonical, lashes.triangles[over.triangle[rays]], over.weights(rays))
        hairs = 0.55 + 0.45 * np.sin(np.abs(at[:, 0]) * 4200 + 6 * noise(at, 300, identity.seed))
        on_upper_lid = at[:, 2] > head.anchors.eyes[2] - 0.002
        opacity[rays] = np.clip(identity.eyes.lashes * hairs * (0.12 + 0.75 * on_upper_lid), 0, 1)
    return opacity


# Ray casting with Embree (the only file that imports embreex).


@dataclass(frozen=True)
class Hits:
    """First hits of n rays. `triangle` is -1 where a ray met nothing; the hit is (1 - u - v) a + u b + v c."""

    triangle: Array  # (n,) int64
    u: Array  # (n,) float32
    v: Array  # (n,) float32
    distance: Array  # (n,) float32, in units of the ray's direction

    @property
    def found(self) -> Array:
        return self.triangle >= 0

    def weights(self, rays: Array | slice) -> Array:
        """Weights (k, 3) of the corners of the triangles that some rays hit."""
        u, v = self.u[rays], self.v[rays]
        return np.stack([1 - u - v, u, v], axis=1)


class RayScene:
    """Triangles that rays can be cast against."""

    def __init__(self, vertices: Array, triangles: Array) -> None:
        """Args: vertices (n, 3), triangles (m, 3) of vertex numbers. Raises LeganError when embreex is not installed."""
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise LeganError('rendering needs embreex: pip install "legan[render]"') from error
        self._scene = EmbreeScene()
        # Embree reads float32 and int32 only, and the mesh must outlive the scene
        self._mesh = TriangleMesh(self._scene, vertices.astype(np.float32), triangles.astype(np.int32))

    def first_hits(self, origins: Array, directions: Array) -> Hits:
        """Nearest triangle along each of n rays; both arguments (n, 3)."""
        found = self._scene.run(_rays(origins), _rays(directions), query="INTERSECT", output=True)
        return Hits(
            triangle=found["primID"].astype(np.int64),
            u=np.array(found["u"]),
            v=np.array(found["v"]),
            distance=np.array(found["tfar"]),
        )

    def visible(self, origins: Array, directions: Array) -> Array:
        """True (n,) where nothing lies along the ray; cheaper than `first_hits`."""
        return self._scene.run(_rays(origins), _rays(directions), query="OCCLUDED") < 0  # Embree: -1 is a miss


def _rays(vectors: Array) -> Array:
    return np.ascontiguousarray(vectors, dtype=np.float32)
