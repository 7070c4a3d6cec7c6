"""The head fitted to the 68 landmarks of a photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from legan.core.geometry import CROP_SIZE, Array, fit_similarity, smoothstep
from legan_faces3d.head.expressions import ACTIONS, action_names, usual_actions
from legan_faces3d.head.head import Head
from legan_faces3d.head.identity import draw_identity
from legan_faces3d.head.landmarks import MIRROR, N_LANDMARKS, Landmarks
from legan_faces3d.render.camera import Camera, Pose, exact_crop_camera, height_of_crop, turned_pose

# Fitting the head to a photo: from the 68 landmarks to pose, shape, facial actions and the face crop.
#
# The crop's camera sees the head as the rendered set does (`camera.exact_crop_camera`); a similarity maps its pixels to the photo's,
# so that the head's roll and the photo's scale are the similarity's. Turn, similarity, shape and actions are solved for together by
# Gauss-Newton steps on a ridge problem (Blanz and Vetter 1999): shape numbers are about unit normal, actions lie round what is usual
# for the expression and between bounds, and landmarks far off count less (Cauchy's weights). What remains is moved by a smooth
# field, a Gaussian process over the face.


MAX_ACTION = 1.3  # actions are linear beyond 1
_N_STEPS = 8
_N_ROUNDS = 4  # of setting actions at their bounds free or fast
_TURN_SPREAD = np.radians([14.0, 9.0])  # of yaw and pitch, standard deviations of the prior
_CAUCHY = 2.5  # in standard deviations of a landmark
_SHAPE_SPREAD = 1.1  # real people vary a little more than the drawn ones
# Standard deviations of landmarks in millimetres: jaw across its outline, brows, bridge and base of the nose, eyes, mouth.
_SIGMA = np.repeat([3.5, 2.0, 1.5, 1.0, 1.1], [17, 10, 9, 12, 20])
_SIGMA_ALONG_JAW = 9.0  # a point of an outline slides along it
# The field that takes up what remains: its reach and size in millimetres.
_FIELD_REACH, _FIELD_SIZE = 15.0, 1.5
_JAW = np.arange(17)
_RIGID = np.r_[27:36, 36:48]  # what hardly moves with an expression, for a first guess


@dataclass(frozen=True)
class HeadFit:
    """The head fitted to one photo.

    Base vertices are in the head's own coordinates (`Head`), at rest and unturned; `with_actions` puts them together. `camera`
    is the crop's; crop pixels have their centres at +0.5.
    """

    neutral: Array  # (19158, 3) float32: base vertices of the face at rest, without `residual`
    actions: dict[str, float]  # facial actions of the photo, by anny's names
    residual: Array  # (19158, 3) float32: metres; what shape and actions could not follow
    pose: Pose  # yaw and pitch only: the crop is upright
    camera: Camera
    size: int  # side of the crop in pixels
    matrix: Array  # (2, 3): photo pixels -> crop pixels, a similarity
    landmarks: Array  # (68, 2) float32: the photo's landmarks in crop pixels
    moves: Array  # (68, 3) metres from the fitted head's landmarks to them, turned as the head is, before `residual`
    yaw: float  # degrees, positive to the image's right
    pitch: float  # degrees, positive downwards
    roll: float  # degrees, clockwise, taken out by `matrix`
    shape: Array  # (k,) shape numbers, in standard deviations

    @property
    def errors(self) -> Array:
        """Length (68,) of `moves` in millimetres."""
        return 1000 * np.linalg.norm(self.moves, axis=1)

    @property
    def rms(self) -> float:
        """Root mean square error in millimetres of all landmarks but the jaw's."""
        return float(np.sqrt(np.mean(self.errors[17:] ** 2)))

    @property
    def pixels_per_mm(self) -> float:
        """Crop pixels to a millimetre at the eyes."""
        return self.size / self.camera.height / 1000

    def vertices(self, head: Head, actions: Mapping[str, float] | None = None) -> Array:
        """Base vertices (19158, 3) with the photo's facial actions, or with others, unturned: `pose.apply` turns them."""
        return head.with_actions(self.neutral, self.actions if actions is None else actions) + self.residual


