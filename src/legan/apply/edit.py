"""Edit the lighting and the expression of faces in photos: detect, align, translate, paste back, mark.

editor = load_editor()
editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")
"""

import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from legan.apply.crops import grouped
from legan.apply.marks import Mark, marked_metadata, of_photo
from legan.apply.networks import ExpressionSpec, LightingSpec, Networks, load_networks
from legan.apply.strength import check_strength, partial_edit
from legan.core.errors import ConditionError, FaceError, ImageError
from legan.core.images import Photo, from_network, from_unit, load_photo, photo_of, save_photo, to_network, to_unit
from legan.core.lamps import LightSetup
from legan.faces.align import AlignedCrop, align
from legan.faces.detect import MIN_FACE_SIDE, detect
from legan.faces.fields import CropFields
from legan.faces.native import Person, PhotoFields, find_person
from legan.faces.paste import paste
from legan.models.generator import GeneratorOutput

Input = str | Path | Image.Image | Photo
Face = int | str  # 1, 2, ... (1 is the largest), "largest", "all", or "aligned"


@dataclass(frozen=True)
class Subject:
    """A photo and the face crops found in it; a photo that is an aligned crop itself has none to paste back."""

    photo: Photo
    crops: tuple[AlignedCrop, ...]

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Which pixels of the photo are the person's, for each crop; found once for all edits."""
        pixels = np.asarray(self.photo.image)
        return tuple(find_person(pixels, crop) for crop in self.crops)

    def pictures(self, size: int) -> list[Image.Image]:
        """The crops to edit, `size` pixels a side."""
        if self.crops:
            return [crop.image for crop in self.crops]
        return [self.photo.image.resize((size, size), Image.Resampling.LANCZOS)]


@dataclass(frozen=True)
class Edit:
    """An edited photo.

    Args:
        image: the whole photo, edited.
        sources, crops: its face crops before and after, in the order that `face` asked for.
        expression_mask, lighting_mask: what the two hourglasses gave for each crop, float32 (n, channels, h, w) in [-1, 1]; without
            channels where the editor makes none, as StarGAN's do.
        photo: what was edited.
        mark: what a saved picture says about itself.
        fields: what was done to the photo's own pixels, for each face: displacement, gain and bias. They can be applied to another
            development of the photo, with 16 bits (`PhotoFields.apply`). None where the editor predicts colours, as StarGAN's do, and
            for a picture that is an aligned crop itself.
    """

    image: Image.Image
    sources: tuple[Image.Image, ...]
    crops: tuple[Image.Image, ...]
    expression_mask: np.ndarray
    lighting_mask: np.ndarray
    photo: Photo
    mark: Mark
    fields: tuple[PhotoFields, ...] = ()

    def save(self, path: str | Path, mark: bool = True, quality: int = 95) -> None:
        """Write the photo as PNG, JPEG or WebP, with its metadata; `mark` says in it that an algorithm edited it.

        Raises:
            ImageError: an unknown ending.
            LeganError: the place cannot be written; nothing is left behind.
        """
        metadata = marked_metadata(self.mark, self.photo) if mark else None
        save_photo(self.image, path, self.photo, quality, metadata)

    def mask_pictures(self) -> tuple[Image.Image, Image.Image]:
        """The two masks as grey pictures, bright where they act most; several faces stand side by side.

        Raises:
            ConditionError: the editor makes none (`Networks.has_masks`).
        """
        if not self.expression_mask.shape[1]:
            raise ConditionError("the editor makes no masks: only LEGAN's do")
        size = self.crops[0].width
        return _mask_picture(self.expression_mask, size), _mask_picture(self.lighting_mask, size)


