"""Edit the lighting and the expression of faces in photos: detect, align, translate, render at the photo's pixels, mark.

editor = load_editor()
editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")

Below: the editor, the edit that it returns, the readings of an edit, and its strength.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from legan.core.deep import DEEP_FORMATS
from legan.core.errors import ConditionError, ConfigError, FaceError, ImageError
from legan.core.geometry import warp
from legan.core.images import (
    Photo,
    as_photo,
    encode_photo,
    from_network,
    from_unit,
    image_list,
    save_photo,
    to_network,
    to_unit,
    write_format,
)
from legan.core.light import LightSetup
from legan.core.places import Place
from legan.core.weights import HUB_FILE
from legan.editing.marks import Mark, marked_metadata, of_photo
from legan.editing.pretrained import push_to_hub, save_pretrained
from legan.faces.align import AlignedCrop, align, grouped
from legan.faces.detect import MIN_FACE_SIDE, detect
from legan.faces.detect import Face as FoundFace
from legan.faces.embeddings import Embedding, load_embedding
from legan.faces.native import CropFields, Person, PhotoFields, find_person
from legan.faces.paste import paste
from legan.faces.suitability import suitable_faces
from legan.metrics.verification import match_scores
from legan.models.editors import CachedNetworks, Codes, CropEditor, ExpressionSpec, LightingSpec, Networks, load_networks
from legan.models.generator import GeneratorOutput, apply_fields
from legan.quality.scorer import score_crops
from legan.requests import check_min_match

Input = str | Path | Place | Image.Image | np.ndarray | Photo
Face = int | str  # 1, 2, ... (1 is the largest), "largest", "all", or "aligned"
LOWER_STRENGTHS = (0.75, 0.5, 0.25)  # parts of the strength asked for that are tried where the match is too low


class Editor:
    """Edits photos: `editor(image, expression="smile", lighting=-45)`. Made by `load_editor`.

    Example:
        >>> editor = legan.load_editor()
        >>> edits = editor(["photo.jpg", "other.jpg"], lighting="left", strength=0.8)
        >>> [len(edited.crops) for edited in edits]
        [1, 1]
        >>> folder = editor.save_pretrained("my-editor")  # weights and a model card
        >>> legan.Editor.from_pretrained(folder).metadata == editor.metadata
        True
    """

    def __init__(self, networks: CropEditor) -> None:
        self.networks = networks

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, device: str = "cpu", precision: str = "auto") -> Editor:
        """Return the editor of a folder of `save_pretrained`, of a weights file, or of `owner/name` on the hub.

        Run folders and the fitted head are opened by `legan.load_editor`.

        Raises:
            WeightsError, ConfigError: as `legan.load_editor`.
        """
        path = Path(name_or_path)
        return cls(load_networks(path / HUB_FILE if path.is_dir() else name_or_path, device, precision))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the weights file and a model card to a folder, and return it.

        Raises:
            WeightsError: this editor was not opened from a weights file.
        """
        return save_pretrained(self.networks, folder)

    def push_to_hub(self, repo_id: str, private: bool = True) -> str:
        """Upload the weights file and a model card to the Hugging Face hub as `owner/name`, and return its address (extra `hub`).

        Raises:
            WeightsError: this editor was not opened from a weights file, huggingface_hub is not installed, or the upload failed.
        """
        return push_to_hub(self.networks, repo_id, private)

    @property
    def metadata(self) -> dict:
        """What the weights file says about itself: config, data, steps, licence."""
        return self.networks.metadata

    def cached(self, n_outputs: int = 128) -> Editor:
        """Return an editor that edits alike and keeps the last `n_outputs` outputs of its networks, about 1 MB each.

        Edits of a photo that differ in the lamps' colour, brightness, softness or strength then need no network, which is what an
        interactive editor is made of. Threads may share it.

        Raises:
            ConfigError: this editor is not made of networks: the fitted head keeps its own.
        """
        if not isinstance(self.networks, Networks):
            raise ConfigError("only an editor made of networks keeps their outputs: load the packaged one, or a weights file")
        return Editor(CachedNetworks(self.networks, n_outputs))

    def __call__(
        self,
        image: Input | Sequence[Input] | Tensor,
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        face: Face = "largest",
        force: bool = False,
        min_match: float | None = None,
    ) -> Any:
        """Edit one photo (an `Edit`), several (a list of them, in batches), or a batch of aligned crops (a tensor).

        Args:
            image: a path, a PIL image, an array RGB (H, W, 3), uint8 or floats in [0, 1], or a `Photo`; a list of these, or an
                array (B, H, W, 3); or a float tensor (B, 3, S, S) in [0, 1] of aligned crops, which gives back a tensor of the same
                shape, B may be 0.
            expression: such as `"smile"`, `"smile:0.7"`, `{"smile": 0.5, "squint": 0.5}`; None keeps the face's own.
            lighting: a class `"07"`, a word (`"left"`), an azimuth in degrees (`-45`: from the image's left), azimuth and
                elevation (`(-45, 20)`), several lamps (`"-45 + 0.5*60,20"`), or a `LightSetup`; None keeps the photo's own.
            strength: 0 gives the photo as it is, 1 the whole edit, up to 1.5 exaggerates it.
            face: `"largest"`, a number (1 is the largest), `"all"`, or `"aligned"` for an image that is a face crop already.
            force: edit faces too whose edit would be refused: turned too far, cut by the frame, too small
                (`legan.faces.suitability`). Aligned crops are never refused.
            min_match: the least match with the photo (`Edit.readings`) that an edit must keep: a lower strength is tried where it
                does not. Photos only.

        Raises:
            ImageError, FaceError, ConditionError: an image that cannot be read, or crops of another size; no face, none of that
                number, one that is refused, or a match that no strength keeps; an unknown expression or lighting.
        """
        if isinstance(image, Tensor):
            x, size = from_unit(image), self.networks.size
            if x.shape[2:] != (size, size):
                height, width = x.shape[2:]
                raise ImageError(
                    f"the crops are {width}x{height} pixels, and this editor edits {size}x{size}: scale them first"
                )
            return to_unit(self._translated(x, expression, lighting, strength)[0])
        several = image_list(image)
        images: list[Any] = [image] if several is None else several
        edits = self.edit_many(images, expression, lighting, strength, face, force=force, min_match=min_match)
        return next(edits) if several is None else list(edits)

    def edit_many(
        self,
        images: Iterable[Input],
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        face: Face = "largest",
        batch_size: int = 8,
        force: bool = False,
        min_match: float | None = None,
    ) -> Iterator[Edit]:
        """Edit many photos alike, the faces of `batch_size` photos through the networks together; yields in their order."""
        self.check(expression, lighting, strength)
        check_min_match(min_match)
        subjects = (self.prepare(image, face, force, expression is not None) for image in images)
        edits = self.edit_subjects(subjects, expression, lighting, strength, batch_size)
        return (self.matched(edit, expression, lighting, min_match) for edit in edits)

    def check(self, expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float = 1.0) -> None:
        """Check an edit before any photo is read.

        Raises:
            ConditionError: an unknown name, a value out of range, or None where the weights cannot estimate a face's own.
        """
        check_strength(strength)
        self.networks.target_codes(torch.zeros(1, 3, self.networks.size, self.networks.size), expression, lighting)

    def prepare(
        self,
        image: Input,
        face: Face = "largest",
        force: bool = False,
        changes_expression: bool = True,
        found: Sequence[FoundFace] | None = None,
    ) -> Subject:
        """Read a photo and find and align its faces; arguments and errors as in `__call__`.

        `changes_expression` also checks what only edits of the expression need (`legan.faces.suitability`). `found` are the photo's
        faces where they are known already (`legan.faces.detect.detect`).
        """
        photo = as_photo(image)
        if face == "aligned":
            return Subject(photo, ())
        found = detect(photo.image, thorough=face != "largest") if found is None else list(found)
        name = str(photo.path or "the image")
        if not found:
            raise FaceError(
                f"no face found in {name}: give a photo with a face seen from the front, at least {MIN_FACE_SIDE} pixels wide"
            )
        if face == "largest" and len(found) > 1:
            hint = f"{len(found)} faces found, the largest is edited: choose others by face 'all' or a number (2: the second largest)"
            photo = replace(photo, notes=(*photo.notes, hint))
        chosen = found if face == "all" else [found[_face_number(face, len(found), name) - 1]]
        kept, warnings = suitable_faces(chosen, photo.image.size, name, changes_expression, force)
        return Subject(photo, tuple(align(photo.image, f.landmarks, self.networks.size) for f in kept), warnings)

    def edit_subjects(
        self,
        subjects: Iterable[Subject],
        expression: ExpressionSpec | None = None,
        lighting: LightingSpec | None = None,
        strength: float = 1.0,
        batch_size: int = 8,
    ) -> Iterator[Edit]:
        """Edit photos that `prepare` returned; arguments as in `edit_many`."""
        mark = Mark(self.networks.checksum, edit_words(expression, lighting, strength))
        for group in grouped(subjects, batch_size):
            images = [subject.images(self.networks.size) for subject in group]
            x = to_network([image for own in images for image in own])
            edited, whole = self._translated(x, expression, lighting, strength)
            crops, start = from_network(edited), 0
            for subject, sources in zip(group, images, strict=True):
                rows = slice(start, start := start + len(sources))
                after = tuple(Image.fromarray(crop) for crop in crops[rows])
                fields = _photo_fields(subject, whole, rows, strength)
                image = _edited_photo(subject, after, fields, is_edited=strength > 0)
                masks = whole.expression_mask[rows].numpy(), whole.lighting_mask[rows].numpy()
                own_mark = of_photo(mark, subject.photo)
                yield Edit(
                    *(image, tuple(sources), after, *masks, subject, self.networks, own_mark, strength),
                    *(subject.warnings, fields, () if strength == 0 else fields or None),
                )

    def matched(
        self,
        edit: Edit,
        expression: ExpressionSpec | None,
        lighting: LightingSpec | None,
        min_match: float | None,
    ) -> Edit:
        """Return an edit that matches its photo by `min_match` at least: `edit`, or the same with less strength, with a warning.

        Raises:
            FaceError: none of `LOWER_STRENGTHS` does.
        """
        if min_match is None or (first := edit.readings.match) >= min_match:
            return edit
        what = f"the match with the photo at strength {edit.strength:g} is {first:.3f} ({edit.readings.identity})"
        for part in LOWER_STRENGTHS:
            weaker = next(self.edit_subjects([edit.subject], expression, lighting, part * edit.strength))
            if weaker.readings.match >= min_match:
                note = f"{what}, less than {min_match:g}: strength {weaker.strength:g} is used, {weaker.readings.match:.3f}"
                return weaker.warned(note)
        raise FaceError(
            f"{edit.photo.path or 'the image'}: {what}, and at {weaker.strength:g} still {weaker.readings.match:.3f}: "
            f"it must be {min_match:g}; ask for a smaller change"
        )

    def _translated(
        self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None, strength: float
    ) -> tuple[Tensor, GeneratorOutput]:
        """Edit crops (B, 3, S, S) in [-1, 1]; also the generator's output for the whole edit."""
        if not len(x):  # no crops: the conditions are checked all the same
            self.check(expression, lighting, strength)
            return x, GeneratorOutput(x, x[:, :0], x[:, :0], None)
        check_strength(strength)
        target = self.networks.target_codes(x, expression, lighting)
        full = self.networks.translate(x, target)
        return partial_edit(self.networks, x, full, target, strength, keeps_expression=expression is None), full


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


