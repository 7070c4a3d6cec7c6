"""A bare fitted face as one camera sees it, and where each of its points stands in an image of the same face doing something else.

The mesh is the same for all expressions, so that a point seen with one expression (a triangle and the weights of its corners) is
found in the other by those corners: dense correspondence without any search in the images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from legan.core.geometry import Array, dot, normalize
from legan_faces3d.head import mesh
from legan_faces3d.head.head import BODY, Head
from legan_faces3d.render.camera import Camera, Pose
from legan_faces3d.render.gbuffer import GBuffer, Hits, Material, RayScene

FRONT_DEPTH, FRONT_CHIN = 0.05, -0.133  # metres from the eyes, canonical: ears and neck lie behind and below
_FRONT_MARGIN = 0.015  # metres round it that are seen too: light and motion fade out there
_PIERCED = 0.008  # metres: skin that lies nearer behind a tooth has been pierced by it
_MARGIN = 1e-4  # of a ray's slope, far less than a pixel; covers rounding
_HIDDEN_BEHIND = 0.0015  # metres of skin between a point and what is seen in its place: then it is hidden


@dataclass(frozen=True)
class FaceView:
    """What a camera sees of the front of a face without hair, lashes and glasses: nothing at ears, neck and the back of the head."""

    gbuffer: GBuffer
    corners: Array  # (n, 3) vertices of the solid mesh round each sample
    weights: Array  # (n, 3) of these corners
    vertices: Array  # (v, 3) of the solid mesh, posed
    normals: Array  # (v, 3)
    camera: Camera

    @property
    def resolution(self) -> int:
        return self.gbuffer.resolution

    @cached_property
    def number(self) -> Array:
        """(N, N) number of the sample at each pixel, -1 where there is none."""
        numbers = np.full(self.resolution**2, -1)
        numbers[self.gbuffer.pixels] = np.arange(len(self.gbuffer.pixels))
        return numbers.reshape(self.resolution, self.resolution)

    def image(self, values: Array, missing: float = 0.0) -> Array:
        """Values (n, ...) of the samples as an image (N, N, ...)."""
        return self.gbuffer.image(values, missing)

    def of_vertices(self, values: Array) -> Array:
        """Vertex values (v, d) at the samples (n, d)."""
        return mesh.interpolate(values, self.corners, self.weights)


def view_face(head: Head, base_vertices: Array, pose: Pose, camera: Camera, resolution: int) -> FaceView:
    """Casts one ray a pixel at the face with base vertices (19158, 3)."""
    solid = head.solid
    unposed = head.solid_vertices(base_vertices)
    vertices = pose.apply(unposed)
    normals = pose.turn(mesh.vertex_normals(unposed, solid.triangles, solid.accumulate)).astype(np.float32)
    # Only the front of the head, and only the rays of the pixels round it.
    front = _front(head)
    box = _box(camera.project(vertices[front.vertices], resolution), resolution)
    origins, directions = camera.rays(resolution, box)
    scene = RayScene(vertices, solid.triangles[front.triangles])
    hits = scene.first_hits(origins, directions)
    hits = replace(hits, triangle=np.where(hits.found, front.triangles[hits.triangle], -1))
    hits = _without_pierced(head, vertices, hits, origins, directions)
    seen = np.flatnonzero(hits.found)
    pixels = np.arange(resolution**2).reshape(resolution, resolution)[box].ravel()[seen]
    triangle = hits.triangle[seen]
    corners = solid.triangles[triangle]
    weights = hits.weights(seen)
    # What vertices know, at the samples; together, since fetching them takes the time.
    ear = np.concatenate([head.ear, np.zeros(len(vertices) - head.n_body)]).astype(np.float32)
    known = np.concatenate([vertices, normals, solid.canonical, ear[:, None]], axis=1)
    position, normal, canonical, ear = np.split(mesh.interpolate(known, corners, weights), [3, 6, 9], axis=1)
    normal = normalize(normal)
    to_camera = -directions[seen]
    normal[dot(normal, to_camera) < 0] *= -1
    n = len(pixels)
    gbuffer = GBuffer(
        resolution=resolution,
        pixels=pixels,
        position=position,
        normal=normal.astype(np.float32),
        canonical=canonical,
        uv=np.einsum("nij,ni->nj", solid.corner_uv[triangle], weights),
        material=solid.part_of_triangle[triangle],
        cover=np.full(n, -1, np.float32),
        ear=ear[:, 0],
        hair_tangent=np.zeros((n, 3), np.float32),
        hair_shade=np.ones(n, np.float32),
        to_camera=to_camera,
        lash=np.zeros(resolution**2, np.float32),
        eye_centres=pose.apply(head.eye_centres(base_vertices)),
        rotation=pose.rotation,
        sample_size=camera.height / resolution,
        scene=scene,
    )
    return FaceView(gbuffer, corners, weights, vertices, normals, camera)


class _Front(NamedTuple):
    """The front of a head, by numbers of its solid mesh."""

    triangles: Array  # with all of eyes and mouth
    vertices: Array  # of the skin alone


@lru_cache(maxsize=1)
def _front(head: Head) -> _Front:
    solid = head.solid
    local = solid.canonical - head.anchors.eyes
    near = (local[:, 1] < FRONT_DEPTH + _FRONT_MARGIN) & (local[:, 2] > FRONT_CHIN - _FRONT_MARGIN)
    skin = solid.part_of_triangle == int(Material.BODY)
    inner = head.masks.mouth(solid.corner_uv[:, 0]) > 0.5
    chosen = np.flatnonzero(near[solid.triangles].any(axis=1) | inner | ~skin)
    return _Front(chosen, np.flatnonzero(near[: head.n_body]))


def _box(points: Array, resolution: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that hold points (n, 2), those of one edge more."""
    (left, top), (right, bottom) = np.clip([points.min(axis=0) - 1, points.max(axis=0) + 2], 0, resolution).astype(int)
    return slice(top, bottom), slice(left, right)


