"""An edited photo: what was edited, what came out, what is worth knowing about it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from legan.apply.marks import Mark, marked_metadata
from legan.apply.networks import Networks
from legan.apply.readings import Readings, read_crops
from legan.core.errors import ConditionError
from legan.core.images import Photo, encode_photo, save_photo
from legan.faces.align import AlignedCrop
from legan.faces.native import Person, PhotoFields, find_person
from legan.faces.resample import warp

NOTEBOOK_SIDE = 1024  # pixels; of the picture that a notebook shows


@dataclass(frozen=True)
class Subject:
    """A photo and the face crops found in it; a photo that is an aligned crop itself has none to paste back.

    `warnings` say why an edit may turn out badly, or which faces are left out.
    """

    photo: Photo
    crops: tuple[AlignedCrop, ...]
    warnings: tuple[str, ...] = ()

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


@dataclass(frozen=True, repr=False)
class Edit:
    """An edited photo.

    Args:
        image: the whole photo, edited.
        sources, crops: its face crops before and after, in the order that `face` asked for.
        expression_mask, lighting_mask: what the two hourglasses gave for each crop, float32 (n, channels, h, w) in [-1, 1]; without
            channels where the editor makes none, as StarGAN's do.
        subject: what was edited.
        networks: of the editor.
        mark: what a saved picture says about itself.
        strength: the strength of the edit; lower than the one asked for where `min_match` made it so.
        warnings: why the edit may have turned out badly, and what else is worth knowing, each with the number.
        fields: what was done to the photo's own pixels, for each face: displacement, gain and bias. They can be applied to another
            development of the photo, with 16 bits (`PhotoFields.apply`). None where the editor predicts colours, as StarGAN's do, and
            for a picture that is an aligned crop itself.
    """

    image: Image.Image
    sources: tuple[Image.Image, ...]
    crops: tuple[Image.Image, ...]
    expression_mask: np.ndarray
    lighting_mask: np.ndarray
    subject: Subject
    networks: Networks
    mark: Mark
    strength: float
    warnings: tuple[str, ...] = ()
    fields: tuple[PhotoFields, ...] = ()

    @property
    def photo(self) -> Photo:
        """The photo that was edited."""
        return self.subject.photo

    @cached_property
    def readings(self) -> Readings:
        """Match with the photo, naturalness before and after, and what the critic sees; measured when first asked for, then kept.

        Both are measured on crops of the photo as it is saved, not on what the network gave.
        """
        pixels, size = np.asarray(self.image), self.networks.size
        shown = [Image.fromarray(warp(pixels, crop.matrix, size)) for crop in self.subject.crops]
        return read_crops(self.sources, shown or self.crops, self.networks)

    @property
    def full_mark(self) -> Mark:
        """The mark, with the readings where they have been measured."""
        return replace(self.mark, readings=str(self.readings)) if "readings" in self.__dict__ else self.mark

    def warned(self, note: str) -> "Edit":
        """The same edit with one more warning."""
        edit = replace(self, warnings=(*self.warnings, note))
        if "readings" in self.__dict__:  # measured once
            edit.__dict__["readings"] = self.readings
        return edit

    def __repr__(self) -> str:
        n = len(self.crops)
        faces = "1 face" if n == 1 else f"{n} faces"
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<Edit {self.image.width}x{self.image.height}, {faces}, {self.mark.edit}{warned}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the photo, at most `NOTEBOOK_SIDE` pixels a side."""
        small = self.image.copy()
        small.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE), Image.Resampling.LANCZOS)
        return encode_photo(small, "PNG")

    def save(self, path: str | Path, mark: bool = True, quality: int = 95) -> None:
        """Write the photo as PNG, JPEG or WebP, with its metadata; `mark` says in it that an algorithm edited it.

        Raises:
            ImageError: an unknown ending.
            LeganError: the place cannot be written; nothing is left behind.
        """
        metadata = marked_metadata(self.full_mark, self.photo) if mark else None
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
