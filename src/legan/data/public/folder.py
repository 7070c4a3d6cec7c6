"""Any folder of images: each subfolder is a person (`person_of`), an expression, or an expression under a lighting."""

from pathlib import Path, PurePosixPath

from legan.core.errors import DataError
from legan.core.inputs import name_of
from legan.core.listing import person_of
from legan.data.public.layout import SourceImage, inputs_of, required


def read_folder(folder: str | Path, kind: str = "photo") -> list[SourceImage]:
    """Return all images; `kind` is what they are, "photo" or the name of what made them.

    Args:
        folder: walked; or a tar shard, a Parquet manifest or an address, as for `legan.core.inputs.find_inputs`.

    Raises:
        DataError: no images.
    """
    images = []
    for place, inside in inputs_of(folder):
        person, setting = person_of(Path(inside), Path()), f"{kind}/{name_of(folder)}"
        images.append(SourceImage(place, person, kind, setting, inside=inside))
    return required(images, folder, "<person>/<image> or <image>")


_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_people(folder: str | Path) -> list[SourceImage]:
    """Return all images, each subfolder a person.

    Raises:
        DataError: no images.
    """
    return read_folder(folder)


def read_expressions(folder: str | Path) -> list[SourceImage]:
    """Return all images of `<expression>/<image>` or `<split>/<expression>/<image>`; who they show is not known.

    Raises:
        DataError: no images, or one without an expression's folder.
    """
    images = []
    for place, inside in inputs_of(folder):
        parts = PurePosixPath(inside).parts
        if len(parts) < 2 or parts[-2].lower() in _SPLITS:
            raise DataError(f"{place} lies in no folder of an expression: lay images out as <expression>/<image>")
        split = next((_SPLITS[part.lower()] for part in parts[:-2] if part.lower() in _SPLITS), "")
        name, setting = "-".join((*parts[:-1], PurePosixPath(inside).stem)), f"photo/{name_of(folder)}"
        images.append(SourceImage(place, name, "photo", setting, parts[-2], split, inside=inside))
    return required(images, folder, "<expression>/<image>")


def read_conditions(folder: str | Path) -> list[SourceImage]:
    """Return all images of `<expression>/<lighting>/<person>.jpg` or `<expression>/<lighting>/<person>/<image>`.

    Raises:
        DataError: no images, or one that lies elsewhere.
    """
    layout = "<expression>/<lighting>/<person>.jpg or <expression>/<lighting>/<person>/<image>"
    images = []
    for place, inside in inputs_of(folder):
        parts = PurePosixPath(inside).with_suffix("").parts
        if len(parts) not in (3, 4):
            raise DataError(f"{place} lies in no folders of an expression and a lighting: lay images out as {layout}")
        expression, lighting, person = parts[:3]
        setting = f"photo/{name_of(folder)}"
        images.append(SourceImage(place, person, "photo", setting, expression, lighting=lighting, inside=inside))
    return required(images, folder, layout)
