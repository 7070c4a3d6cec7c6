"""Edits at the resolution of the photo: displacement, gain and bias of a face crop, enlarged and applied to its pixels."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from legan.core.errors import ImageError
from legan.core.geometry import Matrix, cut, indexed, inverse, scale_of
from legan.faces.align import AlignedCrop
from legan.faces.paste import frame_matte

# What an editor did to a face crop, as fields that can be applied at any resolution.
#
# An editor that moves, scales and shifts its input gives image = (warp(x, displacement) + 1) * exp(gain) - 1 + bias, x in [-1, 1]. The
# three are smoother than the image, so they can be enlarged to a photo's own pixels where the image itself would come out blurred.


@dataclass(frozen=True, eq=False)
class CropFields:
    """Fields of one edited crop, pixel by pixel.

    Args:
        displacement: float32 (size, size, 2), x and y in fractions of the crop's side: where in the crop each pixel comes from,
            seen from its own place.
        gain: float32 (size, size, 3), logarithm of the factor of each channel.
        bias: float32 (size, size, 3), what is added afterwards, for values in [-1, 1].
    """

    displacement: np.ndarray
    gain: np.ndarray
    bias: np.ndarray

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.gain.shape[0]

    def scaled(self, strength: float) -> "CropFields":
        """Return the fields of a part of the edit, 0 none, 1 the whole, more an exaggerated one.

        Everything moves a part of its way. The mean of the image before and the image after would show two mouths.
        """
        return CropFields(*(np.float32(strength) * field for field in (self.displacement, self.gain, self.bias)))

    @classmethod
    def from_planes(cls, displacement: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> "CropFields":
        """Return the fields of one row of a `GeneratorOutput`, channels first: (2, size, size), (3, size, size) twice."""
        planes = (displacement, gain, bias)
        return cls(*(np.ascontiguousarray(plane.transpose(1, 2, 0), dtype=np.float32) for plane in planes))


def fill(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Continue values smoothly from where they are known.

    Push-pull on an image pyramid (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4).

    Args:
        values: float32 (H, W, C).
        weight: float32 (H, W) in [0, 1], how far each value is known. Where it is 1 the value stays.

    Returns:
        float32 (H, W, C).
    """
    height, width = weight.shape
    weighted = values * weight[..., None]
    if min(height, width) <= 2:
        return np.broadcast_to(weighted.sum((0, 1)) / max(float(weight.sum()), 1e-6), values.shape).astype(np.float32)
    # Pull: means of what is known, at half the resolution. A half-known neighbourhood counts as known.
    known = cv2.pyrDown(weight)
    means = _channels(cv2.pyrDown(weighted), values.shape[2]) / np.maximum(known, 1e-6)[..., None]
    coarse = fill(means, np.minimum(2 * known, 1))
    # Push: the coarse values where nothing is known here.
    smooth = _channels(cv2.pyrUp(coarse, dstsize=(width, height)), values.shape[2])
    return weighted + (1 - weight)[..., None] * smooth


def resampled(planes: Sequence[np.ndarray], factor: int) -> list[np.ndarray]:
    """Enlarge planes (H, W, C) by a whole factor, smoothly."""
    if factor == 1:
        return list(planes)
    return [
        _channels(cv2.resize(plane, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), plane.shape[2])
        for plane in planes
    ]


def _channels(plane: np.ndarray, n: int) -> np.ndarray:
    # OpenCV drops a last axis of length one.
    return plane.reshape(*plane.shape[:2], n)


# An edit rendered at the photo's own pixels: the fields of the crop are enlarged, not its image.
#
# The person is a layer over what lies behind. With the matte a, the photo x (in [0, 2]: the network's x + 1) and the background B, the
# layer is P = x - (1 - a) B, its colours times its matte. The edit moves the layer, scales and shifts it, and lays it down again:
#
#     result = exp(gain) P(p + d) + a(p + d) bias + (1 - a(p + d)) B(p)
#
# B is the photo itself where the matte is 0, and inpainted where the person stands, so a cheek that moves over the wall takes its own
# outline along, and what it uncovers is wall. Where the matte is 0 before and after, the photo stays, bit for bit.
#
# The crop cuts neck and hair. Its fields are continued round it, from the person's pixels alone, and fade out there.
#
# Work goes tile by tile in float32: what it needs beside the photo and the result does not grow with the photo.


