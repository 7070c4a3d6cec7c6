"""What photographs bring that a studio does not: other backdrops, other cameras, imperfect alignment, compression.

Each function does the same to several images of one face, so that an image and its truth stay each other's truth.
"""

from collections.abc import Sequence

import cv2
import numpy as np

_BACKDROP_SIDE = 192


def draw_backdrop(rng: np.random.Generator) -> np.ndarray:
    """Draw a backdrop, uint8 (192, 192, 3): a gradient, blurred blocks as of a room, noise of any grain, or foliage-like dots."""
    side = _BACKDROP_SIDE
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5) + 0.5)[..., None]
    image = _colour(rng) * (1 - ramp) + _colour(rng) * ramp
    kind = rng.choice(4)
    if kind == 1:
        for _ in range(rng.integers(2, 14)):
            left, top = rng.integers(-40, side, 2)
            width, height = rng.integers(8, 120, 2)
            image[max(top, 0) : top + height, max(left, 0) : left + width] = _colour(rng)
    elif kind == 2:
        noise = np.zeros((side, side, 3), np.float32)
        for scale in (3, 6, 12, 24, 48, 96):
            coarse = rng.normal(0, scale ** rng.uniform(0.2, 1.0) / 24, (max(2, side // scale), max(2, side // scale), 3))
            noise += cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        image = image + noise * rng.uniform(0.05, 0.3)
    elif kind == 3:
        base = _colour(rng)
        for _ in range(rng.integers(30, 200)):
            centre = tuple(int(v) for v in rng.integers(0, side, 2))
            shade = (base * rng.uniform(0.4, 1.6) + rng.normal(0, 0.05, 3)).clip(0, 1)
            cv2.circle(image, centre, int(rng.integers(2, 18)), shade.tolist(), -1, cv2.LINE_AA)
    blur = rng.choice([0.0, rng.uniform(0.5, 3), rng.uniform(3, 14)])
    image = image.astype(np.float32)
    if blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) in 0..1: greys and muted tones more often than bright ones."""
    level, spread = rng.beta(1.2, 1.2), rng.choice([0.02, 0.1, 0.3])
    return (level + rng.normal(0, spread, 3)).clip(0, 1)


def before_backdrop(images: Sequence[np.ndarray], mattes: Sequence[np.ndarray], backdrop: np.ndarray) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) with what their mattes, uint8 (H, W), leave out replaced by a backdrop of their size."""
    placed = []
    for image, matte in zip(images, mattes, strict=True):
        # Squared, as at the edge the crop shows the old backdrop too.
        share = (np.square(matte.astype(np.float32) / 255))[..., None]
        placed.append(np.rint(backdrop + share * (image.astype(np.float32) - backdrop)).astype(np.uint8))
    return placed


def cut_backdrop(rng: np.random.Generator, backdrop: np.ndarray, size: int) -> np.ndarray:
    """Return a random piece (size, size, 3) of a backdrop, mirrored or not."""
    side = int(rng.integers(min(size // 2, backdrop.shape[0]), backdrop.shape[0] + 1))
    left, top = rng.integers(0, backdrop.shape[0] - side + 1, 2)
    piece = cv2.resize(backdrop[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_LINEAR)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def draw_jitter(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw how alignment errs, a matrix (2, 3) from crop to crop: 3 degrees, 3% of scale, 1.5 pixels of 128 (standard deviations)."""
    angle, scale = rng.normal(0, 3), float(np.exp(rng.normal(0, 0.03)))
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, scale)
    matrix[:, 2] += rng.normal(0, 1.5 * size / 128, 2)
    return matrix


def jittered(images: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Return crops moved by a matrix (2, 3); their border pixels go on."""
    size = images[0].shape[0]
    return [
        cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for image in images
    ]


def moved_points(points: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Return points (n, 2), fractions of the side, as `jittered` moves them."""
    # OpenCV counts pixels from their centres, points from the corner.
    at = points * size - 0.5
    return ((at @ matrix[:, :2].T + matrix[:, 2] + 0.5) / size).astype(np.float32)


def grey(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) without colour."""
    return [cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for image in images]


def degraded(rng: np.random.Generator, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return crops uint8 (H, W, 3) as a poor camera or file gives them: blur or few pixels, then noise, then JPEG; each perhaps."""
    images, size = list(images), images[0].shape[0]
    kind = rng.random()
    if kind < 0.3:
        sigma = rng.uniform(0.4, 1.6)
        images = [cv2.GaussianBlur(image, (0, 0), sigma) for image in images]
    elif kind < 0.6:
        small = int(size * rng.uniform(0.3, 0.8))
        images = [
            cv2.resize(
                cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
            )
            for image in images
        ]
    if rng.random() < 0.4:
        noise = rng.standard_normal(images[0].shape, np.float32) * rng.uniform(1, 10)
        images = [np.rint(image + noise).clip(0, 255).astype(np.uint8) for image in images]
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 95))
        images = [_compressed(image, quality) for image in images]
    return images


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """An image after JPEG of this quality. OpenCV takes it for BGR, which only the weights of its luma notice."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
