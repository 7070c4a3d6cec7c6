"""Edit the lighting and the expression of faces in photos: detect, align, translate, paste back, mark.

editor = load_editor()
editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")
"""

import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from legan.apply.crops import grouped
from legan.apply.edited import Edit, Subject
from legan.apply.marks import Mark, of_photo
from legan.apply.networks import FITTED, ExpressionSpec, LightingSpec, Networks, load_networks
from legan.apply.readings import check_min_match
from legan.apply.strength import check_strength, partial_edit
from legan.core.errors import FaceError, ImageError
from legan.core.images import Photo, as_photo, from_network, from_unit, image_list, to_network, to_unit
from legan.core.lamps import LightSetup
from legan.faces.align import align
from legan.faces.detect import MIN_FACE_SIDE, detect
from legan.faces.fields import CropFields
from legan.faces.native import PhotoFields
from legan.faces.paste import paste
from legan.faces.suitability import suitable_faces
from legan.models.generator import GeneratorOutput

Input = str | Path | Image.Image | np.ndarray | Photo
Face = int | str  # 1, 2, ... (1 is the largest), "largest", "all", or "aligned"
LOWER_STRENGTHS = (0.75, 0.5, 0.25)  # parts of the strength asked for that are tried where the match is too low


class Editor:
    """Edits photos: `editor(image, expression="smile", lighting=-45)`. Made by `load_editor`."""

    batches = True  # whether faces of several photos are edited together, so that none can be refused by itself

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @property
    def metadata(self) -> dict:
        """What the weights file says about itself: config, data, steps, licence."""
        return self.networks.metadata

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
            lighting: a class `"07"`, a word (`"left"`), an azimuth in degrees (`-45`: from the picture's left), azimuth and
                elevation (`(-45, 20)`), several lamps (`"-45 + 0.5*60,20"`), or a `LightSetup`; None keeps the photo's own.
            strength: 0 gives the photo as it is, 1 the whole edit, up to 1.5 exaggerates it.
            face: `"largest"`, a number (1 is the largest), `"all"`, or `"aligned"` for a picture that is a face crop already.
            force: edit faces too whose edit would be refused: turned too far, cut by the frame, too small
                (`legan.faces.suitability`). Aligned crops are never refused.
            min_match: the least match with the photo (`Edit.readings`) that an edit must keep: a lower strength is tried where it
                does not. Photos only.

        Raises:
            ImageError, FaceError, ConditionError: a picture that cannot be read, or crops of another size; no face, none of that
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
            ConditionError: an unknown name, a value out of range, or None where the weights cannot tell a face's own.
        """
        check_strength(strength)
        self.networks.target_codes(torch.zeros(1, 3, self.networks.size, self.networks.size), expression, lighting)

    def prepare(self, image: Input, face: Face = "largest", force: bool = False, changes_expression: bool = True) -> Subject:
        """Read a photo and find and align its faces; arguments and errors as in `__call__`.

        Faces that an edit of the expression suits less than one of the light are told by `changes_expression`.
        """
        photo = as_photo(image)
        if face == "aligned":
            return Subject(photo, ())
        found = detect(photo.image, thorough=face != "largest")
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
                own_mark = of_photo(mark, subject.photo)
                yield Edit(
                    *(image, tuple(sources), after, *masks, subject, self.networks, own_mark, strength),
                    *(subject.warnings, fields),
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
        if not len(x):  # no crops: the wishes are checked all the same
            self.check(expression, lighting, strength)
            return x, GeneratorOutput(x, x[:, :0], x[:, :0], None)
        check_strength(strength)
        target = self.networks.target_codes(x, expression, lighting)
        full = self.networks.translate(x, target)
        return partial_edit(self.networks, x, full, target, strength, keeps_expression=expression is None), full


def load_editor(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Editor:
    """Return an editor with the packaged weights, or with those of a file that `legan export` wrote; `precision` as for `Networks`.

    `"fitted"` edits with the fitted head instead of a network (`legan.apply.fitted`; extra `render`), on the CPU.

    Raises:
        LeganError: the extra `render` is not installed.
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    networks = load_networks(weights, device, precision)
    if str(weights) == FITTED:
        from legan.apply.fitted import FittedEditor

        return FittedEditor(networks)
    return Editor(networks)


def edit(
    image: Input | Sequence[Input] | Tensor,
    expression: ExpressionSpec | None = None,
    lighting: LightingSpec | None = None,
    strength: float = 1.0,
    face: Face = "largest",
    weights: str | Path | None = None,
    force: bool = False,
    min_match: float | None = None,
) -> Any:
    """Edit with an editor that is loaded once and kept; arguments and result as in `Editor.__call__` and `load_editor`."""
    return _kept_editor(weights)(image, expression, lighting, strength, face, force, min_match)


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
