"""An unconditional model that learns in a minute: active appearance (Cootes, Edwards and Taylor, ECCV 1998).

Faces are warped to the mean shape; principal components of landmarks and of these images (eigenfaces) are sampled together from
one normal distribution, and the sampled image is warped to the sampled shape. A temperature scales the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.core.errors import DataError
from legan.core.geometry import Array
from legan_faces3d.fakes.warps_and_swaps import warp

_MAX_SCORE = 2.6  # standard deviations at temperature 1
_N_SHAPE, _N_TEXTURE = 20, 90
_MIN_FACES = 8


@dataclass(frozen=True)
class FaceModel:
    """Means, components and the joint spread of their scores."""

    mean_points: Array  # (136,) x0, y0, x1, ... in pixels
    point_axes: Array  # (k, 136)
    mean_texture: Array  # (size * size * 3,) in 0..255
    texture_axes: Array  # (m, size * size * 3)
    spread: Array  # (k + m, k + m): standard normal numbers -> scores

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return round((len(self.mean_texture) / 3) ** 0.5)


def fit_model(images: Array, points: Array, n_shape: int = _N_SHAPE, n_texture: int = _N_TEXTURE) -> FaceModel:
    """Learn from aligned crops.

    Args:
        images: RGB uint8 (n, size, size, 3).
        points: landmarks (n, 68, 2) in pixels.
        n_shape, n_texture: components at most.

    Raises:
        DataError: too few faces.
    """
    if len(images) < _MIN_FACES:
        raise DataError(f"{len(images)} faces are too few to learn a face model: give at least {_MIN_FACES}")
    mean = points.mean(axis=0)
    shapes = points.reshape(len(points), -1).astype(np.float64)
    textures = np.stack([warp(image, own, mean).ravel() for image, own in zip(images, points, strict=True)]).astype(np.float32)
    point_axes, point_scores = _principal(shapes - shapes.mean(axis=0), n_shape)
    mean_texture = textures.mean(axis=0)
    texture_axes, texture_scores = _principal(textures - mean_texture, n_texture)
    scores = np.concatenate([point_scores, texture_scores], axis=1)
    values, axes = np.linalg.eigh(np.cov(scores.T))
    spread = axes * np.sqrt(np.maximum(values, 0))
    return FaceModel(
        *(part.astype(np.float32) for part in (shapes.mean(axis=0), point_axes, mean_texture, texture_axes, spread))
    )


def _principal(centred: Array, n: int) -> tuple[Array, Array]:
    """Components (k, d) and scores (n, k) of rows (n, d) that have mean 0, by the smaller of the two covariance matrices."""
    n = min(n, len(centred) - 1, centred.shape[1])
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1][:n], vectors[:, ::-1][:, :n]
    axes = (vectors / np.sqrt(np.maximum(values, 1e-9))).T @ centred
    return axes, centred @ axes.T


def sample_face(
    model: FaceModel, random: np.random.Generator, temperature: float, n_texture: int = 0, bend: bool = True
) -> Array:
    """Draw a face.

    Args:
        model: as `fit_model` gives it.
        random: of the scores.
        temperature: 0 gives the mean face, 1 the spread of the data.
        n_texture: eigenfaces to use; 0 is all.
        bend: warp to the sampled shape; without it every face has the mean one.

    Returns:
        RGB uint8 (size, size, 3).
    """
    drawn = np.clip(random.standard_normal(len(model.spread)), -_MAX_SCORE, _MAX_SCORE)
    scores = temperature * (model.spread @ drawn)
    n_shape = len(model.point_axes)
    texture_scores = scores[n_shape:]
    if n_texture:
        texture_scores = np.where(np.arange(len(texture_scores)) < n_texture, texture_scores, 0)
    size = model.size
    pixels = model.mean_texture + texture_scores.astype(np.float32) @ model.texture_axes
    texture = np.clip(pixels, 0, 255).round().astype(np.uint8).reshape(size, size, 3)
    if not bend:
        return texture
    mean = model.mean_points.reshape(-1, 2)
    points = (model.mean_points + scores[:n_shape] @ model.point_axes).reshape(-1, 2)
    return warp(texture, mean, points)


def morph(images: Array, points: Array, weights: Array) -> Array:
    """The average of some faces, in shape and in colour.

    Args:
        images: RGB uint8 (k, size, size, 3).
        points: landmarks (k, 68, 2).
        weights: (k,), summing to 1.
    """
    goal = np.einsum("k,kij->ij", weights, points)
    moved = [weight * warp(image, own, goal) for image, own, weight in zip(images, points, weights, strict=True)]
    return np.clip(np.sum(moved, axis=0), 0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class SampleRecipe:
    """How a sample is drawn: from the model at a temperature, or as the morph of `n_faces` real ones."""

    temperature: float = 1.0
    n_texture: int = 0
    bend: bool = True
    n_faces: int = 0


# Setting -> recipe and fault by design.
SAMPLES: dict[str, tuple[SampleRecipe, float]] = {
    "morph-2": (SampleRecipe(n_faces=2), 0.3),
    "morph-4": (SampleRecipe(n_faces=4), 0.4),
    "eigen-t0.4": (SampleRecipe(0.4), 0.55),
    "eigen-t0.7": (SampleRecipe(0.7), 0.65),
    "eigen-t1.0": (SampleRecipe(1.0), 0.75),
    "eigen-few": (SampleRecipe(1.0, n_texture=12), 0.8),
    "eigen-unbent": (SampleRecipe(0.8, bend=False), 0.85),
    "eigen-t1.5": (SampleRecipe(1.5), 1.0),
}
