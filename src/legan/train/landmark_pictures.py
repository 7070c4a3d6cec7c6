"""Training pictures for the landmark network: a rendered face as a photo might show it.

Renders are clean, and lit and framed alike. Each is cut out as a detector might, mirrored, put before another background, partly
covered, lit and coloured anew, and spoilt as cameras and files spoil pictures, so that only the face itself stays to go by.
"""

import math

import cv2
import numpy as np

from legan.faces.landmarks import INPUT_SIZE, MIRRORED, frame_of_points
from legan.faces.resample import Matrix, inverse, transform, warp
from legan.train.landmark_makeup import made_up

Random = np.random.Generator

_BENDING = ((5, 2.2), (9, 0.9))  # cells a side, and the largest standard deviation of the push in pixels
_EYE_BUMP = 0.19  # standard deviation of the part of an eye that its iris is moved in, by its width
_GAZE = np.array([0.07, 0.03], np.float32)  # standard deviation of the irises' move across and up, by the eye's width
_SQUARE = (INPUT_SIZE, INPUT_SIZE)
_LUMA = (0.299, 0.587, 0.114)
_PLACES = np.arange(INPUT_SIZE, dtype=np.float32) + 0.5
_X = _PLACES / INPUT_SIZE - 0.5  # fractions of the side, from the middle
_Y = _X[:, None]


def training_picture(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Draw one training picture.

    Args:
        image: RGB uint8 (H, W, 3), a rendered face in its surroundings.
        points: its landmarks (68, 2) in pixels.

    Returns:
        RGB uint8 (128, 128, 3), and the landmarks (68, 2) float32 in it.
    """
    if random.random() < 0.5:
        image = image[:, ::-1]
        points = (points * [-1, 1] + [image.shape[1], 0])[MIRRORED]
    matrix = (_jitter(random) @ np.vstack([frame_of_points(points), [0, 0, 1]]))[:2]
    picture, points = _bent(np.ascontiguousarray(image), matrix, transform(matrix, points), random)

    light = picture.astype(np.float32) / 255
    if random.random() < 0.7:
        light = made_up(light, points, random)
    if random.random() < 0.6:
        light = _on_background(light, points, random)
    if random.random() < 0.35:
        light = _covered(light, random)
    light = _shaded(light, random) if random.random() < 0.5 else light
    light = _coloured(light, random)
    light = _blurred(light, random) if random.random() < 0.5 else light
    return _recorded(light, random), points


def _bent(image: np.ndarray, matrix: Matrix, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Cut out the picture through a curved glass: faces of other proportions, and irises off the middle of their eyes.

    Args:
        matrix: image pixels -> picture pixels, without the bending.
        points: (68, 2), picture pixels, without the bending.

    Returns:
        the picture and the points in it.
    """
    push = np.zeros((*_SQUARE, 2), np.float32)
    for n_cells, most in _BENDING:
        cells = random.normal(0, random.uniform(0, most), (n_cells, n_cells, 2)).astype(np.float32)
        push += cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_CUBIC)
    # A picture pixel shows what would stand at its place plus `push`; so the points move the other way.
    bent = points
    for _ in range(3):
        x, y = np.clip(bent, 0, INPUT_SIZE - 1).astype(int).T
        bent = points - push[y, x]
    for eye in (bent[36:42], bent[42:48]):
        width = float(np.linalg.norm(eye[3] - eye[0]))
        # Narrow enough to leave the corners where they are.
        across, down = (np.exp(((_PLACES - middle) / (_EYE_BUMP * width)) ** 2 * -0.5) for middle in eye.mean(axis=0))
        move = random.normal(0, 1, 2).astype(np.float32) * _GAZE * width
        push += (down[:, None] * across)[..., None] * move
    x, y = _PLACES + push[..., 0], _PLACES[:, None] + push[..., 1]
    back = inverse(matrix).astype(np.float32)
    source_x, source_y = (row[0] * x + row[1] * y + (row[2] - np.float32(0.5)) for row in back)
    soft = cv2.GaussianBlur(image, (0, 0), 0.6)  # the picture is made smaller
    return cv2.remap(soft, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), bent.astype(np.float32)


def held_out_picture(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """As `training_picture`, with the jitter of the frame only."""
    matrix = (_jitter(random) @ np.vstack([frame_of_points(points), [0, 0, 1]]))[:2]
    return warp(image, matrix, INPUT_SIZE), transform(matrix, points)


def _jitter(random: Random) -> np.ndarray:
    """A similarity (3, 3) of the input square: as wide as the detector's boxes vary, or as narrow as a first pass leaves it."""
    narrow = random.random() < 0.5
    degrees, log_scale, shift = (3.0, 0.05, 2.0) if narrow else (9.0, 0.11, 5.0)
    angle = np.radians(random.normal(0, degrees))
    scale = np.exp(random.normal(0, log_scale))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([INPUT_SIZE / 2, INPUT_SIZE / 2])
    move = centre - turn @ centre + random.normal(0, shift, 2)
    return np.vstack([np.column_stack([turn, move]), [0, 0, 1]])


def _on_background(light: np.ndarray, points: np.ndarray, random: Random) -> np.ndarray:
    """Replace what lies outside the face, and perhaps hair and neck with it, by a pattern."""
    eyes = points[36:48].mean(axis=0)
    # The brows mirrored upwards stand for the forehead.
    height = random.uniform(0.5, 1.6) * np.linalg.norm(points[8] - eyes) * 0.5
    up = (eyes - points[8]) / max(float(np.linalg.norm(eyes - points[8])), 1e-6)
    outline = np.concatenate([points[:17], points[17:27] + up * height])
    centre = outline.mean(axis=0)
    outline = centre + (outline - centre) * random.uniform(1.0, 1.35)
    mask = np.zeros(light.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(outline.astype(np.float32)).round().astype(np.int32), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(0.5, 3.0))[..., None]
    return light * mask + pattern(random) * (1 - mask)


def pattern(random: Random) -> np.ndarray:
    """A random picture (128, 128, 3) in [0, 1]: clouds of some coarseness over a gradient, with a few shapes."""
    colours = random.uniform(0, 1, (3, 3)).astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    ramp = (math.cos(angle) * _X + math.sin(angle) * _Y + 0.5)[..., None]
    picture = ramp * (colours[0] - colours[1]) + colours[1]
    for n_cells in 2 ** random.integers(1, 7, 2):
        cells = random.normal(0, random.uniform(0.05, 0.25), (n_cells, n_cells, 3)).astype(np.float32)
        if random.random() < 0.5:
            cells[:] = cells[..., :1]
        picture = picture + cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_LINEAR)
    for _ in range(random.integers(0, 5)):
        _draw_shape(picture, random)
    return np.clip(picture, 0, 1, out=picture)