class HeadFitter:
    """Fits one head model to photos; making it takes about three seconds."""

    def __init__(self, head: Head, landmarks: Landmarks | None = None, size: int = CROP_SIZE) -> None:
        """Args: `size` is the side of the crops in pixels."""
        self.head = head
        self.places = landmarks or Landmarks(head)
        self.size = size
        self.basis = build_basis(head, self.places)
        self._eyes = head.eye_centres(self.basis.mean)
        self.photo_offsets = landmark_offsets()
        self._height = height_of_crop(self._eyes, head.mouth_centre(self.basis.mean))

    def fit(self, points: Array, expression: str | None = None, on_photo: bool = True) -> HeadFit:
        """Fits the head.

        Args:
            points: (68, 2) iBUG landmarks in photo pixels, pixel centres at +0.5.
            expression: what the face is known to do, one of the six; None: unknown.
            on_photo: where photos have their landmarks (`PHOTO_OFFSETS`); False: where `Landmarks` has them, for renders.

        Raises:
            ConditionError: unknown expression.
        """
        offsets = self.photo_offsets if on_photo else np.zeros((N_LANDMARKS, 3))
        basis = replace(self.basis, landmarks=self.basis.landmarks + offsets)
        state = _State.start(basis, np.asarray(points, np.float64), expression, self._eyes, self._height, self.size)
        for _ in range(_N_STEPS):
            state.step()
        return self._result(state, offsets)

    def _result(self, state: _State, offsets: Array) -> HeadFit:
        # The fitted head, its pose and the crop's camera.
        neutral = self.basis.neutral(state.shape)
        actions = {name: float(value) for name, value in zip(self.basis.actions, state.actions, strict=True)}
        fitted = self.head.with_actions(neutral, actions)
        pose = turned_pose(state.turn[0], state.turn[1], 0.0, self._eyes)
        height = height_of_crop(self.head.eye_centres(neutral), self.head.mouth_centre(neutral))
        camera = exact_crop_camera(height, pose.apply(self.head.eye_centres(fitted)))
        # The crop's similarity: photo landmarks to the projected landmarks of the head, without the jaw.
        places = self.places.on_face(fitted) + offsets
        seen = pose.apply(places)
        matrix = fit_similarity(state.points, camera.project(seen, self.size).astype(np.float64), state.weights())
        in_crop = state.points @ matrix[:, :2].T + matrix[:, 2]
        # Errors in the plane of the image, in metres at the depth of each landmark.
        offset = in_crop - camera.project(seen, self.size)  # crop pixels
        metres = camera.height / self.size * (seen[:, 1] - camera.position[1]) / camera.distance
        moves = np.stack([offset[:, 0], np.zeros(N_LANDMARKS), -offset[:, 1]], axis=1) * metres[:, None]
        # What shape and actions leave, as a smooth field over the head.
        residual = np.zeros_like(neutral)
        residual[self.basis.used] = _smooth_field(fitted[self.basis.used], places, moves @ pose.rotation, state.sigma_mm())
        return HeadFit(
            neutral=neutral,
            actions=actions,
            residual=residual,
            pose=pose,
            camera=camera,
            size=self.size,
            matrix=matrix,
            landmarks=in_crop.astype(np.float32),
            moves=moves.astype(np.float32),
            yaw=float(np.degrees(state.turn[0])),
            pitch=float(np.degrees(state.turn[1])),
            roll=float(-np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
            shape=state.shape,
        )


@dataclass
class _State:
    """Where the search stands."""

    basis: FitBasis
    points: Array  # (68, 2) photo pixels
    eyes: Array  # (2, 3) of the mean head, about which it turns
    height: float  # of the crop's frame, kept during the search
    size: int
    usual: Array  # (m,) facial actions to expect ...
    spread: Array  # (m,) ... and how far from them
    turn: Array  # (2,) yaw and pitch, radians
    shape: Array  # (k,)
    actions: Array  # (m,)
    to_photo: Array  # (2, 3): crop pixels -> photo pixels

    @classmethod
    def start(cls, basis: FitBasis, points: Array, expression: str | None, eyes: Array, height: float, size: int) -> _State:
        usual, spread = basis.usual(expression)
        shape, turn = np.zeros(len(basis.shapes)), np.zeros(2)
        state = cls(basis, points, eyes, height, size, usual, spread, turn, shape, usual.copy(), np.eye(2, 3))
        state.to_photo = fit_similarity(state.project(turn)[_RIGID], points[_RIGID])
        return state

    def camera_and_points(self, turn: Array) -> tuple[Camera, Pose, Array]:
        pose = turned_pose(turn[0], turn[1], 0.0, self.eyes)
        camera = exact_crop_camera(self.height, pose.apply(self.eyes))
        return camera, pose, (self.basis.points(self.shape, self.actions) - pose.pivot) @ pose.rotation.T + pose.pivot

    def project(self, turn: Array) -> Array:
        """Fitted landmarks (68, 2) in crop pixels."""
        camera, _, seen = self.camera_and_points(turn)
        return camera.project(seen, self.size).astype(np.float64)

    def in_photo(self, crop_points: Array) -> Array:
        return crop_points @ self.to_photo[:, :2].T + self.to_photo[:, 2]

    def pixels_per_mm(self) -> float:
        """Photo pixels to a millimetre at the eyes."""
        return float(np.hypot(*self.to_photo[:, 0])) * self.size / self.height / 1000

    def sigma_mm(self) -> Array:
        """Standard deviations (68,) after Cauchy's weights."""
        errors = np.linalg.norm(self.points - self.in_photo(self.project(self.turn)), axis=1) / self.pixels_per_mm()
        return _SIGMA * np.sqrt(1 + (errors / (_CAUCHY * _SIGMA)) ** 2)

    def weights(self) -> Array:
        return 1 / self.sigma_mm() ** 2 * np.where(np.arange(N_LANDMARKS) < len(_JAW), 0.0, 1.0)

    def step(self) -> None:
        """One Gauss-Newton step."""
        # Whitened residuals and Jacobian of the landmarks.
        crop_points = self.project(self.turn)
        predicted = self.in_photo(crop_points)
        whiten = self._whitening(predicted)
        jacobian = np.einsum("nij,njk->nik", whiten, self._jacobian(crop_points)).reshape(2 * N_LANDMARKS, -1)
        wanted = np.einsum("nij,nj->ni", whiten, self.points - predicted).ravel()
        k, m = len(self.shape), len(self.actions)
        # Gaussian prior of the unknowns: turn, similarity (free), shape, actions.
        now = np.concatenate([self.turn, np.zeros(4), self.shape, self.actions])
        prior = np.concatenate([np.zeros(6 + k), self.usual])
        precision = np.concatenate(
            [1 / _TURN_SPREAD**2, np.full(4, 1e-9), np.full(k, 1 / _SHAPE_SPREAD**2), 1 / self.spread**2]
        )
        # the unknowns are the new values themselves, so that prior and bounds speak of them
        target = jacobian.T @ (wanted + jacobian @ now) + precision * prior
        system = jacobian.T @ jacobian + np.diag(precision)
        # Solve, with actions between their bounds and turns of limited size.
        new = _solve_bounded(system, target, np.arange(6 + k, 6 + k + m), MAX_ACTION)
        self.turn = self.turn + np.clip(new[:2] - self.turn, -0.3, 0.3)
        a, b, x, y = new[2:6]
        self.to_photo = self.to_photo + np.array([[a, -b, x], [b, a, y]])
        self.shape, self.actions = new[6 : 6 + k], np.clip(new[6 + k :], 0, MAX_ACTION)

    def _whitening(self, predicted: Array) -> Array:
        """(68, 2, 2): photo pixels -> standard deviations; the jaw's points are held across their outline only."""
        sigma = self.sigma_mm() * self.pixels_per_mm()
        whiten = np.eye(2)[None] / sigma[:, None, None]
        # Jaw points: tight across the outline, loose along it.
        along = np.gradient(predicted[_JAW], axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        slide = _SIGMA_ALONG_JAW * self.pixels_per_mm()
        whiten[_JAW] = np.stack([across / sigma[_JAW, None], along / slide], axis=1)
        return whiten

    def _jacobian(self, crop_points: Array) -> Array:
        """Of the photo's points by turn, similarity, shape and actions: (68, 2, 6 + k + m)."""
        linear = self.to_photo[:, :2]
        # By yaw and pitch: finite differences.
        turned = []
        for axis in np.eye(2):
            turned.append((self.project(self.turn + 1e-4 * axis) - crop_points) @ linear.T / 1e-4)
        # By the similarity's four numbers.
        x, y, zero, one = crop_points[:, 0], crop_points[:, 1], np.zeros(N_LANDMARKS), np.ones(N_LANDMARKS)
        by_similarity = np.stack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)], axis=1)
        # By shape and actions: derivative of the perspective projection.
        camera, pose, seen = self.camera_and_points(self.turn)
        moves = np.concatenate([self.basis.landmarks_by_shape, self.basis.landmarks_by_action]) @ pose.rotation.T
        offset = seen - camera.position
        scale = (camera.distance / offset[:, 1] * self.size / camera.height)[None]
        in_crop = np.stack(
            [
                scale * (moves[..., 0] - offset[:, 0] / offset[:, 1] * moves[..., 1]),
                -scale * (moves[..., 2] - offset[:, 2] / offset[:, 1] * moves[..., 1]),
            ],
            axis=-1,
        )
        by_form = np.moveaxis(in_crop @ linear.T, 0, -1)  # (68, 2, k + m)
        return np.concatenate([np.stack(turned, axis=-1), by_similarity, by_form], axis=2)


