"""When not to edit: pose from landmarks, the share outside the photo, size; which bound each measure crosses, and what is said."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import landmarks_at

from legan.core.errors import FaceError
from legan.core.weights import asset
from legan.faces.detect import Face, detect
from legan.faces.landmarks import locate_with_spreads, spreads
from legan.faces.suitability import (
    BOUNDS,
    LIGHT_BOUNDS,
    RIGID_POINTS,
    find_faults,
    head_pose,
    measures,
    share_outside,
    suitable_faces,
)

SIZE = (320, 200)


def turned(yaw: float, pitch: float, roll: float, scale: float = 900.0) -> np.ndarray:
    """Landmarks (68, 2) of the mean head turned by degrees, seen from far away."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
    points = np.zeros((68, 2))
    for index, place in RIGID_POINTS.items():
        x, _, z = about_z @ about_x @ about_y @ place
        points[index] = 160 + scale * x, 100 - scale * z
    return points


def face_at(left: float, top: float, side: float, score: float = 1.0) -> Face:
    return Face((left, top, left + side, top + side), landmarks_at(left, top, side), score)


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (-40, 0, 0), (0, 20, 0), (0, -30, 0), (15, -10, 20), (-30, 12, -8)])
def test_pose_of_the_mean_head_is_found_exactly(angles: tuple[float, float, float]) -> None:
    pose = head_pose(turned(*angles))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(angles, abs=0.01)


def test_rigid_points_are_those_of_the_rendered_heads() -> None:
    table = pytest.importorskip("legan_faces3d.head.landmarks")
    for index, (x, y, z) in RIGID_POINTS.items():
        is_own = index in table._TABLE
        own = table._TABLE[index if is_own else {partner: k for k, partner in table.MIRROR.items()}[index]]
        assert (x if is_own else -x, y, z) == own


def test_share_outside_is_an_area() -> None:
    inside = landmarks_at(40, 30, 128)
    assert share_outside(inside, *SIZE) == pytest.approx(0, abs=1e-4)
    width = 2 * int(inside[:, 0].mean() - inside[:, 0].min()) + 1
    middle = float(inside[:, 0].min()) + width / 2
    assert share_outside(inside - [middle, 0], *SIZE) == pytest.approx(0.5, abs=0.03)
    assert share_outside(inside + np.array([1000, 0]), *SIZE) == pytest.approx(1)


def test_measures_have_their_units() -> None:
    found = measures(face_at(40, 30, 128, score=0.7), *SIZE)
    assert set(found) == set(BOUNDS) == {*LIGHT_BOUNDS, "mouth"}
    assert found["side"] == pytest.approx(128, rel=0.05) and found["score"] == 0.7
    assert found["yaw"] < 3 and found["pitch"] < 15


@pytest.mark.parametrize(
    ("face", "text"),
    [
        (Face((0, 0, 1, 1), turned(31, 0, 0), 1.0), r"turned by 31.0 degrees \(at most 28\)"),
        (Face((0, 0, 1, 1), turned(0, -25, 0), 1.0), r"tilted by 25.0 degrees \(at most 22\)"),
        (face_at(40, 30, 40), r"only 4\d pixels a side in the photo \(at least 48\)"),
        (face_at(40, 30, 128, score=0.1), r"score 0.10 \(at least 0.2\)"),
        (
            replace(face_at(40, 30, 128), mouth_spread=10.0),
            r"the mouth seems covered, its landmarks spread by 10.0 pixels \(at most 9\)",
        ),
        (face_at(-31, 30, 128), r"\d+% of the face lies outside the photo \(at most 5%\)"),
    ],
)
def test_beyond_the_first_bound_there_is_a_warning(face: Face, text: str) -> None:
    kept, warnings = suitable_faces([face], SIZE, "a.jpg")
    assert kept == [face]
    assert any(re.search(f"the edit may look wrong, .*{text}: give a ", warning) for warning in warnings), warnings


@pytest.mark.parametrize(
    ("face", "text"),
    [
        (Face((0, 0, 1, 1), turned(39, 0, 0), 1.0), r"turned by 39.0 degrees \(at most 36\)"),
        (face_at(40, 30, 24), r"only 2\d pixels a side in the photo \(at least 28\)"),
        (replace(face_at(40, 30, 128), mouth_spread=13.0), r"the mouth seems covered, .* 13.0 pixels \(at most 12\)"),
        (face_at(-60, 30, 128), r"\d+% of the face lies outside the photo \(at most 25%\)"),
    ],
)
def test_beyond_the_second_it_is_refused_unless_forced(face: Face, text: str) -> None:
    with pytest.raises(FaceError, match=f"a.jpg: not edited, .*{text}.*--force"):
        suitable_faces([face], SIZE, "a.jpg")
    kept, warnings = suitable_faces([face], SIZE, "a.jpg", force=True)
    assert kept == [face] and warnings


def test_light_may_go_farther_than_expressions() -> None:
    face = Face((0, 0, 1, 1), turned(0, -40, 0), 1.0)
    assert [finding.is_refusal for finding in find_faults(face, *SIZE) if "tilted" in str(finding)] == [True]
    assert [
        finding.is_refusal for finding in find_faults(face, *SIZE, changes_expression=False) if "tilted" in str(finding)
    ] == [False]


def test_a_covered_mouth_is_told_where_the_expression_changes() -> None:
    with Image.open(sorted(asset("faces").glob("*.png"))[0]) as image:
        crop = np.asarray(image.convert("RGB").resize((300, 300)))
    scene = np.full((420, 500, 3), 125, np.uint8)
    scene[60:360, 100:400] = crop
    seen = detect(Image.fromarray(scene))[0]
    points = seen.landmarks
    cv2.fillPoly(scene, [np.rint(np.concatenate([points[2:15], points[29:30]])).astype(np.int32)], (235, 235, 235))
    covered = Face(seen.box, *_located_again(scene, seen.box))
    assert 3 < seen.mouth_spread < 8 and covered.mouth_spread > 12
    size = (500, 420)
    assert not any("covered" in str(finding) for finding in find_faults(seen, *size))
    assert [finding.is_refusal for finding in find_faults(covered, *size) if "covered" in str(finding)] == [True]
    assert not any("covered" in str(finding) for finding in find_faults(covered, *size, changes_expression=False))


def _located_again(scene: np.ndarray, box: tuple[float, float, float, float]) -> tuple[np.ndarray, float, float]:
    """Landmarks, a score and the mouth's spread of a face that the detector need not see."""
    points, spread = locate_with_spreads(scene, box)
    return points, 1.0, float(spread[48:].mean())


def test_spreads_are_those_of_gaussians() -> None:
    grid = (torch.arange(32) + 0.5) * 4
    for sigma in (6.0, 12.0):
        bump = torch.exp(-((grid - 64) ** 2) / (2 * sigma**2))
        maps = (bump[:, None] * bump)[None, None]
        assert spreads(maps / maps.sum()).item() == pytest.approx(2**0.5 * sigma, rel=0.01)


def test_of_several_faces_the_refused_ones_are_left_out() -> None:
    good, bad = face_at(40, 30, 128), face_at(200, 80, 20)
    kept, warnings = suitable_faces([good, bad], SIZE, "a.jpg")
    assert kept == [good]
    assert [warning.split(",")[0] for warning in warnings if "not edited" in warning] == ["face 2: not edited"]
