"""Listing the images of a folder: one walk for every command, which names what it leaves out.

Hidden files and folders (`.name`, which covers the `._name` files that macOS writes) are skipped. Linked folders are walked,
each real folder once, so that links in a circle end.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from legan.core.formats import READ_SUFFIXES
from legan.core.names import utf8_name

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


def find_images(folder: Path, exclude: Path | None = None) -> list[Path]:
    """Return the images of `list_images`, and log a warning of what was left out."""
    found = list_images(folder, exclude)
    for note in found.notes():
        _LOG.warning("%s: %s", utf8_name(folder), note)
    return found.images


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