# The edited photo


class Step(Protocol):
    """A change of a photo's pixels."""

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return RGB pixels (H, W, 3), uint8 or uint16 with sRGB's curve, changed."""


NOTEBOOK_SIDE = 1024  # pixels; of the image that a notebook shows


@dataclass(frozen=True)
class Subject:
    """A photo and its face crops; a photo that is an aligned crop itself has none to paste back.

    `warnings` say why an edit may turn out badly, or which faces are left out.
    """

    photo: Photo
    crops: tuple[AlignedCrop, ...]
    warnings: tuple[str, ...] = ()

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Which pixels of the photo are the person's, for each crop; computed once for all edits."""
        pixels = np.asarray(self.photo.image)
        return tuple(find_person(pixels, crop) for crop in self.crops)

    def images(self, size: int) -> list[Image.Image]:
        """The crops to edit, `size` pixels a side."""
        if self.crops:
            return [crop.image for crop in self.crops]
        return [self.photo.image.resize((size, size), Image.Resampling.LANCZOS)]


@dataclass(frozen=True, repr=False)
class Edit:
    """An edited photo.

    Args:
        image: the whole photo, edited.
        sources, crops: its face crops before and after, in the order of `face`.
        expression_mask, lighting_mask: of the two hourglasses for each crop, float32 (n, channels, h, w) in [-1, 1]; without
            channels where the editor has none, as StarGAN's.
        subject: what was edited.
        networks: of the editor.
        mark: what a saved image says about itself.
        strength: of the edit; lower than requested where `min_match` required it.
        warnings: why the edit may have turned out badly, and other notes, each with its number.
        fields: displacement, gain and bias at the photo's own pixels, for each face. They can be applied to another development of
            the photo, with 16 bits (`PhotoFields.apply`). None where the editor predicts colours, as StarGAN's do, where the fitted
            head changes the expression, and for an image that is an aligned crop itself.
        steps: what was done to the photo's pixels, in this order (`apply`). None where the editor predicts colours, and for a crop.

    Example:
        >>> edited = legan.edit("photo.jpg", expression="smile")
        >>> edited.image.size == edited.photo.image.size
        True
        >>> edited.save("edited.png")
    """

    image: Image.Image
    sources: tuple[Image.Image, ...]
    crops: tuple[Image.Image, ...]
    expression_mask: np.ndarray
    lighting_mask: np.ndarray
    subject: Subject
    networks: CropEditor
    mark: Mark
    strength: float
    warnings: tuple[str, ...] = ()
    fields: tuple[PhotoFields, ...] = ()
    steps: tuple[Step, ...] | None = None

    @property
    def photo(self) -> Photo:
        """The photo that was edited."""
        return self.subject.photo

    @cached_property
    def readings(self) -> Readings:
        """Match with the photo, naturalness before and after, and the critic's classes; measured on first access, then kept.

        Measured on crops of the photo as it is saved, not on the network's output.
        """
        pixels, size = np.asarray(self.image), self.networks.size
        shown = [Image.fromarray(warp(pixels, crop.matrix, size)) for crop in self.subject.crops]
        return read_crops(self.sources, shown or self.crops, self.networks)

    @property
    def full_mark(self) -> Mark:
        """The mark, with the readings where they have been measured."""
        return replace(self.mark, readings=str(self.readings)) if "readings" in self.__dict__ else self.mark

    def of_file(self, checksum: str) -> Edit:
        """The same edit, whose mark names the photo's file by its SHA-256: for a photo that was handed over without its path."""
        return replace(self, mark=replace(self.mark, photo=checksum))

    def warned(self, note: str) -> Edit:
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
        """Write the photo as PNG, JPEG, WebP or TIFF, with its metadata; `mark` says in it that an algorithm edited it.

        A photo of 16 bits a channel is written so as PNG and TIFF, in its own colours and with its profile, where `depth_note` is None.

        Raises:
            ImageError: an unknown ending, or 16 bits that cannot be read again.
            LeganError: the place cannot be written; nothing is left behind.
        """
        metadata = marked_metadata(self.full_mark, self.photo) if mark else None
        if self.photo.deep is None or self.depth_note(path):
            save_photo(self.image, path, self.photo, quality, metadata)
        else:
            self.photo.deep.save(path, write_format(path), self.apply, metadata or self.photo.metadata)

    def depth_note(self, path: str | Path) -> str | None:
        """Why a photo of 16 bits a channel gets 8 when it is saved as `path`; None where it has no more, or keeps them."""
        if self.photo.deep is None:
            return None
        if (format := write_format(path)) not in DEEP_FORMATS:
            return f"16 bits a channel: the result has 8, as {format} is written so; name a .tiff or .png file to keep them"
        return "16 bits a channel: the result has 8, as this editor predicts colours" if self.steps is None else None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return another development of the photo edited: RGB (H, W, 3) of its size, uint8 or uint16, with sRGB's curve.

        Raises:
            ConditionError: the editor predicts colours, or the photo is an aligned crop.
            ImageError: pixels of another type or size.
        """
        if self.steps is None:
            raise ConditionError("this edit predicts colours, which fit no other pixels than the photo's: use its image")
        for step in self.steps:
            pixels = step.apply(pixels)
        return pixels

    def mask_images(self) -> tuple[Image.Image, Image.Image]:
        """The two masks as grey images, bright where they act most; several faces stand side by side.

        Raises:
            ConditionError: the editor has none (`CropEditor.has_masks`).
        """
        if not self.expression_mask.shape[1]:
            raise ConditionError("the editor makes no masks: only LEGAN's do")
        size = self.crops[0].width
        return _mask_image(self.expression_mask, size), _mask_image(self.lighting_mask, size)


def _mask_image(masks: np.ndarray, size: int) -> Image.Image:
    """Masks (n, channels, h, w) side by side: mean distance of a pixel's channels from their mean over the face."""
    activity = np.abs(masks - masks.mean((2, 3), keepdims=True)).mean(1)  # (n, h, w)
    n, height, width = activity.shape
    # Blocks of 2x2: pixel shuffle leaves a pattern of that size, which says nothing about the face.
    activity = activity.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4))
    border = max(1, height // 32)  # convolutions see no image beyond the border
    inside = activity[:, border:-border, border:-border]
    low, high = (np.quantile(inside, q, axis=(1, 2), keepdims=True) for q in (0.01, 0.995))
    grey = (255 * ((activity - low) / np.maximum(high - low, 1e-6)).clip(0, 1)).round().astype(np.uint8)
    row = Image.new("RGB", (size * n, size))
    for i, one in enumerate(grey):
        row.paste(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC).convert("RGB"), (i * size, 0))
    return row