def _draw_shape(picture: np.ndarray, random: Random, largest: float = 0.5) -> None:
    """Draw one filled ellipse, box or line in one colour onto a picture, in place."""
    side = picture.shape[0]
    colour = random.uniform(0, 1, 3).tolist()
    centre = tuple(int(v) for v in random.integers(0, side, 2))
    axes = tuple(int(v) for v in random.uniform(0.03, largest, 2) * side + 1)
    angle = float(random.uniform(0, 360))
    kind = random.integers(3)
    if kind == 0:
        cv2.ellipse(picture, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        corners = cv2.boxPoints((centre, axes, angle)).round().astype(np.int32)
        cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA)
    else:
        end = tuple(int(v) for v in random.integers(0, side, 2))
        cv2.line(picture, centre, end, colour, int(random.integers(1, 5)), cv2.LINE_AA)


def _covered(light: np.ndarray, random: Random) -> np.ndarray:
    """Lay a few small shapes over the face: strands, hands, rims, spots."""
    light = np.ascontiguousarray(light)
    over = light.copy()
    for _ in range(random.integers(1, 4)):
        _draw_shape(over, random, 0.2)
    opacity = random.uniform(0.4, 1.0)
    return over * opacity + light * (1 - opacity)


def _shaded(light: np.ndarray, random: Random) -> np.ndarray:
    """Light falling off to one side, and soft blotches of light and shade."""
    angle, strength = random.uniform(0, 2 * np.pi), random.uniform(0, 1.2)
    stops = strength * math.cos(angle) * _X + strength * math.sin(angle) * _Y
    cells = random.normal(0, random.uniform(0, 0.35), (5, 5)).astype(np.float32)
    stops = stops + cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_CUBIC)
    return light * np.exp(stops)[..., None]


def _coloured(light: np.ndarray, random: Random) -> np.ndarray:
    """Exposure, gamma, contrast, white balance and saturation; now and then no colour at all."""
    light = cv2.pow(np.maximum(light, 1e-4), float(np.exp(random.normal(0, 0.3))))
    # Bring the picture nearer to a usual brightness, so that dark renders become ordinary photos too.
    middle = float(light[32:112, 24:104].mean())
    target = random.uniform(0.2, 0.65)
    gain = (target / max(middle, 0.02)) ** random.uniform(0.3, 1.0)
    contrast = random.uniform(0.6, 1.4)
    saturation = 0.0 if random.random() < 0.12 else random.uniform(0.3, 1.6)
    # One matrix for all that is linear: colour balance, then saturation, then contrast about `target`.
    balance = np.diag(np.exp(random.normal(0, 0.12, 3)))
    mixing = saturation * np.eye(3) + (1 - saturation) * np.array([_LUMA] * 3)
    matrix = contrast * gain * mixing @ balance
    return cv2.transform(light, np.column_stack([matrix, np.full(3, (1 - contrast) * target)]))


def _blurred(light: np.ndarray, random: Random) -> np.ndarray:
    """Out of focus, moved, or enlarged from a smaller picture."""
    kind = random.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(light, (0, 0), random.uniform(0.3, 1.5))
    if kind == 1:
        kernel = np.zeros((7, 7), np.float32)
        reach = random.uniform(-3, 3, 2)
        cv2.line(kernel, tuple((3 - reach).round().astype(int).tolist()), tuple((3 + reach).round().astype(int).tolist()), 1.0)
        return cv2.filter2D(light, -1, kernel / kernel.sum())
    small = int(INPUT_SIZE * random.uniform(0.35, 0.9))
    reduced = cv2.resize(light, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, _SQUARE, interpolation=cv2.INTER_LINEAR)


def _recorded(light: np.ndarray, random: Random) -> np.ndarray:
    """Noise, 8 bits, and JPEG's losses."""
    if random.random() < 0.6:
        n_channels = 1 if random.random() < 0.5 else 3
        light = light + random.standard_normal((*_SQUARE, n_channels), np.float32) * random.uniform(0, 0.05)
    picture = cv2.convertScaleAbs(np.maximum(light, 0), alpha=255)  # rounds, and stops at 255
    if random.random() < 0.4:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 95))])
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return picture