def _solve_bounded(system: Array, target: Array, bounded: Array, most: float) -> Array:
    """Solves a normal equation with some unknowns between 0 and `most`, by fixing those that go beyond and solving again."""
    fixed = np.full(len(target), np.nan)
    solution = np.linalg.solve(system, target)
    for _ in range(_N_ROUNDS):
        beyond = bounded[((solution[bounded] < 0) | (solution[bounded] > most)) & np.isnan(fixed[bounded])]
        if not len(beyond):
            break
        fixed[beyond] = np.clip(solution[beyond], 0, most)
        free, held = np.isnan(fixed), ~np.isnan(fixed)
        solution[held] = fixed[held]
        solution[free] = np.linalg.solve(system[np.ix_(free, free)], target[free] - system[np.ix_(free, held)] @ fixed[held])
    return solution


def _smooth_field(at: Array, places: Array, moves: Array, sigma_mm: Array) -> Array:
    """Moves (n, 3) at points `at` (n, 3), metres, smooth over space and near `moves` (68, 3) at `places` (68, 3)."""
    reach, size = _FIELD_REACH / 1000, _FIELD_SIZE / 1000

    def kernel(a: Array, b: Array) -> Array:
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return size**2 * np.exp(-np.maximum(squared, 0) / (2 * reach**2))

    # Gaussian process regression with a squared exponential kernel (Rasmussen and Williams 2006, section 2.2).
    noise = np.where(np.arange(N_LANDMARKS) < len(_JAW), 2.0, 1.0) * sigma_mm / 1000
    amounts = np.linalg.solve(kernel(places, places) + np.diag(noise**2), moves)
    return (kernel(at.astype(np.float64), places) @ amounts).astype(np.float32)


