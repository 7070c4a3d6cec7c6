"""What the readers of public data sets share: entries, folder walks, and lists of lines."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from legan.core.errors import DataError
from legan.core.inputs import Input, inputs_in, is_folder
from legan.core.listing import composed, images_in_folder, utf8_name
from legan.core.places import Place

# The log whose notes the command line prints: what a reader leaves out.
NOTES = "legan.core.listing"


# What an importer says about one image of a public data set.


@dataclass(frozen=True)
class SourceImage:
    """One image and who is in it.

    Args:
        path: the image.
        identity: name of the person; images of one person never come into different splits.
        kind: what made it, such as "photo", "deepfakes", "stylegan".
        setting: how, such as "deepfakes/c23".
        expression: what the data set says of it, in the data set's words; "" where it says nothing.
        split: train, val or test where the data set has its own; "" leaves it to the identity.
        landmarks: the 68 iBUG points (68, 2) in pixels of the image, where the data set gives them.
        lighting: its class, `00` to `19` or the data set's own word, where it was taken under known lights.
        attributes: those that the image has, in the data set's words.
        inside: its name within what was named; "" where it is that within the folder.
    """

    path: Path | Place
    identity: str
    kind: str
    setting: str
    expression: str = ""
    split: str = ""
    landmarks: np.ndarray | None = field(default=None, compare=False)
    lighting: str = ""
    attributes: tuple[str, ...] = ()
    inside: str = field(default="", compare=False)


def images_in(folder: Path) -> list[Path]:
    """Return all images in a folder and below, by name; hidden ones are left out.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds the images")
    return images_in_folder(folder)


def inputs_of(folder: str | Path) -> Iterable[Input]:
    """Return all images of a folder, a tar shard, a Parquet manifest or an address, as `legan.core.inputs.find_inputs` names them.

    Raises:
        DataError: no such thing.
    """
    if not is_folder(folder):
        raise DataError(f"{folder} is not a folder: name the one that holds the images")
    return inputs_in(folder)


def _in_utf8(image: SourceImage) -> SourceImage:
    """What was read from names, as text that a manifest holds."""
    words = (image.identity, image.kind, image.setting, image.expression, image.lighting)
    identity, kind, setting, expression, lighting = map(utf8_name, words)
    return replace(image, identity=identity, kind=kind, setting=setting, expression=expression, lighting=lighting)


def required(found: Iterable[SourceImage], folder: str | Path, layout: str) -> list[SourceImage]:
    """Return the images as a list.

    Raises:
        DataError: there are none; the message names the expected layout.
    """
    images = [_in_utf8(image) for image in found]
    if not images:
        raise DataError(f"{folder} holds no images as {layout}: name the folder above them")
    return images


# Lists in text files: errors name the file and the line.


def lines_of(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of each line that is not empty, without a byte order mark and white space at its ends.

    Raises:
        DataError: no such file, or one that is not text.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} does not exist: it is {what}")
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, composed(line.strip())
        except UnicodeDecodeError:
            raise DataError(f"{path} is not a text file: it should be {what}") from None


def wrong_line(path: Path, number: int, line: str, form: str) -> DataError:
    """The error about a line that has another form."""
    return DataError(f"{path}, line {number}: cannot read '{line.strip()[:80]}': it should be {form}")
