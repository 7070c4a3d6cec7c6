"""Any folder of pictures: each subfolder is a person (`person_of`), or an expression; pictures in it directly are people of their own."""

from pathlib import Path

from legan.core.errors import DataError
from legan.core.names import person_of
from legan.data.sources.source import SourceImage, pictures_in, required


def read_folder(folder: Path, kind: str = "photo") -> list[SourceImage]:
    """Return all pictures; `kind` is what they are, "photo" or the name of what made them.

    Raises:
        DataError: no pictures.
    """
    folder = Path(folder)
    images = []
    for path in pictures_in(folder):
        images.append(SourceImage(path, person_of(path, folder), kind, f"{kind}/{folder.resolve().name}"))
    return required(images, folder, "<person>/<picture> or <picture>")


_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_people(folder: Path) -> list[SourceImage]:
    """Return all pictures, each subfolder a person.

    Raises:
        DataError: no pictures.
    """
    return read_folder(folder)


def read_expressions(folder: Path) -> list[SourceImage]:
    """Return all pictures of `<expression>/<picture>` or `<split>/<expression>/<picture>`; who they show is not known.

    Raises:
        DataError: no pictures, or one without an expression's folder.
    """
    folder = Path(folder)
    images = []
    for path in pictures_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) < 2 or parts[-2].lower() in _SPLITS:
            raise DataError(f"{path} lies in no folder of an expression: lay pictures out as <expression>/<picture>")
        split = next((_SPLITS[part.lower()] for part in parts[:-2] if part.lower() in _SPLITS), "")
        name = "-".join((*parts[:-1], path.stem))
        images.append(SourceImage(path, name, "photo", f"photo/{folder.resolve().name}", parts[-2], split))
    return required(images, folder, "<expression>/<picture>")