class Editor:
    """Edits photos: `editor(image, expression="smile", lighting=-45)`. Made by `load_editor`."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @property
    def metadata(self) -> dict:
        """What the weights file says about itself: config, data, steps, licence."""
        return self.networks.metadata

    def __call__(
        self,
        image: Input | Tensor,
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        face: Face = "largest",
    ) -> "Edit | Tensor":
        """Edit one photo, or a batch of aligned crops.

        Args:
            image: a path, a PIL image, a `Photo`; or a float tensor (B, 3, S, S) in [0, 1] of aligned crops, which gives back a
                tensor of the same shape; B may be 0.
            expression: such as `"smile"`, `"smile:0.7"`, `{"smile": 0.5, "squint": 0.5}`; None keeps the face's own.
            lighting: a class `"07"`, a word (`"left"`), an azimuth in degrees (`-45`: from the picture's left), azimuth and
                elevation (`(-45, 20)`), several lamps (`"-45 + 0.5*60,20"`), or a `LightSetup`; None keeps the photo's own.
            strength: 0 gives the photo as it is, 1 the whole edit, up to 1.5 exaggerates it.
            face: `"largest"`, a number (1 is the largest), `"all"`, or `"aligned"` for a picture that is a face crop already.

        Raises:
            ImageError, FaceError, ConditionError: a picture that cannot be read, or crops of another size; no face, or none of that
                number; an unknown expression or lighting.
        """
        if isinstance(image, Tensor):
            x, size = from_unit(image), self.networks.size
            if x.shape[2:] != (size, size):
                height, width = x.shape[2:]
                raise ImageError(
                    f"the crops are {width}x{height} pixels, and this editor edits {size}x{size}: scale them first"
                )
            return to_unit(self._translated(x, expression, lighting, strength)[0])
        return next(self.edit_many([image], expression, lighting, strength, face))

    def edit_many(
        self,
        images: Iterable[Input],
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        face: Face = "largest",
        batch_size: int = 8,
    ) -> Iterator[Edit]:
        """Edit many photos alike, the faces of `batch_size` photos through the networks together; yields in their order."""
        self.check(expression, lighting, strength)
        subjects = (self.prepare(image, face) for image in images)
        return self.edit_subjects(subjects, expression, lighting, strength, batch_size)

    def check(self, expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float = 1.0) -> None:
        """Check an edit before any photo is read.

        Raises:
            ConditionError: an unknown name, a value out of range, or None where the weights cannot tell a face's own.
        """
        check_strength(strength)
        self.networks.target_codes(torch.zeros(1, 3, self.networks.size, self.networks.size), expression, lighting)

    def prepare(self, image: Input, face: Face = "largest") -> Subject:
        """Read a photo and find and align its faces; arguments and errors as in `__call__`."""
        photo = image if isinstance(image, Photo) else photo_of(image) if isinstance(image, Image.Image) else load_photo(image)
        if face == "aligned":
            return Subject(photo, ())
        found = detect(photo.image)
        name = str(photo.path or "the image")
        if not found:
            raise FaceError(
                f"no face found in {name}: give a photo with a face seen from the front, at least {MIN_FACE_SIDE} pixels wide"
            )
        chosen = found if face == "all" else [found[_face_number(face, len(found), name) - 1]]
        return Subject(photo, tuple(align(photo.image, f.landmarks, self.networks.size) for f in chosen))

    def edit_subjects(
        self,
        subjects: Iterable[Subject],
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        batch_size: int = 8,
    ) -> Iterator[Edit]:
        """Edit photos whose faces `prepare` found; arguments as in `edit_many`."""
        mark = Mark(self.networks.checksum, edit_words(expression, lighting, strength))
        for group in grouped(subjects, batch_size):
            pictures = [subject.pictures(self.networks.size) for subject in group]
            x = to_network([picture for own in pictures for picture in own])
            edited, whole = self._translated(x, expression, lighting, strength)
            crops, start = from_network(edited), 0
            for subject, sources in zip(group, pictures, strict=True):
                rows = slice(start, start := start + len(sources))
                after = tuple(Image.fromarray(crop) for crop in crops[rows])
                fields = _photo_fields(subject, whole, rows, strength)
                image = _edited_photo(subject, after, fields, is_edited=strength > 0)
                masks = whole.expression_mask[rows].numpy(), whole.lighting_mask[rows].numpy()
                yield Edit(image, tuple(sources), after, *masks, subject.photo, of_photo(mark, subject.photo), fields)

    def _translated(
        self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float
    ) -> tuple[Tensor, GeneratorOutput]:
        """Edit crops (B, 3, S, S) in [-1, 1]; also the generator's output for the whole edit."""
        if not len(x):  # no crops: the wishes are checked all the same
            self.check(expression, lighting, strength)
            return x, GeneratorOutput(x, x[:, :0], x[:, :0], None)
        check_strength(strength)
        target = self.networks.target_codes(x, expression, lighting)
        full = self.networks.translate(x, target)
        return partial_edit(self.networks, x, full, target, strength, keeps_expression=expression is None), full


def load_editor(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Editor:
    """Return an editor with the packaged weights, or with those of a file that `legan export` wrote; `precision` as for `Networks`.

    Raises:
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    return Editor(load_networks(weights, device, precision))


def edit(
    image: Input,
    expression: ExpressionSpec | None = None,
    lighting: LightingSpec | None = None,
    strength: float = 1.0,
    face: Face = "largest",
    weights: str | Path | None = None,
) -> Edit:
    """Edit one photo with an editor that is loaded once and kept; arguments as in `Editor.__call__` and `load_editor`."""
    return next(_kept_editor(weights).edit_many([image], expression, lighting, strength, face))


def edit_words(expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float) -> str:
    """Return an edit in words, for marks and for people: `expression=smile lighting=-45 strength=1`."""
    if isinstance(expression, str) or expression is None:
        expression_word = expression or "kept"
    else:
        expression_word = ",".join(f"{name}:{weight:g}" for name, weight in expression.items())
    if isinstance(lighting, (str, int, float, numbers.Real, LightSetup)) or lighting is None:
        lighting_word = "kept" if lighting is None else str(lighting)
    else:
        lighting_word = ",".join(f"{angle:g}" for angle in lighting)
    return f"expression={expression_word} lighting={lighting_word} strength={strength:g}"


@lru_cache(maxsize=1)
def _kept_editor(weights: str | Path | None) -> Editor:
    return load_editor(weights)


def _face_number(face: Face, n_found: int, name: str) -> int:
    if face == "largest":
        return 1
    number = int(face) if isinstance(face, int) or face.isdecimal() else 0
    if not 1 <= number <= n_found:
        choices = "1" if n_found == 1 else f"1 (the largest) to {n_found}"
        raise FaceError(f"there is no face {face} in {name}: {n_found} found, choose {choices}, 'largest' or 'all'")
    return number


def _photo_fields(subject: Subject, whole: GeneratorOutput, rows: slice, strength: float) -> tuple[PhotoFields, ...]:
    """The fields of a subject's faces, which are `rows` of the batch; none where the generator predicts colours."""
    if whole.displacement is None or whole.gain is None or whole.bias is None or not subject.crops:
        return ()
    planes = zip(*(plane[rows].numpy() for plane in (whole.displacement, whole.gain, whole.bias)), strict=True)
    width, height = subject.photo.image.size
    return tuple(
        PhotoFields(CropFields.from_planes(*own).scaled(strength), person, width, height)
        for own, person in zip(planes, subject.people, strict=True)
    )


def _edited_photo(
    subject: Subject, edited: tuple[Image.Image, ...], fields: tuple[PhotoFields, ...], is_edited: bool
) -> Image.Image:
    """The photo with its faces edited: at its own pixels where there are fields, else with the edited crops pasted back.

    Without an edit it is the photo itself, bit for bit.
    """
    if not is_edited:
        return subject.photo.image.copy()
    if not subject.crops:
        return edited[0]
    if fields:
        pixels = np.asarray(subject.photo.image)
        for own in fields:
            pixels = own.apply(pixels)
        return Image.fromarray(pixels)
    image = subject.photo.image
    for crop, after in zip(subject.crops, edited, strict=True):
        image = paste(image, crop, after)
    return image


def _mask_picture(masks: np.ndarray, size: int) -> Image.Image:
    """Masks (n, channels, h, w) side by side: mean distance of a pixel's channels from their mean over the face."""
    activity = np.abs(masks - masks.mean((2, 3), keepdims=True)).mean(1)  # (n, h, w)
    n, height, width = activity.shape
    # Blocks of 2x2: pixel shuffle leaves a pattern of that size, which says nothing about the face.
    activity = activity.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4))
    border = max(1, height // 32)  # convolutions see no picture beyond the border
    inside = activity[:, border:-border, border:-border]
    low, high = (np.quantile(inside, q, axis=(1, 2), keepdims=True) for q in (0.01, 0.995))
    grey = (255 * ((activity - low) / np.maximum(high - low, 1e-6)).clip(0, 1)).round().astype(np.uint8)
    row = Image.new("RGB", (size * n, size))
    for i, one in enumerate(grey):
        row.paste(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC).convert("RGB"), (i * size, 0))
    return row
