"""Any folder of images: each subfolder is a person (`person_of`), or an expression; images in it directly are people of their own."""

from pathlib import Path

from legan.core.errors import DataError
from legan.core.listing import person_of
from legan.data.public.layout import SourceImage, images_in, required


def read_folder(folder: Path, kind: str = "photo") -> list[SourceImage]:
    """Return all images; `kind` is what they are, "photo" or the name of what made them.

    Raises:
        DataError: no images.
    """
    folder = Path(folder)
    images = []
    for path in images_in(folder):
        images.append(SourceImage(path, person_of(path, folder), kind, f"{kind}/{folder.resolve().name}"))
    return required(images, folder, "<person>/<image> or <image>")


_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_people(folder: Path) -> list[SourceImage]:
    """Return all images, each subfolder a person.

    Raises:
        DataError: no images.
    """
    return read_folder(folder)


def read_expressions(folder: Path) -> list[SourceImage]:
    """Return all images of `<expression>/<image>` or `<split>/<expression>/<image>`; who they show is not known.

    Raises:
        DataError: no images, or one without an expression's folder.
    """
    folder = Path(folder)
    images = []
    for path in images_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) < 2 or parts[-2].lower() in _SPLITS:
            raise DataError(f"{path} lies in no folder of an expression: lay images out as <expression>/<image>")
        split = next((_SPLITS[part.lower()] for part in parts[:-2] if part.lower() in _SPLITS), "")
        name = "-".join((*parts[:-1], path.stem))
        images.append(SourceImage(path, name, "photo", f"photo/{folder.resolve().name}", parts[-2], split))
    return required(images, folder, "<expression>/<image>")
