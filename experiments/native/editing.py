"""One photo edited in two ways, for the scripts beside this one: the crop pasted back, as before, and at the photo's own pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.images import Photo, from_network, to_network
from legan.editing.editor import Editor, Subject
from legan.faces.align import AlignedCrop
from legan.faces.native import PhotoFields
from legan.faces.paste import paste


@dataclass(frozen=True)
class Edited:
    """RGB uint8 (H, W, 3) before, with the edited crop pasted back, and rendered natively, with the fields of the last."""

    before: np.ndarray
    pasted: np.ndarray
    native: np.ndarray
    fields: PhotoFields


def edit_both(editor: Editor, subject: Subject, expression: str | None, lighting: float | str | None) -> Edited:
    """Edit the first face of a photo in both ways, with one pass of the networks each."""
    edit = next(editor.edit_subjects([subject], expression, lighting))
    crop, photo = subject.crops[0], subject.photo.image
    x = to_network([crop.image])
    output = editor.networks.translate(x, editor.networks.target_codes(x, expression, lighting))
    pasted = paste(photo, crop, from_network(output.image)[0])
    return Edited(*(np.asarray(image) for image in (photo, pasted, edit.image)), edit.fields[0])


def whole_crop(image: Image.Image, size: int) -> Subject:
    """An image that is an aligned crop already, such as a render, with its crop of `size` pixels."""
    scale = size / image.width
    small = image.resize((size, size), Image.Resampling.BOX)
    return Subject(Photo(image), (AlignedCrop(small, np.array([[scale, 0, 0], [0, scale, 0]], np.float64)),))


def validation_people(london: Path) -> list[str]:
    """Every fifth person of the sorted list, from the fifth on: those that no packaged model was trained with."""
    return sorted({path.name[:3] for path in london.glob("*_neutral.jpg")})[4::5]