def _without_pierced(head: Head, vertices: Array, hits: Hits, origins: Array, directions: Array) -> Hits:
    """The hits, with skin where teeth or tongue pierce it: a wide jaw does not always fit behind narrow cheeks."""
    inner = np.flatnonzero(hits.found & (head.solid.part_of_triangle[hits.triangle] >= int(Material.UPPER_TEETH)))
    if not len(inner):
        return hits
    body = head.parts[BODY]
    near = _near_rays(vertices[: head.n_body], body.triangles, origins[inner], directions[inner])
    if not len(near):
        return hits
    behind = RayScene(vertices[: head.n_body], body.triangles[near]).first_hits(origins[inner], directions[inner])
    weights = behind.weights(slice(None))
    uv = np.einsum("nij,ni->nj", body.corner_uv[near[behind.triangle]], weights)
    pierced = behind.found & (head.masks.mouth(uv) < 0.3) & (behind.distance - hits.distance[inner] < _PIERCED)
    rays = inner[pierced]
    triangle, u, v, distance = hits.triangle.copy(), hits.u.copy(), hits.v.copy(), hits.distance.copy()
    triangle[rays], u[rays], v[rays] = near[behind.triangle[pierced]], behind.u[pierced], behind.v[pierced]
    distance[rays] = behind.distance[pierced]
    return Hits(triangle, u, v, distance)


def _near_rays(vertices: Array, triangles: Array, origins: Array, directions: Array) -> Array:
    """Numbers of the triangles that a camera's rays may hit, so that a scene of few can be built: those within the rays' rectangle."""
    slopes = directions[:, [0, 2]] / directions[:, [1]]
    offset = vertices - origins[0]
    x, z = offset[:, 0] / offset[:, 1], offset[:, 2] / offset[:, 1]
    (left, low), (right, high) = slopes.min(0) - _MARGIN, slopes.max(0) + _MARGIN
    # A triangle is outside where all three corners lie beyond one side (Cohen and Sutherland's codes).
    code = (x < left) | (x > right).astype(np.uint8) << 1 | (z < low).astype(np.uint8) << 2 | (z > high).astype(np.uint8) << 3
    return np.flatnonzero((code[triangles[:, 0]] & code[triangles[:, 1]] & code[triangles[:, 2]]) == 0)


@dataclass(frozen=True)
class Correspondence:
    """Where the samples of one view stand in another."""

    places: Array  # (n, 2) pixels of the other view, centres at +0.5
    hidden: Array  # (n,) bool: the other view does not see them


def places_in(view: FaceView, other: FaceView) -> Correspondence:
    """Finds the samples of `view` in `other`, a view of the same head with the same or another expression."""
    points = view.of_vertices(other.vertices)
    places = other.camera.project(points, other.resolution)
    columns, rows = np.clip(np.floor(places).astype(int), 0, other.resolution - 1).T
    found = other.number[rows, columns]
    # what is seen there must be the same piece of the head, both in space and on the canonical head
    apart = np.linalg.norm(other.gbuffer.canonical[found] - view.gbuffer.canonical, axis=1)
    behind = points[:, 1] - other.gbuffer.position[found, 1]
    hidden = (found < 0) | (apart > 3 * _HIDDEN_BEHIND) | (behind > _HIDDEN_BEHIND)
    return Correspondence(places.astype(np.float32), hidden)