Box = tuple[int, int, int, int]  # left, top, right, bottom in photo pixels

MARGIN = 0.3  # width of the frame round the crop in which an edit fades, as a fraction of the crop's side
_TILE = 256  # pixels a side: what a tile needs fits a processor's cache
_MAX_FACTOR = (
    4  # pixels of the enlarged planes to one of the crop; from there to the photo they are smooth enough for straight lines
)
_CORNER = 3.0  # how round the fade's corners are: 2 a circle, larger squarer
# Pixels at 128 of a side: at the crop's border convolutions saw no image, at the outline the network mixed the person with the wall.
_UNSURE_BORDER, _UNSURE_OUTLINE = 3, 3
# Pixels of the crop: displacements up to the first are the network's noise, which would only blur; from the second they count whole.
_STILL, _MOVES = 0.2, 0.6
# Networks end in pixel shuffle, which leaves a pattern of two pixels in gain and bias; this kernel takes out just that.
_NO_PATTERN = np.array([0.25, 0.5, 0.25], np.float32)
_INPAINT_RADIUS = 3  # pixels of the frame
_NEAR = 2  # pixels of the frame that fine hair and soft edges of the person reach beyond the matte
# Difference of the person's colour and the background's, of 1: below the first no pixel can be told apart by them, from the second
# they are trusted more than the matte.
_ALIKE, _UNLIKE = 0.1, 0.25
_KEYED = (
    0.12  # share of the way from the background's colour to the person's from which a pixel beyond the matte is the person's
)
_SHRUNK = 1.2  # source pixels to one of the result from which one sample is not enough
_N_SAMPLES = 2  # then, along each axis
_LARGEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


@dataclass(frozen=True, eq=False)
class Person:
    """Where the person is in a photo, round one face crop.

    Args:
        matrix: (2, 3), pixels of the frame -> photo pixels. The frame is the crop with a margin on each side.
        margin: its width in pixels.
        matte: float32 (k n, k n) in [0, 1], the person's share of each pixel of the frame, k times as fine as its n pixels a side.
    """

    matrix: Matrix
    margin: int
    matte: np.ndarray


def find_person(pixels: np.ndarray, crop: AlignedCrop) -> Person:
    """Find the person whose face `crop` shows; `pixels` is the photo, RGB uint8 (H, W, 3)."""
    margin = round(MARGIN * crop.size)
    to_frame = crop.matrix.copy()
    to_frame[:, 2] += margin
    side = crop.size + 2 * margin
    factor = min(max(math.ceil(scale_of(crop.inverse) - 0.1), 1), _MAX_FACTOR)
    fine = cut(pixels, to_frame * factor, factor * side)
    frame = fine if factor == 1 else cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
    return Person(inverse(to_frame), margin, frame_matte(frame, margin, fine))


