"""What an importer says about one picture of a public data set."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from legan.core.errors import DataError
from legan.core.listing import find_images
from legan.core.names import utf8_name


@dataclass(frozen=True)
class SourceImage:
    """One picture and who is in it.

    Args:
        path: the picture.
        identity: name of the person; pictures of one person never come into different splits.
        kind: what made it, such as "photo", "deepfakes", "stylegan".
        setting: how, such as "deepfakes/c23".
        expression: what the data set says of it, in the data set's words; "" where it says nothing.
        split: train, val or test where the data set has its own; "" leaves it to the identity.
        landmarks: the 68 iBUG points (68, 2) in pixels of the picture, where the data set gives them.
    """

    path: Path
    identity: str
    kind: str
    setting: str
    expression: str = ""
    split: str = ""
    landmarks: np.ndarray | None = field(default=None, compare=False)


def pictures_in(folder: Path) -> list[Path]:
    """Return all pictures in a folder and below, by name; hidden ones are left out.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: name the one that holds the pictures")
    return find_images(folder)


def _in_utf8(image: SourceImage) -> SourceImage:
    """What was told by names, as text that a manifest holds."""
    identity, kind, setting, expression = map(utf8_name, (image.identity, image.kind, image.setting, image.expression))
    return replace(image, identity=identity, kind=kind, setting=setting, expression=expression)


def required(found: Iterable[SourceImage], folder: Path, layout: str) -> list[SourceImage]:
    """Return the pictures as a list.

    Raises:
        DataError: there are none; the message tells the layout that was expected.
    """
    images = [_in_utf8(image) for image in found]
    if not images:
        raise DataError(f"{folder} holds no pictures as {layout}: name the folder above them")
    return images