# Readings: match with the photo, naturalness before and after, and the critic's classes. Measured on request only: it takes longer than
# the edit itself.


@dataclass(frozen=True)
class Seen:
    """The class that an editor's critic holds most probable."""

    name: str
    probability: float


@dataclass(frozen=True)
class FaceReadings:
    """Readings of one face.

    Args:
        match: cosine of the embeddings of the face before and after, in [-1, 1], higher for one person.
        quality_before, quality_after: Q's scores, 0 (unnatural) to 10 (hyper-realistic).
        expression, lighting: the critic's classes of the edited face; None where the weights hold no critic.
    """

    match: float
    quality_before: float
    quality_after: float
    expression: Seen | None
    lighting: Seen | None


@dataclass(frozen=True)
class Readings:
    """Readings of an edit: `faces` in its order, `identity` names the embedding of `match`.

    Example:
        >>> readings = legan.edit("photo.jpg", expression="smile").readings
        >>> -1 <= readings.match <= 1 and 0 <= readings.faces[0].quality_after <= 10
        True
    """

    identity: str
    faces: tuple[FaceReadings, ...]

    @property
    def match(self) -> float:
        """The match of the face that matches least."""
        return min(face.match for face in self.faces)

    def __str__(self) -> str:
        return "; ".join(self._words(face) for face in self.faces)

    def _words(self, face: FaceReadings) -> str:
        attributes = (("expression", face.expression), ("lighting", face.lighting))
        seen = "".join(f" {name}={one.name}:{one.probability:.2f}" for name, one in attributes if one)
        quality = f"quality={face.quality_before:.2f}>{face.quality_after:.2f}"
        return f"match={face.match:.3f} identity={self.identity} {quality}{seen or ' critic=none'}"

    def as_json(self) -> dict[str, Any]:
        """The readings as plain values."""
        faces = [_rounded(asdict(face)) for face in self.faces]
        return {"identity": self.identity, "faces": faces}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for key, value in values.items()
    }