@dataclass(frozen=True, eq=False)
class PhotoFields:
    """An edit in photo pixels, to be applied to the photo or to another development of it (16 bits, RAW).

    `displacement`, `gain`, `bias` and `matte` are computed when they are asked for: they hold 9 floats a pixel of `box`.

    Args:
        crop: the fields at the crop's pixels.
        person: whose pixels they move and light.
        width, height: of the photo.
    """

    crop: CropFields
    person: Person
    width: int
    height: int

    @cached_property
    def box(self) -> Box:
        """The part of the photo that the edit may change: left, top, right, bottom. Empty (0, 0, 0, 0) beside the photo."""
        side = self.crop.size + 2 * self.person.margin
        corners = (
            np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ self.person.matrix[:, :2].T + self.person.matrix[:, 2]
        )
        left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)), [self.width, self.height]).astype(int)
        return (int(left), int(top), int(right), int(bottom)) if right > left and bottom > top else (0, 0, 0, 0)

    @property
    def displacement(self) -> np.ndarray:
        """Float32 (h, w, 2), the pixels of `box`: x and y in photo pixels from each place to where it takes the person from."""
        return self._planes.displacement(self.box)

    @property
    def gain(self) -> np.ndarray:
        """Float32 (h, w, 3): logarithm of the factor of the moved person's sRGB values."""
        return np.log(self._planes.factor(self.box)[..., :3])

    @property
    def bias(self) -> np.ndarray:
        """Float32 (h, w, 3): what is added to the moved and scaled person, for sRGB values in [0, 2] (0 black)."""
        return self._planes.bias(self.box)[..., :3]

    @property
    def matte(self) -> np.ndarray:
        """Float32 (h, w) in [0, 1]: the person's share of each pixel, before the edit."""
        return self._planes.matte(self.box)

    @property
    def _planes(self) -> "_Planes":
        # Not kept: an edit in memory holds fields of the crop's size alone.
        return _Planes(self.crop, self.person)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the photo edited; what is not the person, or not near the face, stays bit for bit.

        Args:
            pixels: RGB (height, width, 3) with sRGB's curve: uint8, uint16, or float32 in [0, 1].

        Raises:
            ImageError: another type, layout or size.
        """
        if pixels.dtype not in _LARGEST:
            raise ImageError(f"pixels must be uint8, uint16 or float32, not {pixels.dtype}: convert them first")
        if pixels.shape != (self.height, self.width, 3):
            expected = f"({self.height}, {self.width}, 3)"
            raise ImageError(
                f"the fields are for RGB pixels {expected}, these have {pixels.shape}: give the photo that was edited"
            )
        result = pixels.copy()
        planes = self._planes
        scene = _scene(pixels, planes)
        for tile in _tiles(self.box):
            _render_tile(pixels, result, tile, planes, scene)
        return result


class _Planes:
    """Fields and matte of the frame, enlarged, and their values at a box of photo pixels; all are 0 (factors 1) outside the frame.

    Factors and bias have a fourth channel, 1 and 0: OpenCV resamples four channels in a third of the time that it takes for three.
    """

    def __init__(self, fields: CropFields, person: Person) -> None:
        self.side = fields.size + 2 * person.margin
        self.frame_matrix = person.matrix
        self.matte_plane = person.matte
        factor = person.matte.shape[0] // self.side
        frame = _framed(fields, person)
        # A photo coarser than the crop: its pixels see means of the fields.
        coarseness = 1 / scale_of(person.matrix)
        if coarseness > 1:
            frame = [cv2.GaussianBlur(plane, (0, 0), 0.5 * math.sqrt(coarseness**2 - 1) + 1e-3) for plane in frame]
        moves, gain, bias = resampled([frame[0], *map(_four, frame[1:])], factor)
        self.matrix = person.matrix * [1 / factor, 1 / factor, 1]
        self.near_plane = cv2.dilate((person.matte > 0).astype(np.float32), np.ones((2 * _NEAR * factor + 1,) * 2, np.uint8))
        self.moves = moves @ person.matrix[:, :2].T.astype(np.float32)  # from the frame's pixels to the photo's
        self.brighter, self.shift = np.exp(gain), bias

    def displacement(self, box: Box) -> np.ndarray:
        """(h, w, 2) in photo pixels."""
        return _enlarged(self.moves, self.matrix, box)

    def factor(self, box: Box) -> np.ndarray:
        """(h, w, 4), exp(gain), and 1."""
        return _enlarged(self.brighter, self.matrix, box, value=1)

    def bias(self, box: Box) -> np.ndarray:
        """(h, w, 4), the last 0."""
        return _enlarged(self.shift, self.matrix, box)

    def matte(self, box: Box) -> np.ndarray:
        """(h, w)."""
        return _enlarged(self.matte_plane, self.matrix, box)

    def near(self, box: Box) -> np.ndarray:
        """(h, w), whether the person is there or close by."""
        return _enlarged(self.near_plane, self.matrix, box) > 0


def _framed(fields: CropFields, person: Person) -> list[np.ndarray]:
    """Displacement in pixels, gain and bias of the frame (n, n, C), continued round the crop and faded there."""
    size, margin = fields.size, person.margin
    side = size + 2 * margin
    moves, gain, bias = size * fields.displacement, *(_without_pattern(plane) for plane in (fields.gain, fields.bias))
    way = np.hypot(moves[..., 0], moves[..., 1])[..., None]
    moves = moves * np.clip((way - _STILL) / (_MOVES - _STILL), 0, 1)
    padded = [cv2.copyMakeBorder(plane, margin, margin, margin, margin, cv2.BORDER_CONSTANT) for plane in (moves, gain, bias)]
    fade = _fade(size, margin)[..., None]
    sure = np.zeros((side, side), np.float32)
    border = margin + max(1, round(_UNSURE_BORDER * size / 128))
    sure[border:-border, border:-border] = 1
    moves = fade * fill(padded[0], sure)

    # Light and colour: from pixels well inside the person, as it stands after the edit.
    y, x = np.mgrid[:side, :side].astype(np.float32)
    matte = cv2.resize(person.matte, (side, side), interpolation=cv2.INTER_AREA)
    moved = cv2.remap(matte, x + moves[..., 0], y + moves[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    reach = 2 * max(1, round(_UNSURE_OUTLINE * size / 128)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    inside = cv2.erode((moved > 0.95).astype(np.float32), kernel, borderType=cv2.BORDER_REPLICATE)
    sure *= cv2.GaussianBlur(inside, (0, 0), 1.0)
    return [moves, *(fade * fill(plane, sure) for plane in padded[1:])]


def _without_pattern(plane: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(plane, -1, _NO_PATTERN, _NO_PATTERN, borderType=cv2.BORDER_REFLECT)


def _fade(size: int, margin: int) -> np.ndarray:
    """The weight of the edit in the frame (n, n) float32: 1 in the crop, smoothly down to 0 at the frame's border."""
    place = np.arange(size + 2 * margin, dtype=np.float32) + 0.5 - margin
    depth = np.clip(np.maximum(-place, place - size) / (margin - 1), 0, 1)
    inside = 1 - np.minimum((depth[None] ** _CORNER + depth[:, None] ** _CORNER) ** (1 / _CORNER), 1)
    return inside * inside * (3 - 2 * inside)


