"""Labeled Faces in the Wild (Huang et al., 2007): folder a person, and the list `pairs.txt` of the ten folds.

Layout: `<Name>/<Name>_0001.jpg`. `pairs.txt`: a first line `10<tab>300`, folds and pairs of each kind in one; then in each fold the
pairs of one person, `Name<tab>1<tab>4`, before those of two, `Name<tab>1<tab>Other<tab>2`. Restricted to research by its authors.
"""

from pathlib import Path
from typing import NamedTuple

from legan.core.errors import DataError
from legan.data.sources.lines import lines_of, wrong_line
from legan.data.sources.source import SourceImage, pictures_in, required

_LAYOUT = "<Name>/<Name>_0001.jpg"
_FORM = "NAME, NUMBER, NUMBER or NAME, NUMBER, NAME, NUMBER, with tabs between"


class ImagePairs(NamedTuple):
    """A list of pairs: each image once, and for each pair two places in that list and whether both show one person."""

    images: list[str]
    first: list[int]
    second: list[int]
    same: list[bool]
    n_folds: int


def read_lfw(folder: Path) -> list[SourceImage]:
    """Return all pictures; each folder is a person.

    Raises:
        DataError: no pictures in this layout.
    """
    folder = Path(folder)
    found = ((path, path.relative_to(folder).parts) for path in pictures_in(folder))
    images = (SourceImage(path, parts[-2], "photo", "photo/lfw") for path, parts in found if len(parts) >= 2)
    return required(images, folder, _LAYOUT)


def read_pairs(path: Path) -> ImagePairs:
    """Read `pairs.txt`; images are named `<Name>/<Name>_0001.jpg`.

    Raises:
        DataError: a missing file, a line of another form, or another number of pairs than the first line says; the message names
            file and line.
    """
    lines = lines_of(path, "LFW's list of pairs, from its download page")
    number, line = next(lines, (1, ""))
    head = line.split()
    if not 1 <= len(head) <= 2 or not all(word.isdecimal() and int(word) > 0 for word in head):
        raise wrong_line(path, number, line, "FOLDS and PAIRS, such as 10<tab>300")
    n_folds, n_each = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    places: dict[str, int] = {}
    pairs = ImagePairs([], [], [], [], n_folds)
    for number, line in lines:
        words = line.split("\t") if "\t" in line else line.split()
        if len(words) == 3 and words[1].isdecimal() and words[2].strip().isdecimal():
            names = _name(words[0], words[1]), _name(words[0], words[2])
        elif len(words) == 4 and words[1].isdecimal() and words[3].strip().isdecimal():
            names = _name(words[0], words[1]), _name(words[2], words[3])
        else:
            raise wrong_line(path, number, line, _FORM)
        at = [places.setdefault(name, len(places)) for name in names]
        pairs.first.append(at[0])
        pairs.second.append(at[1])
        pairs.same.append(len(words) == 3)
    if len(pairs.same) != 2 * n_each * n_folds:
        raise DataError(
            f"{path} has {len(pairs.same)} pairs where its first line says {2 * n_each * n_folds}: download it again"
        )
    return pairs._replace(images=list(places))


def _name(person: str, number: str) -> str:
    return f"{person.strip()}/{person.strip()}_{int(number):04d}.jpg"
