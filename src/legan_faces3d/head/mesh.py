"""Meshes: reading Wavefront files, Catmull-Clark subdivision as one sparse matrix, normals.

Subdivision follows Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes" (1978), with the
usual curve rule on open edges. Being linear in the vertices it is built once, as a matrix, and then costs one product per face.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from legan.core.geometry import Array, normalize


@dataclass(frozen=True)
class ObjMesh:
    """Faces of a Wavefront file, all with four corners (a triangle repeats its last one)."""

    n_vertices: int
    texcoords: Array  # (t, 2) float32
    faces: Array  # (f, 4) vertex numbers
    face_texcoords: Array  # (f, 4) numbers into texcoords
    face_groups: Array  # (f,) str: the group each face belongs to


def read_obj(path: Path) -> ObjMesh:
    """Reads faces, texture coordinates and groups; the vertices' positions are left to the head model."""
    texcoords: list[list[float]] = []
    faces: list[list[int]] = []
    face_texcoords: list[list[int]] = []
    face_groups: list[str] = []
    group, n_vertices = "", 0
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        match words[:1]:
            case ["v"]:
                n_vertices += 1
            case ["vt"]:
                texcoords.append([float(words[1]), float(words[2])])
            case ["g"]:
                group = words[1]
            case ["f"]:
                corners = [word.split("/") for word in words[1:]]
                corners += corners[-1:] * (4 - len(corners))
                faces.append([int(corner[0]) - 1 for corner in corners])
                face_texcoords.append([int(corner[1]) - 1 for corner in corners])
                face_groups.append(group)
    return ObjMesh(
        n_vertices, np.array(texcoords, np.float32), np.array(faces), np.array(face_texcoords), np.array(face_groups)
    )


def catmull_clark(faces: Array, n_vertices: int) -> tuple[sparse.csr_matrix, Array]:
    """One Catmull-Clark step.

    Args:
        faces: (f, 4) vertex numbers.
        n_vertices: number of vertices of the mesh.

    Returns:
        A matrix (n', n_vertices) that maps old to new vertices (moved vertices, then edge points, then face points), and the new
        faces (4 f, 4); face j's children are j, j + f, j + 2 f and j + 3 f, one per corner.
    """
    n_faces = len(faces)
    edge_list = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 3]], faces[:, [3, 0]]])
    edges, edge_of_side = np.unique(np.sort(edge_list, axis=1), axis=0, return_inverse=True)
    edge_of_side = edge_of_side.ravel()
    n_edges = len(edges)
    n_faces_of_edge = np.bincount(edge_of_side, minlength=n_edges)
    is_open = n_faces_of_edge != 2

    face_points = sparse.csr_matrix(
        (np.full(n_faces * 4, 0.25), (np.repeat(np.arange(n_faces), 4), faces.ravel())), (n_faces, n_vertices)
    )
    midpoints = sparse.csr_matrix(
        (np.full(n_edges * 2, 0.5), (np.repeat(np.arange(n_edges), 2), edges.ravel())), (n_edges, n_vertices)
    )
    faces_at_edge = sparse.csr_matrix(
        (1 / n_faces_of_edge[edge_of_side], (edge_of_side, np.tile(np.arange(n_faces), 4))), (n_edges, n_faces)
    )
    # an inner edge's point is the mean of its midpoint and its two face points; an open edge keeps the midpoint
    edge_points = sparse.diags(is_open * 0.5 + 0.5) @ midpoints + sparse.diags(~is_open * 0.5) @ (faces_at_edge @ face_points)
    moved = _moved_vertices(faces, edges, is_open, face_points, midpoints)
    matrix = sparse.vstack([moved, edge_points, face_points]).tocsr()

    edge_number = edge_of_side.reshape(4, n_faces).T + n_vertices
    face_number = np.arange(n_faces) + n_vertices + n_edges
    corners = [np.stack([faces[:, i], edge_number[:, i], face_number, edge_number[:, (i + 3) % 4]], axis=1) for i in range(4)]
    return matrix, np.concatenate(corners)