@dataclass(frozen=True)
class _Scene:
    """Smooth colours of a frame, in levels of the photo: of the person, continued outwards, and of what lies behind.

    Both float32 (n, n, 4), with a spare channel as those of `_Planes`.
    """

    person: np.ndarray
    behind: np.ndarray


def _scene(pixels: np.ndarray, planes: _Planes) -> _Scene:
    """Continue the person's colours beyond the outline, and inpaint what lies behind the person from the photo round it.

    Telea, "An image inpainting technique based on the fast marching method", Journal of Graphics Tools 9 (2004).
    """
    matte, near = (
        cv2.resize(plane, (planes.side, planes.side), interpolation=cv2.INTER_AREA)
        for plane in (planes.matte_plane, planes.near_plane)
    )
    # OpenCV's inpainting expects 0 to 255, in floats too.
    level = _LARGEST[pixels.dtype] / 255
    frame = cut(pixels, inverse(planes.frame_matrix), planes.side).astype(np.float32) / level
    inside = cv2.erode((matte > 0.95).astype(np.float32), np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE)
    person = fill(frame, inside)
    hidden = (near > 0).astype(np.uint8)
    if hidden.all():
        return _Scene(_four(level * person), _four(level * frame))
    # Single hairs, which the matte misses, would be drawn out into streaks.
    channels = [cv2.medianBlur(np.ascontiguousarray(frame[..., c]), 5) for c in range(3)]
    behind = np.stack([cv2.inpaint(plane, hidden, _INPAINT_RADIUS, cv2.INPAINT_TELEA) for plane in channels], 2)
    return _Scene(_four(level * person), _four(level * behind))


