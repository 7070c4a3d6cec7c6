"""The fitted editor: edits with the head model fitted to the face, without a trained generator (extra `render`).

The method of the training truth (`legan relight`, `legan reexpress`) as an editor: `load_editor("fitted")`. An expression moves the photo's
own pixels as the fitted head moves, and multiplies them by the change of light on folds and turned skin; only what the photo does not show
(teeth, closed lids) is painted. A light is a gain and a bias of the photo's pixels, as the generator's. Fit, expressions and the photo
without its light are kept, so that further edits of a face are quicker.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTINGS, STANDARD
from legan.core.errors import ConditionError, FaceError, ImageError, LeganError
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE, indexed, inverse, smoothstep, transform, warp
from legan.core.images import from_network, to_network
from legan.core.light import ROOM, Lamps, to_linear, to_srgb, with_tone
from legan.core.weights import packaged
from legan.editing.editor import Edit, Editor, Face, Input, Subject, edit_words
from legan.editing.marks import Mark, of_photo
from legan.faces.align import AlignedCrop
from legan.faces.detect import Face as FoundFace
from legan.faces.landmarks import locate_in_crop
from legan.faces.native import CropFields, Person, PhotoFields, find_person
from legan.models.editors import FITTED, Attempt, Codes, ExpressionSpec, LightingSpec, named_codes
from legan.models.generator import GeneratorOutput
from legan_faces3d.head.head import Head
from legan_faces3d.head.noise import Stream, generator
from legan_faces3d.photo import reexpress
from legan_faces3d.photo.checks import UnusablePhotoError, check_fit, check_size
from legan_faces3d.photo.fine_fit import check_at_rest, check_fine_fit
from legan_faces3d.photo.fit import MAX_ACTION, HeadFit, HeadFitter
from legan_faces3d.photo.reexpress import Reexpressed, Reexpresser, new_actions
from legan_faces3d.photo.relight import Relighter, Unlit
from legan_faces3d.photos import cut_window

FITTED_VERSION = 2  # raised when the images change: it is in the mark
N_KEPT = 8  # faces whose fit is kept
_SEED = 0  # of teeth and of how a person smiles, which a photo at rest does not show


class FittedEditor(Editor):
    """Edits photos with the fitted head: the same methods as `Editor`; made by `load_editor("fitted")`."""

    networks: FittedHead

    def prepare(
        self,
        image: Input,
        face: Face = "largest",
        force: bool = False,
        changes_expression: bool = True,
        found: Sequence[FoundFace] | None = None,
    ) -> Subject:
        """As `Editor.prepare`, and fit the head.

        Raises:
            FaceError: also where the head does not fit, or the face is turned or cut off; `force` does not help then.
        """
        subject = super().prepare(image, face, force, changes_expression, found)
        for crop in _crops_of(subject, self.networks.size):
            with _reasons(subject):
                self.networks.face(np.asarray(subject.photo.image), crop)
        return subject

    def edit_subjects(
        self,
        subjects: Iterable[Subject],
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        batch_size: int = 8,
    ) -> Iterator[Edit]:
        """Edit photos that `prepare` returned, one after the other; arguments as in `Editor.edit_many`.

        Raises:
            FaceError: a face that cannot be edited; the message says which photo and why.
        """
        mark = Mark(self.networks.checksum, edit_words(expression, lighting, strength))
        for subject in subjects:
            yield self._edit(subject, expression, lighting, strength, mark)

    def _edit(
        self, subject: Subject, expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float, mark: Mark
    ) -> Edit:
        size = self.networks.size
        sources = subject.images(size)
        codes = self.networks.target_codes(to_network(sources), expression, lighting)
        crops = _crops_of(subject, size)
        pixels = np.asarray(subject.photo.image)
        warnings = list(subject.warnings)
        steps: list[PhotoMotion | PhotoFields] = []
        for row, crop in enumerate(crops if strength > 0 else ()):
            with _reasons(subject):
                edited = self.networks.edited(pixels, crop, codes, row, strength)
            pixels = edited.pixels
            steps += edited.steps
            if expression is not None and edited.face.expression != "neutral":
                warnings.append(f"the face is not at rest ({edited.face.expression}): folds and teeth of it may stay")
        after = tuple(Image.fromarray(warp(pixels, crop.matrix, size)) for crop in crops)
        image = Image.fromarray(pixels) if subject.crops else after[0]
        no_masks = np.zeros((len(crops), 0, size, size), np.float32)
        own_mark = of_photo(mark, subject.photo)
        # Fields describe the edit only where no step moves the face as the fitted head does.
        fields = tuple(step for step in steps if isinstance(step, PhotoFields))
        return Edit(
            *(image, tuple(sources), after, no_masks, no_masks, subject, self.networks, own_mark, strength),
            *(
                tuple(warnings),
                fields if subject.crops and len(fields) == len(steps) else (),
                tuple(steps) if subject.crops else None,
            ),
        )


def _crops_of(subject: Subject, size: int) -> tuple[AlignedCrop, ...]:
    """Crops of a photo; a photo that is an aligned crop itself is its own."""
    if subject.crops:
        return subject.crops
    image = subject.photo.image
    return (AlignedCrop(subject.images(size)[0], np.array([[size / image.width, 0, 0], [0, size / image.height, 0]])),)


@contextmanager
def _reasons(subject: Subject) -> Iterator[None]:
    """Name the photo in the error of a refused face."""
    try:
        yield
    except UnusablePhotoError as error:
        raise FaceError(f"{subject.photo.path or 'the image'} cannot be edited with the fitted head: {error}") from error


@lru_cache(maxsize=1)
def load_fitted() -> FittedHead:
    """Return the fitted editor, loaded once: the head takes seconds and some hundred megabytes.

    Raises:
        LeganError: the extra `render` is not installed.
    """
    return FittedHead()


def fitted_checksum() -> str:
    """SHA-256 of all that decides the images, in place of a weights file's: versions, and the landmark network.

    Raises:
        LeganError: the extra `render` is not installed.
    """
    try:
        anny = importlib.metadata.version("anny")
    except importlib.metadata.PackageNotFoundError as error:
        raise LeganError('the fitted editor needs the head model anny: pip install "legan[render]"') from error
    facts = [FITTED, FITTED_VERSION, anny, sha256_of(packaged("landmarks"))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class FittedHead:
    """The fitted editor as a `CropEditor`; load it once, the head takes seconds.

    Raises:
        LeganError: the extra `render` is not installed.
    """

    size, device = CROP_SIZE, torch.device("cpu")
    has_critic, has_masks, keeps, can_refuse, classes = False, False, True, True, STANDARD

    def __init__(self) -> None:
        self.head = Head()
        self.fitter = HeadFitter(self.head)
        self.reexpresser = Reexpresser(self.head, self.fitter.places)
        self.relighter = Relighter(self.head)
        self.metadata: dict[str, Any] = {"model": FITTED, "version": str(FITTED_VERSION)}
        self.checksum = fitted_checksum()
        self._faces: OrderedDict[str, FittedFace] = OrderedDict()

    def face(self, pixels: np.ndarray, crop: AlignedCrop) -> FittedFace:
        """Return the fitted face that `crop` shows of the photo `pixels`, from memory where it was fitted before."""
        digest = hashlib.blake2b(np.asarray(crop.image).tobytes() + crop.matrix.tobytes(), digest_size=16)
        key = f"{digest.hexdigest()} {pixels.shape}"
        if key not in self._faces:
            landmarks = transform(crop.inverse, locate_in_crop(np.asarray(crop.image)).astype(np.float64))
            self._faces[key] = FittedFace(self, pixels, landmarks)
            if len(self._faces) > N_KEPT:
                self._faces.popitem(last=False)
        self._faces.move_to_end(key)
        return self._faces[key]

    def edited(self, pixels: np.ndarray, crop: AlignedCrop, codes: Codes, row: int, strength: float) -> EditedFace:
        """Edit one face of a photo, uint8 (H, W, 3).

        Raises:
            UnusablePhotoError: what cannot be edited, and why.
        """
        face = self.face(pixels, crop)
        fit, key = face.fit, ()
        code = codes.expression[row].numpy().astype(np.float64)
        moves = code.any() and code[EXPRESSIONS.index(face.expression)] < 1
        steps: list[PhotoMotion | PhotoFields] = []
        if moves:
            motion, fit, key = face.express(pixels, code, strength)
            pixels = motion.apply(pixels)
            steps.append(motion)
        lamps = lamps_of(codes, row)
        if lamps is not None:
            crop_fields, person = face.light(pixels, fit, key, lamps)
            fields = PhotoFields(crop_fields.scaled(strength), person, pixels.shape[1], pixels.shape[0])
            pixels = fields.apply(pixels)
            steps.append(fields)
        return EditedFace(pixels, face, tuple(steps))

    def own_codes(self, x: Tensor) -> Codes:
        """Raise ConditionError: there is no critic."""
        raise ConditionError("the fitted editor cannot estimate a face's own lighting: name a lighting, or leave it out")

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops to; None keeps an attribute, by a code of zeros."""
        return named_codes(len(x), expression, lighting)

    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Edit crops `x` (B, 3, 128, 128) in [-1, 1], one by one; there are no masks and no fields.

        Raises:
            UnusablePhotoError: a crop that cannot be edited, and why.
        """
        done = [self._edited_crop(pixels, codes, row) for row, pixels in enumerate(from_network(x) if len(x) else [])]
        image = to_network(np.stack(done)) if done else x.float().cpu()
        return GeneratorOutput(image, x[:, :0].cpu(), x[:, :0].cpu(), None)

    def attempt(self, x: Tensor, codes: Codes, batch_size: int = 16) -> Attempt:
        """Edit crops as `translate` does; those that are refused stay as they are."""
        if not len(x):
            return Attempt(x, np.zeros(0, bool))
        pixels = from_network(x)
        done, refused = pixels.copy(), np.zeros(len(x), bool)
        for row, own in enumerate(pixels):
            try:
                done[row] = self._edited_crop(own, codes, row)
            except UnusablePhotoError:
                refused[row] = True
        return Attempt(to_network(done), refused)

    def _edited_crop(self, pixels: np.ndarray, codes: Codes, row: int) -> np.ndarray:
        crop = AlignedCrop(Image.fromarray(pixels), np.array([[1.0, 0, 0], [0, 1.0, 0]]))
        return self.edited(pixels, crop, codes, row, 1.0).pixels


class EditedFace(NamedTuple):
    """A photo with one face edited.

    Args:
        pixels: uint8 (H, W, 3).
        face: the fitted face.
        steps: what was done to the photo's pixels, in this order: another expression, another light.
    """

    pixels: np.ndarray
    face: FittedFace
    steps: tuple[PhotoMotion | PhotoFields, ...]


class FittedFace:
    """One face of a photo with the head fitted to it; keeps what further edits of it use again."""

    def __init__(self, tools: FittedHead, pixels: np.ndarray, landmarks: np.ndarray) -> None:
        """Args: `pixels` uint8 (H, W, 3); `landmarks` (68, 2) in its pixels.

        Raises:
            UnusablePhotoError: the face is too small, turned or cut off, or the head does not fit it.
        """
        check_size(landmarks)
        self.tools = tools
        self.fit = tools.fitter.fit(landmarks)
        _, inside = cut_window(pixels, *tools.relighter.window(self.fit))
        check_fit(self.fit, inside)
        self.expression = shown_expression(self.fit)
        self._expressed: OrderedDict[tuple, tuple[PhotoMotion, HeadFit]] = OrderedDict()
        self._unlit: OrderedDict[tuple, tuple[Unlit, Person]] = OrderedDict()
        self._subject: reexpress.Subject | None = None

    def express(self, pixels: np.ndarray, code: np.ndarray, strength: float) -> tuple[PhotoMotion, HeadFit, tuple]:
        """Find what changes the expression of the photo `pixels` (H, W, 3) uint8 that this face is of.

        Args:
            code: (6,), non-negative, summing to 1.

        Returns:
            the change, the head after it, and a key of the expression.

        Raises:
            UnusablePhotoError: lips that cannot be closed, or eyes or mouth that the head does not fit.
        """
        key = (*np.round(code, 4).tolist(), strength)
        # The face as it is, once.
        matrix, _ = self.tools.reexpresser.window(self.fit)
        if self._subject is None:
            check_fine_fit(self.fit, self.tools.head, self.tools.fitter.places)
            window, _ = cut_window(pixels, *self.tools.reexpresser.window(self.fit))
            self._subject = self.tools.reexpresser.prepare(window, self.fit, self.expression)
        if key not in self._expressed:
            made = self._reexpressed(self._subject, code, strength)
            fit = replace(made.fit, matrix=chained(made.fit.matrix, matrix))
            motion = PhotoMotion.of(made, self._subject.light, matrix, pixels.shape[1], pixels.shape[0])
            self._expressed[key] = motion, fit
            if len(self._expressed) > N_KEPT:
                self._expressed.popitem(last=False)
        return *self._expressed[key], key

    def _reexpressed(self, subject: reexpress.Subject, code: np.ndarray, strength: float) -> Reexpressed:
        """Actions go `strength` of the way to the mean of the expressions' own, weighted by `code`."""
        own = EXPRESSIONS.index(self.expression)
        target = EXPRESSIONS[int(np.argmax(np.where(np.arange(len(code)) == own, 0, code)))]
        before = subject.fit.actions
        change = dict.fromkeys(before, 0.0)
        for k in np.flatnonzero(code):
            if k != own:
                wanted = new_actions(subject.fit, self.expression, EXPRESSIONS[k], _SEED)
                for name in wanted.keys() | before.keys():
                    step = float(code[k]) * strength * (wanted.get(name, 0.0) - before.get(name, 0.0))
                    change[name] = change.get(name, 0.0) + step
        actions = {name: float(np.clip(before.get(name, 0.0) + change[name], 0, MAX_ACTION)) for name in sorted(change)}
        return self.tools.reexpresser.make(subject, target, _SEED, actions)

    def light(self, pixels: np.ndarray, fit: HeadFit, key: tuple, lamps: Lamps) -> tuple[CropFields, Person]:
        """Return the fields of a lighting of the photo `pixels`, and the person's pixels in it.

        Args:
            fit: the head in it.
            key: of the photo's expression.

        Raises:
            UnusablePhotoError: light from one side, or an overexposed face.
        """
        relighter = self.tools.relighter
        if key not in self._unlit:
            window, inside = cut_window(pixels, *relighter.window(fit))
            unlit = relighter.prepare(window, inside, fit, _SEED, generator(_SEED, Stream.RAYS))
            n = unlit.layers.resolution
            matrix = fit.matrix * (n / fit.size)
            crop = AlignedCrop(Image.fromarray(warp(pixels, matrix, n)), matrix)
            self._unlit[key] = unlit, find_person(pixels, crop)
            if len(self._unlit) > N_KEPT:
                self._unlit.popitem(last=False)
        # Light adds up: the room, and of each flash what it adds to the room.
        unlit, person = self._unlit[key]
        classes = [ROOM, *map(int, lamps.classes)]
        room, *lit = relighter.images(unlit, [LIGHTINGS[k] for k in classes], generator(_SEED, Stream.RAYS, 1))
        image = room * lamps.room.astype(np.float32)
        for one, factor in zip(lit, lamps.flashes.astype(np.float32), strict=True):
            image += factor * (one - room)
        return light_fields(unlit.layers.light, image), person


