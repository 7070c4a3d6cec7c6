"""Subdivision, normals and tubes, against shapes whose answer is known."""

import numpy as np
import pytest

from legan_faces3d.head import mesh

CUBE_VERTICES = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
GRID_VERTICES = np.array([[x, y, 0] for y in range(3) for x in range(3)], float)
GRID_FACES = np.array([[0, 1, 4, 3], [1, 2, 5, 4], [3, 4, 7, 6], [4, 5, 8, 7]])


def test_catmull_clark_moves_a_cube_as_the_paper_says():
    matrix, faces = mesh.catmull_clark(CUBE_FACES, 8)
    vertices = matrix @ CUBE_VERTICES
    assert vertices.shape == (8 + 12 + 6, 3) and faces.shape == (24, 4)
    np.testing.assert_allclose(vertices[:8], CUBE_VERTICES * 5 / 9, atol=1e-12)
    edge_points = vertices[8:20]
    np.testing.assert_allclose(np.sort(np.abs(edge_points), axis=1), np.tile([0, 0.75, 0.75], (12, 1)), atol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(vertices[20:]), axis=1), np.tile([0, 0, 1], (6, 1)), atol=1e-12)


def test_catmull_clark_keeps_a_flat_sheet_flat_and_its_border_straight():
    matrix, faces = mesh.catmull_clark(GRID_FACES, 9)
    vertices = matrix @ GRID_VERTICES
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    assert np.abs(vertices[:, 2]).max() == 0
    np.testing.assert_allclose(vertices[1], [1, 0, 0])  # middle of a straight border
    assert len(np.unique(faces)) == len(vertices) == 25


def test_twice_subdivided_cube_is_closed_and_keeps_its_orientation():
    vertices, faces = CUBE_VERTICES, CUBE_FACES
    for _ in range(2):
        matrix, faces = mesh.catmull_clark(faces, len(vertices))
        vertices = matrix @ vertices
    triangles = mesh.triangulate(faces)
    normals = mesh.vertex_normals(vertices, triangles)
    outward = (normals * vertices).sum(axis=1)
    assert (outward > 0).all() or (outward < 0).all()
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_corner_values_follow_the_children_of_each_face():
    matrix, faces = mesh.catmull_clark(GRID_FACES, 9)
    corners = mesh.subdivide_corners(GRID_VERTICES[GRID_FACES][..., :2])
    inside = (matrix @ GRID_VERTICES)[faces][..., :2]
    # positions and linear corner values agree where Catmull-Clark does not round the sheet's corners off
    away_from_corners = np.abs(np.abs(inside - 1).min(axis=-1)) < 0.6
    np.testing.assert_allclose(corners[away_from_corners], inside[away_from_corners], atol=0.13)
    np.testing.assert_allclose(corners.mean(axis=(0, 1)), [1, 1])


def test_read_obj_reads_groups_and_repeats_the_last_corner_of_a_triangle(tmp_path):
    path = tmp_path / "two.obj"
    path.write_text(
        "# comment\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\n"
        "g body\nf 1/1 2/2 3/3 4/1\n\ng helper\nf 1/1 2/2 3/3\n"
    )
    obj = mesh.read_obj(path)
    assert obj.n_vertices == 4 and obj.texcoords.shape == (3, 2)
    np.testing.assert_array_equal(obj.faces, [[0, 1, 2, 3], [0, 1, 2, 2]])
    np.testing.assert_array_equal(obj.face_texcoords, [[0, 1, 2, 0], [0, 1, 2, 2]])
    assert list(obj.face_groups) == ["body", "helper"]


@pytest.mark.parametrize("closed", [True, False])
def test_a_tube_keeps_its_distance_from_the_path(closed):
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    path = np.stack([np.cos(angle), np.zeros(12), np.sin(angle)], axis=1)
    bar = mesh.tube(path, 0.1, closed)
    distance = np.linalg.norm(bar.vertices.reshape(12, 6, 3) - path[:, None], axis=-1)
    np.testing.assert_allclose(distance, 0.1, atol=1e-6)
    assert len(bar.triangles) == (12 if closed else 11) * 12
    assert bar.triangles.max() == len(bar.vertices) - 1


def test_joined_meshes_keep_their_triangles():
    first = mesh.TriangleMesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    second = mesh.TriangleMesh(np.ones((4, 3)), np.array([[0, 1, 3]]))
    both = mesh.join([first, second, first])
    np.testing.assert_array_equal(both.triangles, [[0, 1, 2], [3, 4, 6], [7, 8, 9]])
    assert both.vertices.shape == (10, 3)
