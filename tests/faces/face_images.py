"""Faces without photos: landmarks of a plain frontal face, and images that hold a packaged rendered face."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legan.core.weights import ASSETS

LONDON = Path(__file__).parents[3] / "shared" / "london"


def frontal_landmarks(eye_distance: float = 100.0, centre: tuple[float, float] = (256.0, 200.0)) -> np.ndarray:
    """68 points of a symmetric face about its eyes' middle, in units of the eye distance."""
    points = np.zeros((68, 2))
    angle = np.radians(np.linspace(200, -20, 17))
    points[:17] = np.stack([1.1 * np.cos(angle), 0.25 - 1.6 * np.sin(angle) * -1], 1)
    points[17:22] = np.stack([np.linspace(-0.85, -0.2, 5), np.full(5, -0.35)], 1)
    points[22:27] = np.stack([np.linspace(0.2, 0.85, 5), np.full(5, -0.35)], 1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(-0.05, 0.63, 4)], 1)
    points[31:36] = np.stack([np.linspace(-0.24, 0.24, 5), np.full(5, 0.76)], 1)
    eye = np.array([[-0.22, 0], [-0.08, -0.07], [0.08, -0.07], [0.22, 0], [0.08, 0.07], [-0.08, 0.07]])
    points[36:42] = eye - np.array([0.5, 0])
    points[42:48] = eye + np.array([0.5, 0])
    mouth = np.radians(np.linspace(180, -180, 12, endpoint=False))
    points[48:60] = np.stack([0.39 * np.cos(mouth), 1.18 - 0.15 * np.sin(mouth)], 1)
    inner = np.radians(np.linspace(180, -180, 8, endpoint=False))
    points[60:68] = np.stack([0.33 * np.cos(inner), 1.18 - 0.02 * np.sin(inner)], 1)
    return (points * eye_distance + centre).astype(np.float32)


def rendered_faces() -> list[Path]:
    """The packaged rendered faces."""
    found = sorted((ASSETS / "faces").glob("*.png"))
    assert found, "the package holds no rendered faces (assets/faces)"
    return found


def photo_with(face: Path, side: int = 512, face_side: int = 300, at: tuple[int, int] = (110, 90)) -> Image.Image:
    """A face crop enlarged and laid on a grey image."""
    photo = Image.new("RGB", (side, side), (120, 125, 130))
    photo.paste(Image.open(face).convert("RGB").resize((face_side, face_side), Image.Resampling.BICUBIC), at)
    return photo


def london_photos(n: int) -> list[Path]:
    """Neutral photos of the London set; the test skips where the set is absent."""
    if not LONDON.is_dir():
        pytest.skip("the London photos (../shared/london) are not here")
    return sorted(LONDON.glob("*_neutral.jpg"))[:n]
