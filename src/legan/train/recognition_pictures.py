"""Random changes of a face crop that leave the person who it is: place, light, tone, sharpness, noise, things in front.

Lighting and expression change by which image of the person is drawn; the shading here is for people of whom there are few images.
All numbers are drawn in the same order whatever the picture, so a picture is a function of the crop and the random state.
"""

import cv2
import numpy as np

from legan.data.transforms import apply_tones, draw_tones

_SHIFT, _ZOOM, _TURN = 0.03, 0.06, 5.0  # standard deviations: of the side, of the logarithm, in degrees
_SHADE = 0.5  # standard deviation of the logarithm of light, from side to side
_CHANCE = 0.3  # of each fault of the camera
_MAX_BLUR, _MAX_NOISE = 1.6, 12.0  # pixels, levels
_QUALITIES = (30, 90)  # of JPEG


def changed(image: np.ndarray, random: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return a crop (H, W, 3) uint8 as another camera might have taken it; `strength` 0 changes nothing but its side.

    Args:
        image: RGB uint8 (H, W, 3), square.
        random: where the numbers come from.
        strength: how far the changes go and how often, 1 as tuned.
    """
    if random.random() < 0.5:
        image = image[:, ::-1]
    if not strength:
        return np.ascontiguousarray(image)
    image = _shaded(_moved(image, random, strength), random, strength)
    image = apply_tones(image[None], draw_tones(random, 1, strength))[0]
    image = _covered(image, random, strength)
    return _recorded(image, random, strength)


def _moved(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    size = image.shape[0]
    zoom, angle = np.exp(strength * random.normal(0, _ZOOM)), strength * random.normal(0, _TURN)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), angle, zoom)
    matrix[:, 2] += strength * random.normal(0, _SHIFT * size, 2)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shaded(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Multiply by a smooth field of light: a slope in some direction and soft patches."""
    slope, patches = random.normal(0, _SHADE, 2), random.normal(0, _SHADE / 2, (4, 4))
    if random.random() >= 0.5 * strength:
        return image
    size = image.shape[0]
    place = np.linspace(-1, 1, size, dtype=np.float32)
    field = slope[0] * place[None, :] + slope[1] * place[:, None]
    field = field + cv2.resize(patches.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    light = np.exp(strength * field)
    return (image * (light / light.mean())[..., None]).clip(0, 255).astype(np.uint8)


def _covered(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Lay one flat rectangle over a part of the picture (random erasing; Zhong et al., AAAI 2020)."""
    size = image.shape[0]
    height, width = (size * random.uniform(0.1, 0.4, 2)).astype(int)
    top, left = random.integers(0, size - height), random.integers(0, size - width)
    level = random.integers(0, 256, 3)
    if random.random() < _CHANCE * strength:
        image = image.copy()
        image[top : top + height, left : left + width] = level
    return image


def _recorded(image: np.ndarray, random: np.random.Generator, strength: float) -> np.ndarray:
    """Blur, fewer pixels, noise and JPEG, each at times."""
    size = image.shape[0]
    blur, fewer, noise = random.uniform(0.3, _MAX_BLUR), random.uniform(0.4, 1.0), random.uniform(1, _MAX_NOISE)
    quality, chances = int(random.integers(*_QUALITIES)), random.random(4) < _CHANCE * strength
    if chances[0]:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if chances[1]:
        small = cv2.resize(image, (int(size * fewer),) * 2, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if chances[2]:
        image = (image + random.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
    if chances[3]:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image
