"""When not to edit: what a face's landmarks, how sure they are, and the detector say about how well an edit of it can turn out.

Every measure has two bounds: beyond the first the edit is made with a warning, beyond the second it is refused. The bounds come from
edits of rendered heads whose truth is known (experiments/native, "When not to edit").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from legan.core.errors import FaceError
from legan.core.geometry import scale_of
from legan.faces.align import alignment
from legan.faces.detect import Face

# Places of landmarks that no expression moves much, on the mean head: metres from the middle of the eyes, x to the image's right,
# y backwards, z up. The same as those of the rendered heads (`legan_faces3d.head.landmarks`), of which only one half is written here.
# Without jaw and nostrils: with them the spread is less, but frontal photographs come out tilted up by 6 to 13 degrees.
_RIGHT_HALF = {
    27: (0.0000, -0.0248, 0.0020),
    28: (0.0000, -0.0280, -0.0118),
    29: (0.0000, -0.0370, -0.0258),
    30: (0.0000, -0.0447, -0.0395),
    33: (0.0000, -0.0363, -0.0502),
    42: (0.0172, -0.0147, -0.0045),
    45: (0.0449, -0.0100, -0.0012),
}
_PARTNERS = {42: 39, 45: 36}
RIGID_POINTS = {**_RIGHT_HALF, **{_PARTNERS[i]: (-x, y, z) for i, (x, y, z) in _RIGHT_HALF.items() if i in _PARTNERS}}
_FOREHEAD = 0.8  # height of the forehead above the brows, as a part of the way from the brows to the base of the nose


@dataclass(frozen=True)
class Pose:
    """Where a head looks, in degrees: `yaw` > 0 to the image's right, `pitch` > 0 downwards, `roll` > 0 clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class Bounds:
    """How far a measure may go.

    Args:
        warn, refuse: beyond the first an edit is made with a warning, beyond the second it is refused; the larger the worse where
            `refuse` > `warn`, else the smaller.
        text: what is said, with the measure at `{value}`.
        advice: what to do.
    """

    warn: float
    refuse: float
    text: str
    advice: str

    def is_beyond(self, value: float, bound: float) -> bool:
        """Whether a measure is worse than a bound."""
        return value > bound if self.refuse > self.warn else value < bound


FRONT = "give a photo taken from the front"
# Degrees as `head_pose` estimates them, which is less than the true angle beyond 30: 28 is 32, and 36 is 46. A flash is right on tilted
# heads on which a smile is not any more, so an edit of the light alone has bounds of its own. The detector stops at a score of 0.
BOUNDS = {
    "outside": Bounds(0.05, 0.25, "{value:.0%} of the face lies outside the photo", "give a photo with the whole face"),
    "side": Bounds(48, 28, "the face's crop is only {value:.0f} pixels a side in the photo", "give a larger photo"),
    "yaw": Bounds(28, 36, "the head is turned by {value:.1f} degrees", FRONT),
    "pitch": Bounds(22, 36, "the head is tilted by {value:.1f} degrees", FRONT),
    "mouth": Bounds(
        9, 12, "the mouth seems covered, its landmarks spread by {value:.1f} pixels", "give a photo with an uncovered mouth"
    ),
    "score": Bounds(
        0.2, 0.0, "the detector is hardly sure of the face, score {value:.2f}", "give a photo with an uncovered face"
    ),
}
LIGHT_BOUNDS = {
    **{measure: bounds for measure, bounds in BOUNDS.items() if measure != "mouth"},
    "pitch": Bounds(30, 45, "the head is tilted by {value:.1f} degrees", FRONT),
}


@dataclass(frozen=True)
class Finding:
    """A measure of a face that lies beyond one of its bounds."""

    value: float
    bounds: Bounds
    is_refusal: bool

    def __str__(self) -> str:
        bound = self.bounds.refuse if self.is_refusal else self.bounds.warn
        side = "at most" if self.bounds.refuse > self.bounds.warn else "at least"
        what = self.bounds.text.format(value=self.value)
        return f"{what} ({side} {bound:{'.0%' if '%' in self.bounds.text else 'g'}})"


