"""Labeled Faces in the Wild (Huang et al., 2007): folder a person, and the list `pairs.txt` of the ten folds.

Layout: `<Name>/<Name>_0001.jpg`. `pairs.txt`: a first line `10<tab>300`, folds and pairs of each kind in one; then in each fold the
pairs of one person, `Name<tab>1<tab>4`, before those of two, `Name<tab>1<tab>Other<tab>2`. Restricted to research by its authors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from legan.core.errors import DataError
from legan.core.images import READ_SUFFIXES
from legan.core.listing import composed, found_file
from legan.data.public.layout import SourceImage, images_in, lines_of, required, wrong_line

_LAYOUT = "<Name>/<Name>_0001.jpg"
_FORM = "NAME, NUMBER, NUMBER or NAME, NUMBER, NAME, NUMBER, with tabs, commas or spaces between"


class ImagePairs(NamedTuple):
    """A list of pairs: each image once, and for each pair two places in that list and whether both show one person."""

    images: list[str]
    first: list[int]
    second: list[int]
    same: list[bool]
    n_folds: int


def read_lfw(folder: Path) -> list[SourceImage]:
    """Return all images; each folder is a person.

    Raises:
        DataError: no images in this layout.
    """
    folder = Path(folder)
    found = ((path, path.relative_to(folder).parts) for path in images_in(folder))
    images = (SourceImage(path, parts[-2], "photo", "photo/lfw") for path, parts in found if len(parts) >= 2)
    return required(images, folder, _LAYOUT)


def read_pairs(path: Path) -> ImagePairs:
    """Read `pairs.txt`; images are named `<Name>/<Name>_0001`, without the ending of their files.

    Raises:
        DataError: a missing file, a line of another form, or another number of pairs than the first line says; the message names
            file and line.
    """
    lines = lines_of(path, "LFW's list of pairs, from its download page")
    number, line = next(lines, (1, ""))
    head = _words(line)
    is_heading = head[:1] == ["name"]  # of copies of the list as CSV, which do not say how many pairs there are
    if not is_heading and (not 1 <= len(head) <= 2 or not all(map(_is_number, head))):
        raise wrong_line(path, number, line, "FOLDS and PAIRS, such as 10<tab>300")
    n_folds, n_each = (1, int(head[0])) if len(head) == 1 else (10, 0) if is_heading else (int(head[0]), int(head[1]))
    places: dict[str, int] = {}
    pairs = ImagePairs([], [], [], [], n_folds)
    for number, line in lines:
        words = _words(line)
        if len(words) == 3 and _is_number(words[1]) and _is_number(words[2]):
            names = _name(words[0], words[1]), _name(words[0], words[2])
        elif len(words) == 4 and _is_number(words[1]) and _is_number(words[3]):
            names = _name(words[0], words[1]), _name(words[2], words[3])
        else:
            raise wrong_line(path, number, line, _FORM)
        at = [places.setdefault(name, len(places)) for name in names]
        pairs.first.append(at[0])
        pairs.second.append(at[1])
        pairs.same.append(len(words) == 3)
    if len(pairs.same) != 2 * n_each * n_folds and not (is_heading and pairs.same):
        raise DataError(
            f"{path} has {len(pairs.same)} pairs where its first line says {2 * n_each * n_folds}: download it again"
        )
    return pairs._replace(images=list(places))


def find_listed_images(folder: Path, images: Sequence[str]) -> list[Path]:
    """Return the files of a list's images, whatever the images' ending is and however the file system spells their names.

    Raises:
        DataError: an image that is not there; the message names it.
    """
    people: dict[str, dict[str, Path]] = {}
    return [_found(Path(folder), image, people) for image in images]


def _found(folder: Path, image: str, people: dict[str, dict[str, Path]]) -> Path:
    person, stem = image.rsplit("/", 1)
    if person not in people:
        place = found_file(folder, person)
        files = place.iterdir() if place.is_dir() else ()
        people[person] = {_with_four_digits(path.stem): path for path in sorted(files) if path.suffix.lower() in READ_SUFFIXES}
    if stem not in people[person]:
        raise DataError(
            f"{folder / image}.jpg does not exist: the list of pairs names it, and no image with another ending is there; give the "
            "folder that holds LFW's people"
        )
    return people[person][stem]


def _with_four_digits(stem: str) -> str:
    name, _, number = composed(stem).rpartition("_")
    return _numbered(name, number) if _is_number(number) else composed(stem)


def _words(line: str) -> list[str]:
    """The words of a line: between tabs, with or without others at its end, commas, or white space."""
    separator = next((mark for mark in ("\t", ",") if mark in line), None)
    words = [word.strip() for word in line.split(separator)]
    while words and not words[-1]:
        words.pop()
    return words


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 9 and int(word) > 0


def _name(person: str, number: str) -> str:
    return f"{person}/{_numbered(person, number)}"


def _numbered(name: str, number: str) -> str:
    return f"{name}_{int(number):04d}"
