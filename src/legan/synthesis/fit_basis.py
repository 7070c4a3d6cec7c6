"""A linear model of heads for fitting: principal shapes of the drawn people, and the facial actions.

The shapes are the principal components of heads at rest that `identity` draws (a "morphable model": Blanz and Vetter, SIGGRAPH
1999), each scaled to its standard deviation, so that a person is a vector of about unit normal numbers. They are computed whenever
a fitter is made, in about three seconds, and stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from legan.synthesis.expressions import ACTIONS, action_names, usual_actions
from legan.synthesis.head import Head
from legan.synthesis.identity import draw_identity
from legan.synthesis.landmarks import Landmarks
from legan.synthesis.vectors import Array, smoothstep

N_SHAPES = 60
_N_PEOPLE = 300  # drawn for the components; more change little
_BACK_OF_HEAD = 0.2  # weight of what photos do not show
# Facial actions that 68 points can tell apart, beyond those of the six expressions.
_MORE_ACTIONS = ("mouthPucker", "mouthLeft", "mouthRight", "jawLeft", "jawRight", "mouthRollLower", "mouthRollUpper")


@dataclass(frozen=True)
class FitBasis:
    """The linear head.

    With shape numbers s (k,) and action numbers a (m,): base vertices `mean + s @ shapes` at the vertices `used`, plus actions.
    """

    mean: Array  # (19158, 3) float32
    used: Array  # (n,) base vertices that the shapes move
    shapes: Array  # (k, n, 3) float32
    actions: tuple[str, ...]  # m names
    landmarks: Array  # (68, 3) of the mean
    landmarks_by_shape: Array  # (k, 68, 3)
    landmarks_by_action: Array  # (m, 68, 3)

    def neutral(self, shape: Array) -> Array:
        """Base vertices (19158, 3) float32 of the face at rest with shape numbers (k,)."""
        vertices = self.mean.copy()
        vertices[self.used] += np.tensordot(shape.astype(np.float32), self.shapes, 1)
        return vertices

    def points(self, shape: Array, actions: Array) -> Array:
        """Landmarks (68, 3)."""
        return (
            self.landmarks
            + np.tensordot(shape, self.landmarks_by_shape, 1)
            + np.tensordot(actions, self.landmarks_by_action, 1)
        )

    def usual(self, expression: str | None) -> tuple[Array, Array]:
        """Usual action numbers (m,) of an expression and their spread (m,); None: of a face that may do anything."""
        if expression is None:
            means = [usual_actions(name) for name in ACTIONS]
            typical = np.array([[mean.get(name, 0.0) for name in self.actions] for mean in means])
            return 0.5 * typical[:2].mean(axis=0), np.maximum(0.6 * typical.max(axis=0), 0.2)
        typical_one = np.array([usual_actions(expression).get(name, 0.0) for name in self.actions])
        return typical_one, 0.15 + 0.35 * typical_one


def build_basis(head: Head, landmarks: Landmarks) -> FitBasis:
    """Draws people and takes their principal shapes."""
    people = [draw_identity(seed).shape for seed in range(_N_PEOPLE)]
    drawn = head.rest_shapes([p.phenotype for p in people], [p.local_changes for p in people])  # (people, n, 3)
    middle = drawn.mean(axis=0)
    weights = _visibility(head)
    spread = (drawn - middle) * np.sqrt(weights)[:, None]
    flat = spread.reshape(len(people), -1)
    # principal directions as mixtures of people: they carry over to the unweighted vertices
    _, vectors = np.linalg.eigh(flat @ flat.T)
    mixtures = vectors[:, ::-1][:, :N_SHAPES] / np.sqrt(len(people))
    signs = np.sign(mixtures[np.abs(mixtures).argmax(axis=0), np.arange(N_SHAPES)])  # eigenvectors have no sign of their own
    shapes = np.tensordot((mixtures * signs).T, drawn - middle, 1)
    mean = head.canonical_base.copy()
    mean[head.used] = middle
    names = action_names() + _MORE_ACTIONS
    return FitBasis(
        mean=mean,
        used=head.used,
        shapes=shapes.astype(np.float32),
        actions=names,
        landmarks=landmarks.on_face(mean).astype(np.float64),
        landmarks_by_shape=np.stack([landmarks.of_offsets(head.used, shape) for shape in shapes]).astype(np.float64),
        landmarks_by_action=np.stack([landmarks.of_offsets(*head.actions[name]) for name in names]).astype(np.float64),
    )


def _visibility(head: Head) -> Array:
    """Weight (n,) of the used vertices: 1 on the face, less on the back of the head and the neck."""
    offset = head.canonical_base[head.used] - head.anchors.eyes
    front = smoothstep(0.09, 0.03, offset[:, 1]) * smoothstep(-0.18, -0.13, offset[:, 2])
    return _BACK_OF_HEAD + (1 - _BACK_OF_HEAD) * front