def _four(plane: np.ndarray) -> np.ndarray:
    """Add a channel of zeros to float32 (H, W, 3)."""
    return np.dstack([plane, np.zeros(plane.shape[:2], np.float32)])


def _render_tile(pixels: np.ndarray, result: np.ndarray, tile: Box, planes: _Planes, scene: _Scene) -> None:
    """Write the edited pixels of one tile into `result`."""
    moves = planes.displacement(tile)
    reach = math.ceil(float(np.abs(moves).max()))
    reach += 2 if reach else 0  # the kernel's own width
    height, width = pixels.shape[:2]
    left, top, right, bottom = tile
    source: Box = (max(left - reach, 0), max(top - reach, 0), min(right + reach, width), min(bottom + reach, height))
    offset = left - source[0], top - source[1]
    inner = np.s_[offset[1] : offset[1] + bottom - top, offset[0] : offset[0] + right - left]
    matte = planes.matte(source)
    is_whole = bool(matte.min() == 1)
    if not is_whole and not (near := planes.near(source)).any():
        return
    # Levels of the photo, whose white is 2 for the fields: gain is a factor anyway, and bias is brought to levels.
    # All have four channels to the end: of the layers the fourth is the matte, elsewhere it is spare.
    light = cv2.cvtColor(pixels[source[1] : source[3], source[0] : source[2]], cv2.COLOR_RGB2RGBA).astype(np.float32)
    largest = _LARGEST[pixels.dtype]
    edited, shift = planes.factor(tile), planes.bias(tile)
    shift *= largest / 2

    if is_whole:  # nothing of what lies behind is seen
        edited *= _moved(light, moves, offset) if reach else light
        edited += shift
        result[top:bottom, left:right] = _quantised(edited, pixels.dtype)
        return

    # The two layers: the person's colours times the matte with the matte itself, and what lies behind.
    behind = _enlarged(scene.behind, planes.frame_matrix, source, cv2.BORDER_REPLICATE)
    colours = _enlarged(scene.person, planes.frame_matrix, source, cv2.BORDER_REPLICATE)
    matte = _keyed(matte, near, light, colours, behind, largest)
    cv2.copyTo(light, (matte <= 0).view(np.uint8), behind)
    layer = 1 - cv2.merge([matte] * 4)
    layer *= behind
    np.subtract(light, layer, out=layer)
    cv2.insertChannel(matte, layer, 3)

    # Move the person, light it, lay it over what lies behind.
    moved = _moved(layer, moves, offset) if reach else layer[inner]
    share = np.clip(cv2.extractChannel(moved, 3), 0, 1)
    shares = cv2.merge([share] * 4)
    edited *= moved
    shift *= shares
    edited += shift
    rest = np.subtract(1, shares, out=shares)
    rest *= behind[inner]
    edited += rest
    changed = (share > 0) | (matte[inner] > 0)
    cv2.copyTo(_quantised(edited, pixels.dtype), changed.view(np.uint8), result[top:bottom, left:right])