def read_crops(before: Sequence[Image.Image], after: Sequence[Image.Image], networks: CropEditor) -> Readings:
    """Measure edits of face crops, aligned alike before and after; `networks` are the editor's, for its critic."""
    embedding = _embedding()
    matches = match_scores(embedding.embed(before), embedding.embed(after))
    scores = [score_crops(crops).tolist() for crops in (before, after)]
    expressions, lightings = _seen(after, networks)
    rows = zip(matches, *scores, expressions, lightings, strict=True)
    return Readings(embedding.name, tuple(FaceReadings(float(match), *rest) for match, *rest in rows))


@lru_cache(maxsize=1)
def _embedding() -> Embedding:
    """The packaged identity network, loaded once."""
    return load_embedding()


def _seen(crops: Sequence[Image.Image], networks: CropEditor) -> tuple[list[Seen | None], list[Seen | None]]:
    if not networks.has_critic:
        return [None] * len(crops), [None] * len(crops)
    codes = networks.own_codes(to_network(crops))
    names = networks.classes.expressions, networks.classes.lighting_names
    return _most_probable(codes.expression.numpy(), names[0]), _most_probable(codes.lighting.numpy(), names[1])


def _most_probable(codes: np.ndarray, names: Sequence[str]) -> list[Seen | None]:
    return [Seen(names[int(code.argmax())], float(code.max())) for code in codes]