def _moved_vertices(
    faces: Array, edges: Array, is_open: Array, face_points: sparse.csr_matrix, midpoints: sparse.csr_matrix
) -> sparse.csr_matrix:
    """New places of the old vertices: (Q + 2 R + (k - 3) S) / k inside, half midpoints half self on open edges."""
    n_faces, n_vertices = face_points.shape
    n_edges = len(edges)
    edges_at_vertex = sparse.csr_matrix(
        (np.ones(n_edges * 2), (edges.ravel(), np.repeat(np.arange(n_edges), 2))), (n_vertices, n_edges)
    )
    faces_at_vertex = sparse.csr_matrix(
        (np.ones(n_faces * 4), (faces.ravel(), np.repeat(np.arange(n_faces), 4))), (n_vertices, n_faces)
    )
    valence = np.maximum(_row_sums(edges_at_vertex), 1)
    mean_face_point = sparse.diags(1 / np.maximum(_row_sums(faces_at_vertex), 1)) @ faces_at_vertex @ face_points
    mean_midpoint = sparse.diags(1 / valence) @ edges_at_vertex @ midpoints
    inner = (
        sparse.diags(1 / valence) @ mean_face_point
        + sparse.diags(2 / valence) @ mean_midpoint
        + sparse.diags((valence - 3) / valence)
    )
    open_edges_at_vertex = edges_at_vertex @ sparse.diags(is_open.astype(float))
    n_open = np.maximum(_row_sums(open_edges_at_vertex), 1)
    border = sparse.diags(0.5 / n_open) @ open_edges_at_vertex @ midpoints + sparse.eye(n_vertices) * 0.5
    on_border = np.zeros(n_vertices, bool)
    on_border[edges[is_open].ravel()] = True
    return sparse.diags((~on_border).astype(float)) @ inner + sparse.diags(on_border.astype(float)) @ border


def _row_sums(matrix: sparse.csr_matrix) -> Array:
    return np.asarray(matrix.sum(axis=1)).ravel()


def subdivide_corners(corner_values: Array) -> Array:
    """Values at face corners (f, 4, d) carried to the children of `catmull_clark`'s faces (4 f, 4, d), linearly.

    Texture coordinates live at corners: per vertex they would be averaged over seams, which leaves a pale sliver at the lips.
    """
    centre = corner_values.mean(axis=1)
    middle = [(corner_values[:, i] + corner_values[:, (i + 1) % 4]) / 2 for i in range(4)]
    children = [np.stack([corner_values[:, i], middle[i], centre, middle[(i + 3) % 4]], axis=1) for i in range(4)]
    return np.concatenate(children)


def triangulate(quads: Array) -> Array:
    """Quads (f, 4, ...) -> triangles (2 f, 3, ...), for vertex numbers as for corner values."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def accumulation_matrix(triangles: Array, n_vertices: int) -> sparse.csr_matrix:
    """(n_vertices, m) matrix that sums a value of each triangle into its three vertices."""
    n_triangles = len(triangles)
    ones = np.ones(3 * n_triangles, np.float32)
    return sparse.csr_matrix((ones, (triangles.T.ravel(), np.tile(np.arange(n_triangles), 3))), (n_vertices, n_triangles))


def vertex_normals(vertices: Array, triangles: Array, accumulate: sparse.csr_matrix | None = None) -> Array:
    """Area-weighted unit normals (n, 3) float32; pass the `accumulation_matrix` where it is at hand."""
    if accumulate is None:
        accumulate = accumulation_matrix(triangles, len(vertices))
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return normalize(accumulate @ np.cross(b - a, c - a)).astype(np.float32)


@dataclass(frozen=True)
class TriangleMesh:
    """Bare triangles, for what is built rather than taken from the head: glasses, strands of hair."""

    vertices: Array  # (n, 3)
    triangles: Array  # (m, 3)


def tube(path: Array, radius: float, closed: bool, n_sides: int = 6) -> TriangleMesh:
    """A round bar along `path` (k, 3); `closed` joins the last point to the first."""
    n_points = len(path)
    tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    if not closed:
        tangent[0], tangent[-1] = path[1] - path[0], path[-1] - path[-2]
    tangent = normalize(tangent)
    # any axis that is not along the tangent gives a frame round the path
    away = np.where(np.abs(tangent[:, 1:2]) > 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    across = normalize(np.cross(tangent, away))
    up = np.cross(tangent, across)
    angle = np.arange(n_sides) * 2 * np.pi / n_sides
    ring = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3)

    triangles = []
    for i in range(n_points if closed else n_points - 1):
        j = (i + 1) % n_points
        for side in range(n_sides):
            following = (side + 1) % n_sides
            a, b = i * n_sides + side, i * n_sides + following
            c, d = j * n_sides + side, j * n_sides + following
            triangles += [(a, b, c), (b, d, c)]
    return TriangleMesh(vertices, np.array(triangles))


def join(meshes: list[TriangleMesh]) -> TriangleMesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return TriangleMesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def interpolate(values: Array, corners: Array, weights: Array) -> Array:
    """Vertex values (v, d) at points given by corners (n, 3) and weights (n, 3): (n, d) float32."""
    blended = values[corners[:, 0]] * weights[:, :1] + values[corners[:, 1]] * weights[:, 1:2]
    return (blended + values[corners[:, 2]] * weights[:, 2:]).astype(np.float32)