# A linear model of heads for fitting: principal shapes of the drawn people, and the facial actions.
#
# The shapes are the principal components of heads at rest that `identity` draws (a "morphable model": Blanz and Vetter, SIGGRAPH
# 1999), each scaled to its standard deviation, so that a person is a vector of about unit normal numbers. They are computed whenever
# a fitter is made, in about three seconds, and stored nowhere.


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
    # Heads at rest, weighted by how much of them photos show.
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
    # The model's mean, and the landmarks' linear response to shapes and actions.
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


# Offsets between the network's landmarks on photos and the mesh's landmarks (`head.landmarks`).
#
# People who mark photos put brows, the bridge of the nose and the lips a little elsewhere than the head has them, and a network trained
# on such photos follows them. The table was made by experiments/relight/landmark_places.py with
# the packaged network: every second photo of the training people, 66 in all. Another network needs another table.


# millimetres to the image's right and upwards, right half of the face
# fmt: off
PHOTO_OFFSETS: dict[int, tuple[float, float]] = {
    8: (0.0, -1.1), 9: (-1.5, -1.3), 10: (-2.5, -2.4), 11: (-2.8, -4.9), 12: (-1.3, -8.5), 13: (-0.4, -9.3),
    14: (0.0, -9.1), 15: (0.5, -9.2), 16: (0.9, -12.0), 22: (1.9, -7.5), 23: (4.2, -5.5), 24: (5.8, -4.5),
    25: (6.9, -6.2), 26: (7.5, -11.4), 27: (0.0, -5.8), 28: (0.0, -1.8), 29: (0.0, 2.0), 30: (0.0, 5.7),
    33: (0.0, 1.0), 34: (0.5, 0.8), 35: (-1.9, -0.6), 42: (0.0, 0.7), 43: (0.0, 0.1), 44: (0.5, -0.1),
    45: (-1.2, -0.5), 46: (0.6, 0.9), 47: (0.2, 0.6), 51: (0.0, -2.8), 52: (1.5, -1.6), 53: (1.9, -3.4),
    54: (0.0, -1.1), 55: (3.2, 3.1), 56: (2.8, 1.4), 57: (0.0, 0.9), 62: (0.0, 0.0), 63: (-1.2, 0.1),
    64: (-1.4, -0.8), 65: (-1.2, 1.1), 66: (0.0, 0.7),
}
# fmt: on


def landmark_offsets() -> Array:
    """Offsets (68, 3) in metres from the head's landmarks at rest to those of photos."""
    offsets = np.zeros((N_LANDMARKS, 3))
    for number, (right, up) in PHOTO_OFFSETS.items():
        offsets[number] = right / 1000, 0, up / 1000
        if number in MIRROR:
            offsets[MIRROR[number]] = -right / 1000, 0, up / 1000
    return offsets