# Strength: 0 leaves the image as it is, 1 is the whole edit, up to 1.5 exaggerates it.
#
# An editor that keeps what is not named gives fields, and each field is scaled. Of other editors light is mixed between two images, in
# linear light, where light adds up; the mean of a face and its smile would show two mouths, so the expression code moves half-way instead,
# from the critic's estimate, and the generator runs again.


MAX_STRENGTH = 1.5
FADE_END = 0.25  # below it the generator's own small changes of an image are faded out, so that 0 is the image itself


def check_strength(strength: float) -> float:
    """Return `strength`.

    Raises:
        ConditionError: it is not in 0..1.5.
    """
    if not 0 <= strength <= MAX_STRENGTH:
        raise ConditionError(f"strength {strength:g} is out of range: give a number from 0 (no edit) to {MAX_STRENGTH:g}")
    return strength


def partial_edit(
    networks: CropEditor, x: Tensor, full: GeneratorOutput, target: Codes, strength: float, keeps_expression: bool
) -> Tensor:
    """Return crops edited with `strength`.

    Args:
        networks: of the editor. Without a critic the expression cannot be moved half-way: the images are mixed instead.
        x: crops (B, 3, S, S) in [-1, 1].
        full: their whole edits.
        target: the codes of the whole edit.
        strength: 0 to 1.5.
        keeps_expression: whether the edit leaves the expression as it is, so that only light changes.
    """
    if strength == 0:
        return x
    if strength == 1:
        return full.image
    if networks.keeps and full.displacement is not None and full.gain is not None and full.bias is not None:
        return apply_fields(x, strength * full.displacement, strength * full.gain, strength * full.bias).clamp(-1, 1)
    if strength > 1:
        return (x + strength * (full.image - x)).clamp(-1, 1)
    if keeps_expression or not networks.has_critic:
        return mixed_light(x, full.image, strength)

    # The expression half-way, under the own light and under the target's.
    own = networks.own_codes(x)
    expression = own.expression + strength * (target.expression - own.expression)
    before = networks.translate(x, Codes(expression, own.lighting)).image
    after = networks.translate(x, target.with_expression(expression)).image
    before = x + min(1.0, strength / FADE_END) * (before - x)
    if target.lamps is None and torch.equal(own.lighting, target.lighting):
        return before
    return mixed_light(before, after, strength)


def mixed_light(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Mix images in [-1, 1] as two lamps would: `share` of `b` and the rest of `a`, in linear light."""
    return _encoded(_linear(a).lerp(_linear(b), share))


def _linear(x: Tensor) -> Tensor:
    # IEC 61966-2-1, from [-1, 1] to linear light in [0, 1].
    v = (x.clamp(-1, 1) + 1) / 2
    return torch.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _encoded(light: Tensor) -> Tensor:
    v = torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return v.clamp(0, 1) * 2 - 1