def _quantised(light: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Bring levels (h, w, 4) to RGB pixels, clipped; changes `light`."""
    np.clip(light, 0, _LARGEST[dtype], out=light)
    levels = light if dtype == np.float32 else np.rint(light, out=light).astype(dtype)
    return cv2.cvtColor(levels, cv2.COLOR_RGBA2RGB)


def _keyed(
    matte: np.ndarray, near: np.ndarray, light: np.ndarray, person: np.ndarray, behind: np.ndarray, largest: float
) -> np.ndarray:
    """Refine a matte (h, w), where the person is `near`, by the colours of the photo, the person and what lies behind.

    Colours are (h, w, 4) in levels up to `largest`; the last channel does not count.

    A pixel's share is how far it lies on the way from the colour behind it to the person's.

    Difference matting: it finds the hairs that the matte is too coarse for and gives the wall its own edge back, where the two
    colours differ enough. Pixels that are surely the person's stay so.
    """
    matte = matte.copy()
    unsure = np.flatnonzero(near & (matte < 1))
    own = matte.ravel()[unsure]
    seen, front, back = (colours.reshape(-1, 4).take(unsure, 0)[:, :3] / largest for colours in (light, person, behind))
    way = front - back
    length = np.einsum("ic,ic->i", way, way)
    share = np.einsum("ic,ic->i", seen - back, way) / np.maximum(length, _ALIKE**2)
    found = np.where((share > _KEYED) & (length > _ALIKE**2), share, 0)
    most = np.where(length > _UNLIKE**2, np.where(share > _KEYED, share + _KEYED, 0), 1)
    matte.ravel()[unsure] = np.clip(np.minimum(np.maximum(own, found), most), 0, 1)
    return matte


def _moved(layer: np.ndarray, moves: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Sample `layer` (H, W, C) at each pixel of a tile at `offset` in it plus `moves` (h, w, 2), with antialiasing.

    Where the moves draw the image together, one sample would skip pixels: there the mean of several is taken over the footprint of
    the result's pixel, whose sides are the columns of the map's Jacobian, less the pixel that the kernel covers by itself.
    """
    height, width = moves.shape[:2]
    x = moves[..., 0] + np.arange(offset[0], offset[0] + width, dtype=np.float32)
    y = moves[..., 1] + np.arange(offset[1], offset[1] + height, dtype=np.float32)[:, None]
    moved = _sampled(layer, x, y)
    if min(height, width) < 8:
        return moved
    # A look at every fourth pixel first: the moves are smooth.
    if _stretch(x[::4, ::4], y[::4, ::4]) / 4 < _SHRUNK:
        return moved
    (x_down, x_across), (y_down, y_across) = np.gradient(x), np.gradient(y)
    across, down = np.hypot(x_across, y_across), np.hypot(x_down, y_down)
    rows, columns = np.nonzero(np.maximum(across, down) > _SHRUNK)
    if not rows.size:
        return moved

    # A list of pixels, folded to rows of a length that OpenCV's maps can have.
    place = rows, columns
    steps = (np.arange(_N_SAMPLES, dtype=np.float32) + 0.5) / _N_SAMPLES - 0.5
    x, x_across, x_down, y, y_across, y_down, across, down = (
        plane[place] for plane in (x, x_across, x_down, y, y_across, y_down, across, down)
    )
    wider_across, wider_down = (np.sqrt(np.maximum(side**2 - 1, 0)) / side for side in (across, down))
    total = np.zeros((len(rows), layer.shape[2]), np.float32)
    for i in steps:
        for j in steps:
            u, v = i * wider_across, j * wider_down
            xs, ys = x + u * x_across + v * x_down, y + u * y_across + v * y_down
            total += _sampled(layer, _folded(xs), _folded(ys)).reshape(-1, layer.shape[2])[: len(rows)]
    moved[place] = total / _N_SAMPLES**2
    return moved


def _stretch(x: np.ndarray, y: np.ndarray) -> float:
    """The longest side that one of the result's pixels has where it comes from."""
    return max(float(np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis)).max()) for axis in (0, 1))


def _sampled(layer: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(layer, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _folded(values: np.ndarray, width: int = 256) -> np.ndarray:
    return np.pad(values, (0, -len(values) % width)).reshape(-1, width)


def _tiles(box: Box) -> Iterator[Box]:
    left, top, right, bottom = box
    for y in range(top, bottom, _TILE):
        for x in range(left, right, _TILE):
            yield x, y, min(x + _TILE, right), min(y + _TILE, bottom)


def _enlarged(plane: np.ndarray, matrix: Matrix, box: Box, border: int = cv2.BORDER_CONSTANT, value: float = 0) -> np.ndarray:
    """A plane's values at the pixels of a box; `matrix` maps its pixels to the photo's. Beyond it `value`, or as `border` says."""
    matrix = matrix.copy()
    matrix[:, 2] -= box[:2]
    size = box[2] - box[0], box[3] - box[1]
    return cv2.warpAffine(plane, indexed(matrix), size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(value,) * 4)
