"""Training images of the landmark network: rendered faces with make-up, as photos might show them."""

import math

import cv2
import numpy as np

from legan.core.geometry import Matrix, inverse, transform, warp
from legan.core.images import jpeg_round_trip
from legan.faces.landmarks import INPUT_SIZE, MIRRORED, frame_of_points

# Make-up for rendered faces: what eyes and lips of photographs have and renders have too little of.
#
# In photos lashes draw a dark line along the lid and past the corner, the white of the eye lies in shade, its inner corner shows a
# pink caruncle, lids have creases, and lips any colour. A network that has seen renders alone takes the end of the line for the
# corner. So lines, shades and colours are drawn here at random about the true points, which stay where they are.


Random = np.random.Generator

_DARK = np.float32(0.25)  # of the skin's brightness: lashes, liner, creases
_PINK = np.array([1.2, 0.85, 0.8], np.float32)
_FINE = 4  # binary places of the drawing's coordinates
# Landmarks of each eye from the outer corner over the upper lid to the inner one, and of the lower lid likewise.
_UPPER_LIDS = ([36, 37, 38, 39], [45, 44, 43, 42])
_LOWER_LIDS = ([36, 41, 40, 39], [45, 46, 47, 42])


def made_up(light: np.ndarray, points: np.ndarray, random: Random) -> np.ndarray:
    """Draw eyes and lips anew; each part only sometimes.

    Args:
        light: float32 (128, 128, 3) in [0, 1], a face in the network's frame.
        points: its landmarks (68, 2) in pixels.
    """
    # Eyes of one face look alike, so one drawing serves both.
    skin = light[28:100, 36:92].mean(axis=(0, 1))
    uppers, lowers = [points[lid] for lid in _UPPER_LIDS], [points[lid] for lid in _LOWER_LIDS]
    shade, tone, dark, wing = random.uniform(0, 1, 4)
    outlines = [np.vstack([upper, lower[2:0:-1]]) for upper, lower in zip(uppers, lowers, strict=True)]
    light = _tinted(light, outlines, [], np.full(3, 0.5 + 0.6 * shade), 1.0)
    if random.random() < 0.6:
        light = _painted(light, _caruncles(uppers, random), skin * _PINK * (0.7 + 0.9 * tone), random.uniform(0.3, 1.0))
    if random.random() < 0.5:
        height = random.uniform(0.12, 0.37)
        raised = [lid - np.array([0, height * _width(lid)]) for lid in uppers]
        light = _painted(light, _lines(raised, 0.0), _DARK * skin, random.uniform(0, 0.5))
    if random.random() < 0.7:
        light = _painted(light, _lines(uppers, 0.35 * wing), _DARK * skin, 0.4 + 0.6 * dark)
    if random.random() < 0.35:
        light = _painted(light, _lashes(uppers, random), _DARK * skin, random.uniform(0.2, 0.8))
    if random.random() < 0.5:
        light = _painted(light, _lines(lowers, 0.1 * wing), _DARK * skin, random.uniform(0, 0.6) * dark)
    if random.random() < 0.5:
        colour = random.uniform((0.6, 0.3, 0.3), (1.2, 1.0, 1.0))
        light = _tinted(light, [points[48:60]], [points[60:68]], colour, random.uniform(0.2, 1.0))
    return light


def _width(lid: np.ndarray) -> float:
    return float(np.linalg.norm(lid[3] - lid[0]))


def _tinted(
    light: np.ndarray, insides: list[np.ndarray], holes: list[np.ndarray], colour: np.ndarray, strength: float
) -> np.ndarray:
    """Multiply the inside of outlines, less the holes, by a colour."""
    mask = _blank()
    cv2.fillPoly(mask, [_fixed(outline) for outline in insides], 1.0, cv2.LINE_AA, _FINE)
    cv2.fillPoly(mask, [_fixed(outline) for outline in holes], 0.0, cv2.LINE_AA, _FINE)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None] * np.float32(strength)
    return light * (1 + mask * (colour.astype(np.float32) - 1))


def _painted(light: np.ndarray, mask: np.ndarray, colour: np.ndarray, strength: float) -> np.ndarray:
    """Lay a colour over the image where the mask (H, W) is."""
    return light + mask[..., None] * np.float32(strength) * (colour.astype(np.float32) - light)


def _lines(lids: list[np.ndarray], wing: float) -> np.ndarray:
    """Mask of a soft line along each lid, from `wing` eye widths beyond the outer corner on."""
    mask = _blank()
    for lid in lids:
        end = lid[0] + (lid[0] - 0.7 * lid[1] - 0.3 * lid[3]) * wing * 1.5
        curve = _smooth(np.vstack([end, lid]) if wing > 0 else lid)
        cv2.polylines(mask, [_fixed(curve)], False, 1.0, 1, cv2.LINE_AA, _FINE)
    return np.minimum(1.6 * cv2.GaussianBlur(mask, (0, 0), 0.7), 1)


