"""Listing the images of a folder, and how names of people and files are compared."""

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from legan.core.errors import DataError, ImageError
from legan.core.images import READ_SUFFIXES

# Names of people and files. macOS writes "ë" as two characters (decomposed), other systems as one: both are the same name.


def composed(name: str) -> str:
    """Return a name in the one spelling by which names are compared: Unicode NFC."""
    return unicodedata.normalize("NFC", name)


def utf8_name(name: str | Path) -> str:
    r"""Return a file name as text that every table holds: bytes that are not UTF-8 become `\xe9`."""
    return re.sub("[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", str(name))


def found_file(folder: Path, name: str) -> Path:
    """Return the path of `name` in a folder as the file system spells it; `folder / name` where there is no such file."""
    spellings = (Path(folder) / spelling for spelling in (name, composed(name), unicodedata.normalize("NFD", name)))
    return next((path for path in spellings if path.exists()), Path(folder) / name)


def person_of(path: Path, folder: Path) -> str:
    """Return whom an image in a folder of people shows: the one rule for all commands.

    The first folder below `folder` is the person, however deep the image lies (`ann/2020/1.jpg` shows ann); an image directly in
    `folder` is of a person of its own, named as the file is.
    """
    inside = Path(path).relative_to(folder)
    return composed(inside.parts[0] if len(inside.parts) > 1 else inside.stem)


class ImageNames:
    """The images of a data set, found by any name that people's tables use for them.

    An image `shards/r000001/a.png` is found by that name, by a path that ends in it (`data/set/shards/r000001/a.png`), and by its
    own last parts (`r000001/a.png`, the plain file name `a.png`) where no other image has them.

    Args:
        names: of all images, as `legan.data.manifest.image_names` gives them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._full = {composed(name): name for name in names}
        self._by_end: dict[str, list[str]] = {}
        for spelled, name in self._full.items():
            parts = PurePosixPath(spelled).parts
            for start in range(1, len(parts)):
                self._by_end.setdefault("/".join(parts[start:]), []).append(name)

    def __bool__(self) -> bool:
        return bool(self._full)

    @property
    def example(self) -> str:
        """One of the names, for messages."""
        return next(iter(self._full.values()), "")

    def find(self, name: str) -> str | None:
        """Return the image's own name, or None where there is no such image.

        Raises:
            DataError: several images have this file name.
        """
        spelled = composed(name).replace(".tar/", "/")
        if spelled in self._full:
            return self._full[spelled]
        parts = PurePosixPath(spelled.replace("\\", "/")).parts
        for start in range(len(parts)):  # a path to the image from elsewhere
            if (end := "/".join(parts[start:])) in self._full:
                return self._full[end]
        found = self._by_end.get("/".join(parts), [])
        if len(found) > 1:
            raise DataError(f"'{name}' could be {found[0]} or {found[1]}: write such names with their folders")
        return found[0] if found else None


# Listing the images of a folder: one walk for every command, which names what it leaves out.
#
# Hidden files and folders (`.name`, which covers the `._name` files that macOS writes) are skipped. Linked folders are walked,
# each real folder once, so that links in a circle end.


_LOG = logging.getLogger(__name__)
_MAX_NAMED = 3  # files left out are named up to this number, else counted by ending


@dataclass
class Listing:
    """The images below a folder, sorted; `left_out` maps a reason to the files and folders left out for it."""

    images: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        """Record that `path` was left out."""
        self.left_out.setdefault(reason, []).append(path)

    def notes(self) -> list[str]:
        """One phrase a reason, such as `left out, not of a format that is read: IMG_1.cr3, notes.txt`."""
        return [f"left out, {reason}: {_counted(paths)}" for reason, paths in self.left_out.items()]


def list_images(folder: Path, exclude: Path | None = None) -> Listing:
    """List the image files in a folder and below, by their endings.

    Args:
        folder: walked with its subfolders and those linked from it.
        exclude: a folder that is not walked, such as the command's own output.
    """
    found = Listing()
    visited: set[tuple[int, int]] = set()
    excluded = exclude.resolve() if exclude is not None else None
    links = [Path(folder)]
    # Real folders first: a folder that is both inside and linked is listed under its own name.
    while links:
        start = links.pop(0)
        if start != Path(folder) and _is_walked(start, Path(folder), visited):
            found.leave_out("a link to a folder that is walked already", start)
            continue
        links += _walk(start, excluded, visited, found)
    found.images.sort()
    return found


def images_in_folder(folder: Path, exclude: Path | None = None) -> list[Path]:
    """Return the images of `list_images`, and log a warning of what was left out."""
    found = list_images(folder, exclude)
    for note in found.notes():
        _LOG.warning("%s: %s", utf8_name(folder), note)
    return found.images


def find_images(paths: Iterable[Path], exclude: Path | None = None) -> list[Path]:
    """Return the image files named and those in the folders named, by name; hidden ones and those below `exclude` are left out.

    Raises:
        ImageError: a path that does not exist, or no images at all.
    """
    paths, images = [Path(path) for path in paths], []
    for path in paths:
        if not path.exists():
            raise ImageError(f"{path} does not exist: check the name")
        images += images_in_folder(path, exclude) if path.is_dir() else [path]
    if not images:
        raise ImageError(f"no images in {', '.join(map(str, paths))}: name images, or a folder that holds some")
    return list(dict.fromkeys(images))


def _is_walked(link: Path, folder: Path, visited: set[tuple[int, int]]) -> bool:
    """Whether a linked folder was walked, or holds the folder itself."""
    target = link.resolve()
    return _identity(target) in visited or folder.resolve().is_relative_to(target)


def _walk(start: Path, excluded: Path | None, visited: set[tuple[int, int]], found: Listing) -> list[Path]:
    """Walk real folders; returns the linked folders met."""
    waiting, links = [start], []
    while waiting:
        folder = waiting.pop()
        if (excluded is not None and folder.resolve().is_relative_to(excluded)) or _identity(folder) in visited:
            continue
        visited.add(_identity(folder))
        for entry in _entries(folder, found):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_dir():
                links.append(path)
            elif not entry.is_file():
                reason = "a link to nothing" if entry.is_symlink() else "not a regular file"
                found.leave_out(reason, path)
            elif path.suffix.lower() in READ_SUFFIXES:
                found.images.append(path)
            else:
                found.leave_out("not of a format that is read", path)
    return sorted(links)


def _entries(folder: Path, found: Listing) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        found.leave_out(f"cannot be read ({error.strerror})", folder)
        return
    yield from sorted(visible, key=lambda entry: entry.name)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _counted(paths: list[Path]) -> str:
    if len(paths) <= _MAX_NAMED:
        return ", ".join(utf8_name(path.name) for path in paths)
    endings = Counter(utf8_name(path.suffix) or "no ending" for path in paths)
    counts = ", ".join(f"{n} {ending}" for ending, n in sorted(endings.items(), key=lambda item: (-item[1], item[0])))
    return f"{len(paths)} files ({counts})"