def shown_expression(fit: HeadFit) -> str:
    """The expression that a fitted face shows, as far as edits need it: at rest, a smile, or an open mouth."""
    try:
        check_at_rest(fit)
    except UnusablePhotoError:
        smile = fit.actions.get("mouthSmileLeft", 0.0) + fit.actions.get("mouthSmileRight", 0.0)
        return "smile" if smile > fit.actions.get("jawOpen", 0.0) else "surprise"
    return "neutral"


def lamps_of(codes: Codes, row: int) -> Lamps | None:
    """The light of one row as a mixture of classes; None where it is kept."""
    if codes.lamps is not None:
        return codes.lamps
    code = codes.lighting[row].numpy().astype(np.float64)
    if not code.any():
        return None
    classes = np.array([k for k in np.flatnonzero(code) if k != ROOM], int)
    return Lamps(np.ones(3), classes, np.repeat(code[classes][:, None], 3, axis=1))


# From the window of a photo, in which the head is fitted, to the photo's own pixels


_DARK = 0.02  # of 2, as for mixtures of lights
_LEAST_LIGHT = 0.002  # linear; keeps ratios finite in black
_MAX_RATIO = 8.0
_BORDER = 0.12  # of the window's side, in which an expression fades out
_EXPOSURE = 1.3  # of the rendered set's sensor (`legan_faces3d.render.camera`)
_STILL, _UNCHANGED = 0.01, 1e-3  # pixels of the photo; share of the light
_BAND = 256  # rows that are made at a time: memory does not grow with the photo