def _lashes(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of short strokes up and outwards from the outer part of the upper lids."""
    mask = _blank()
    places, lengths = random.uniform(0, 0.7, 9), random.uniform(0.1, 0.35, 9)
    for lid in lids:
        curve, width = _smooth(lid), _width(lid)
        outwards = (lid[0] - lid[3]) / max(width, 1e-6)
        roots = curve[(places * (len(curve) - 1)).astype(int)]
        tips = roots + (outwards * (0.7 - places)[:, None] + [0, -0.6]) * lengths[:, None] * width
        strokes = [_fixed(np.stack(stroke)) for stroke in zip(roots, tips, strict=True)]
        cv2.polylines(mask, strokes, False, 1.0, 1, cv2.LINE_AA, _FINE)
    return mask


def _caruncles(lids: list[np.ndarray], random: Random) -> np.ndarray:
    """Mask of the wet inner corners."""
    mask = _blank()
    place, size = random.uniform(0.04, 0.14), random.uniform(0.04, 0.09)
    for lid in lids:
        middle = tuple(_fixed(lid[3] + (lid[0] - lid[3]) * place).tolist())
        cv2.circle(mask, middle, max(1, round(size * _width(lid) * 2**_FINE)), 1.0, -1, cv2.LINE_AA, _FINE)
    return cv2.GaussianBlur(mask, (0, 0), 0.5)


def _blank() -> np.ndarray:
    return np.zeros((INPUT_SIZE, INPUT_SIZE), np.float32)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A curve through points (n, 2), about eight places between neighbours (Catmull-Rom)."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def _fixed(points: np.ndarray) -> np.ndarray:
    """OpenCV's fixed-point coordinates, whose pixel centres have whole numbers."""
    return ((points - 0.5) * 2**_FINE).round().astype(np.int32)


# Training images for the landmark network: a rendered face as a photo might show it.
#
# Renders are clean, and lit and framed alike. Each is cut out as a detector might, mirrored, put before another background, partly
# covered, lit and coloured anew, and spoilt as cameras and files spoil images, so that only the face itself stays to go by.


_BENDING = ((5, 2.2), (9, 0.9))  # cells a side, and the largest standard deviation of the push in pixels
_EYE_BUMP = 0.19  # standard deviation of the part of an eye that its iris is moved in, by its width
_GAZE = np.array([0.07, 0.03], np.float32)  # standard deviation of the irises' move across and up, by the eye's width
_SQUARE = (INPUT_SIZE, INPUT_SIZE)
_LUMA = (0.299, 0.587, 0.114)
_PLACES = np.arange(INPUT_SIZE, dtype=np.float32) + 0.5
_X = _PLACES / INPUT_SIZE - 0.5  # fractions of the side, from the middle
_Y = _X[:, None]


def training_image(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Draw one training image.

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
    """Cut out the image through a curved glass: faces of other proportions, and irises off the middle of their eyes.

    Args:
        matrix: image pixels -> image pixels, without the bending.
        points: (68, 2), image pixels, without the bending.

    Returns:
        the image and the points in it.
    """
    push = np.zeros((*_SQUARE, 2), np.float32)
    for n_cells, most in _BENDING:
        cells = random.normal(0, random.uniform(0, most), (n_cells, n_cells, 2)).astype(np.float32)
        push += cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_CUBIC)
    # An image pixel shows what would stand at its place plus `push`; so the points move the other way.
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
    soft = cv2.GaussianBlur(image, (0, 0), 0.6)  # the image is made smaller
    return cv2.remap(soft, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), bent.astype(np.float32)


def held_out_image(image: np.ndarray, points: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """As `training_image`, with the jitter of the frame only."""
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
    """A random image (128, 128, 3) in [0, 1]: clouds of some coarseness over a gradient, with a few shapes."""
    colours = random.uniform(0, 1, (3, 3)).astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    ramp = (math.cos(angle) * _X + math.sin(angle) * _Y + 0.5)[..., None]
    image = ramp * (colours[0] - colours[1]) + colours[1]
    for n_cells in 2 ** random.integers(1, 7, 2):
        cells = random.normal(0, random.uniform(0.05, 0.25), (n_cells, n_cells, 3)).astype(np.float32)
        if random.random() < 0.5:
            cells[:] = cells[..., :1]
        image = image + cv2.resize(cells, _SQUARE, interpolation=cv2.INTER_LINEAR)
    for _ in range(random.integers(0, 5)):
        _draw_shape(image, random)
    return np.clip(image, 0, 1, out=image)


def _draw_shape(image: np.ndarray, random: Random, largest: float = 0.5) -> None:
    """Draw one filled ellipse, box or line in one colour onto an image, in place."""
    side = image.shape[0]
    colour = random.uniform(0, 1, 3).tolist()
    centre = tuple(int(v) for v in random.integers(0, side, 2))
    axes = tuple(int(v) for v in random.uniform(0.03, largest, 2) * side + 1)
    angle = float(random.uniform(0, 360))
    kind = random.integers(3)
    if kind == 0:
        cv2.ellipse(image, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        corners = cv2.boxPoints((centre, axes, angle)).round().astype(np.int32)
        cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA)
    else:
        end = tuple(int(v) for v in random.integers(0, side, 2))
        cv2.line(image, centre, end, colour, int(random.integers(1, 5)), cv2.LINE_AA)


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
    # Bring the image nearer to a usual brightness, so that dark renders become ordinary photos too.
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
    """Out of focus, moved, or enlarged from a smaller image."""
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
    image = cv2.convertScaleAbs(np.maximum(light, 0), alpha=255)  # rounds, and stops at 255
    if random.random() < 0.4:
        image = jpeg_round_trip(image, int(random.integers(25, 95)))
    return image