def head_pose(landmarks: np.ndarray) -> Pose:
    """Estimate where a head looks from its 68 landmarks (68, 2): the mean head's rigid points under a scaled orthographic camera.

    The camera's matrix is fitted by least squares and its nearest rotation taken (Dementhon and Davis, "Model-based object pose in
    25 lines of code", IJCV 1995, first iteration).
    """
    indices = list(RIGID_POINTS)
    head = np.array([RIGID_POINTS[i] for i in indices])
    seen = np.asarray(landmarks, np.float64)[indices] * [1, -1]  # y upwards
    head, seen = head - head.mean(0), seen - seen.mean(0)
    camera = np.linalg.lstsq(head, seen, rcond=None)[0].T  # (2, 3)
    u, _, v = np.linalg.svd(camera, full_matrices=False)
    right, up = u @ v
    back = np.cross(up, right)
    pitch = np.arcsin(np.clip(up[1], -1, 1))
    yaw, roll = np.arctan2(-right[1], back[1]), np.arctan2(-up[0], up[2])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))


def share_outside(landmarks: np.ndarray, width: int, height: int) -> float:
    """Return the share of the face's area, forehead included, that lies outside a photo of this size; in [0, 1]."""
    points = np.asarray(landmarks, np.float32)
    brows = points[17:27]
    forehead = brows + _FOREHEAD * (brows.mean(0) - points[31:36].mean(0))
    hull = cv2.convexHull(np.concatenate([points, forehead]))
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    area = cv2.contourArea(hull)
    return 1.0 - cv2.intersectConvexConvex(hull, frame)[0] / area if area else 1.0


def measures(face: Face, width: int, height: int) -> dict[str, float]:
    """Measure a face of a photo of `width` x `height` pixels: a number for each of `BOUNDS`.

    `yaw` and `pitch` in degrees without sign, `outside` a share, `side` that of the face's crop in photo pixels, `mouth`
    the spread of its landmarks' heat maps in the network's pixels, `score` the detector's.
    """
    pose = head_pose(face.landmarks)
    return {
        "yaw": abs(pose.yaw),
        "pitch": abs(pose.pitch),
        "outside": share_outside(face.landmarks, width, height),
        "side": 1 / scale_of(alignment(face.landmarks, 1)),
        "mouth": face.mouth_spread,
        "score": face.score,
    }


def find_faults(face: Face, width: int, height: int, changes_expression: bool = True) -> list[Finding]:
    """Return what speaks against an edit of a face of a photo of `width` x `height` pixels, refusals first."""
    found, values = [], measures(face, width, height)
    for measure, bounds in (BOUNDS if changes_expression else LIGHT_BOUNDS).items():
        value = values[measure]
        is_refusal = bounds.is_beyond(value, bounds.refuse)
        if is_refusal or bounds.is_beyond(value, bounds.warn):
            found.append(Finding(value, bounds, is_refusal))
    return sorted(found, key=lambda finding: not finding.is_refusal)


def suitable_faces(
    faces: Sequence[Face], size: tuple[int, int], name: str, changes_expression: bool = True, force: bool = False
) -> tuple[list[Face], tuple[str, ...]]:
    """Return the faces to edit and the warnings about them; of several faces those that are refused are left out with a warning.

    Args:
        faces: chosen faces of a photo, at least one.
        size: width and height of the photo.
        name: how the error calls it.
        changes_expression: whether the edit changes the expression, or the light alone.
        force: keep faces that are refused.

    Raises:
        FaceError: none of the faces is left.
    """
    kept: list[Face] = []
    warnings: list[str] = []
    refusals: list[Finding] = []
    for number, face in enumerate(faces, start=1):
        found = find_faults(face, *size, changes_expression)
        called = f"face {number}: " if len(faces) > 1 else ""
        refused = [finding for finding in found if finding.is_refusal and not force]
        refusals += refused
        if refused:
            warnings.append(f"{called}not edited, {_in_words(refused)}")
        else:
            kept.append(face)
            warnings += [f"{called}the edit may look wrong, {_in_words([finding])}" for finding in found]
    if not kept:
        raise FaceError(f"{name}: not edited, {_in_words(refusals)}; --force (force=True) edits it all the same")
    return kept, tuple(warnings)


def _in_words(findings: Sequence[Finding]) -> str:
    """Findings, at least one, with what to do about the first."""
    return f"{', '.join(map(str, findings))}: {findings[0].bounds.advice}"