@dataclass(frozen=True, eq=False)
class PhotoMotion:
    """Another expression in photo pixels, to be applied to the photo or to another development of it (16 bits).

    The planes hold the part of the fitted window that changes.

    Args:
        moves: float32 (h, w, 2), where each pixel comes from, seen from its own place, in photo pixels.
        ratio: float32 (h, w, 3), factor of its linear light.
        drawn: float32 (h, w), 0..1, how much of it is painted.
        painted: float32 (h, w, 3), with what: linear light.
        matrix: (2, 3), photo pixels -> those of the planes.
        width, height: of the photo.
    """

    moves: np.ndarray
    ratio: np.ndarray
    drawn: np.ndarray
    painted: np.ndarray
    matrix: np.ndarray
    width: int
    height: int

    @classmethod
    def of(cls, made: Reexpressed, before: np.ndarray, matrix: np.ndarray, width: int, height: int) -> PhotoMotion:
        """Return what makes `made` of a window's linear light `before` (N, N, 3); `matrix` maps the photo's pixels to the window's."""
        n = made.light.shape[0]
        grid = np.stack(np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5), axis=-1).astype(np.float32)
        fade = _faded(n)
        places = made.motion.places
        moved = cv2.remap(before, places[..., 0] - 0.5, places[..., 1] - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        ratio = (made.light + _LEAST_LIGHT) / (np.maximum(moved, 0) + _LEAST_LIGHT)
        ratio = np.exp(fade * np.log(np.clip(ratio, 1 / _MAX_RATIO, _MAX_RATIO)))
        moves = ((places - grid) * fade) @ inverse(matrix)[:, :2].T.astype(np.float32)
        drawn = made.drawn * fade[..., 0]
        # The part that changes, with a border that does not.
        changed = (np.abs(moves).max(2) >= _STILL) | (np.abs(ratio - 1).max(2) >= _UNCHANGED) | (drawn >= _UNCHANGED)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        top, bottom = (max(rows[0] - 1, 0), rows[-1] + 2) if len(rows) else (0, 1)
        left, right = (max(columns[0] - 1, 0), columns[-1] + 2) if len(columns) else (0, 1)
        box = np.s_[top:bottom, left:right]
        own = matrix.copy()
        own[:, 2] -= left, top
        moves, ratio, drawn, painted = (
            np.ascontiguousarray(plane[box], np.float32) for plane in (moves, ratio, drawn, made.light)
        )
        return cls(moves, ratio, drawn, painted, own, width, height)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the photo with the expression; what does not move stays bit for bit.

        Args:
            pixels: RGB (height, width, 3) with sRGB's curve, uint8 or uint16.

        Raises:
            ImageError: another type or size.
        """
        if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape != (self.height, self.width, 3):
            expected = f"uint8 or uint16 ({self.height}, {self.width}, 3)"
            raise ImageError(f"the expression is for RGB pixels {expected}, not {pixels.dtype} {pixels.shape}")
        result = pixels.copy()
        left, top, right, bottom = _box(self.matrix, self.drawn.shape, pixels.shape)
        for start in range(top, bottom, _BAND):
            self._render(pixels, result, (left, start, right, min(start + _BAND, bottom)))
        return result

    def _render(self, pixels: np.ndarray, result: np.ndarray, box: tuple[int, int, int, int]) -> None:
        """Write the pixels of a box (left, top, right, bottom) into `result`."""
        left, top, right, bottom = box
        to_box = inverse(self.matrix)
        to_box[:, 2] -= left, top

        def enlarged(plane: np.ndarray, value: float) -> np.ndarray:
            size = right - left, bottom - top
            return cv2.warpAffine(plane, indexed(to_box), size, flags=cv2.INTER_LINEAR, borderValue=(value,) * 3)

        move, ratio, drawn = enlarged(self.moves, 0), enlarged(self.ratio, 1), enlarged(self.drawn, 0)
        changed = (np.abs(move).max(2) >= _STILL) | (np.abs(ratio - 1).max(2) >= _UNCHANGED) | (drawn >= _UNCHANGED)
        x = move[..., 0] + np.arange(left, right, dtype=np.float32)
        y = move[..., 1] + np.arange(top, bottom, dtype=np.float32)[:, None]
        fetched = cv2.remap(pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        most = np.iinfo(pixels.dtype).max
        light = _linear_levels(most)[fetched[changed]] * ratio[changed]
        share = drawn[changed][:, None]
        light = light * (1 - share) + enlarged(self.painted, 0)[changed] * share
        result[top:bottom, left:right][changed] = np.clip(most * to_srgb(light) + 0.5, 0, most).astype(pixels.dtype)


@lru_cache
def _linear_levels(most: int) -> np.ndarray:
    """Linear light, float32, of the levels 0 to `most`."""
    return to_linear(np.arange(most + 1, dtype=np.float32) / np.float32(most)).astype(np.float32)


def light_fields(before: np.ndarray, after: np.ndarray) -> CropFields:
    """Gain and bias from a crop's linear light (n, n, 3) to an image of it in other light, exposed and developed."""
    glare = 0.015 * cv2.GaussianBlur(after, (0, 0), 6.0 * after.shape[0] / CROP_SIZE)
    developed = 2 * to_srgb(with_tone(_EXPOSURE * (after + glare)))
    x = (2 * to_srgb(np.clip(before, 0, 1))).astype(np.float32)
    gain = np.log(np.clip(developed / np.maximum(x, _DARK), np.exp(-4), np.exp(4))).astype(np.float32)
    bias = (developed - np.exp(gain) * x).astype(np.float32)
    return CropFields(np.zeros((*x.shape[:2], 2), np.float32), gain, bias)


def chained(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map (2, 3) of `first` and then `second`."""
    return np.concatenate([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]], axis=1)


def _faded(n: int) -> np.ndarray:
    """Weight (n, n, 1) of an edit in the window: 1 inside, 0 at the border."""
    place = (np.arange(n) + 0.5) / n
    depth = smoothstep(0.0, _BORDER, np.minimum(place, 1 - place))
    return (depth[:, None] * depth[None])[..., None].astype(np.float32)


def _box(matrix: np.ndarray, sides: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The photo's pixels (left, top, right, bottom) that planes of (height, width) cover."""
    height, width = sides[:2]
    corners = transform(inverse(matrix), np.array([[0, 0], [width, 0], [0, height], [width, height]]))
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, [shape[1], shape[0]]).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, [shape[1], shape[0]]).astype(int)
    return int(left), int(top), int(right), int(bottom)
