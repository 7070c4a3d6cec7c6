"""Names of people and files. macOS writes "ë" as two characters (decomposed), other systems as one: both are the same name."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from legan.core.errors import DataError


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
        names: of all images, as `legan.core.manifest.image_names` gives them.
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
