"""The photos of a folder with who and what they show: from a CSV file, from their names, or from their folders."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from legan.core.conditions import expression_name, unknown_expression
from legan.core.csv_table import read_csv_table
from legan.core.errors import DataError, no_such
from legan.core.files import path_inside
from legan.core.formats import READ_SUFFIXES
from legan.core.listing import find_images
from legan.core.manifest import SPLITS
from legan.core.names import composed, found_file, person_of, utf8_name

_REQUIRED = ("file", "identity", "expression")
_EVERY, _VALIDATION = 5, 4  # of the sorted identities every fifth is for validation


@dataclass(frozen=True)
class PhotoEntry:
    """One photo of a list.

    Args:
        path: the file.
        identity: who it shows.
        expression: one of the six.
        split: train, val or test.
        source, licence: where it comes from and what it may be used for.
        expression_known: False where the expression is only assumed to be neutral.
    """

    path: Path
    identity: str
    expression: str
    split: str
    source: str
    licence: str
    expression_known: bool = True

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return utf8_name(self.path.stem)


def list_photos(
    folder: Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    source: str | None = None,
    licence: str | None = None,
) -> list[PhotoEntry]:
    """List the photos of a folder.

    Args:
        folder: walked with its subfolders.
        identity_from_name: regular expression searched in each file's name; its group `identity`, or its first one, or what it
            matches names the person, its group `expression` the expression. Without it and a manifest, photos in a subfolder,
            however deep, show the person that the subfolder is named after, and each other photo a person of its own.
        manifest: CSV file with the columns file (within `folder`), identity and expression, and perhaps split, source, licence.
        source, licence: for photos whose manifest does not say; by default the folder's name, and "unknown".

    Returns:
        the photos, sorted by identity and file. Where no split is given, every fifth identity (sorted) is `val`, of fewer than five
        the last, and the rest `train`.

    Raises:
        DataError: no photo, a bad regular expression, or a CSV file with a missing column, file or unknown entry.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: name a folder of photos")
    if manifest is not None and identity_from_name is not None:
        raise DataError("the manifest names the people already: leave --identity-from-name out, or leave --manifest out")
    usual = {"source": source or utf8_name(folder.resolve().name), "licence": licence or "unknown"}
    entries = _from_csv(folder, Path(manifest), usual) if manifest else _from_names(folder, identity_from_name, usual)
    if not entries:
        raise DataError(f"{folder} holds no photos ({', '.join(READ_SUFFIXES)})")
    _check_names(entries)
    return sorted(_with_splits(entries), key=lambda entry: (entry.identity, entry.path))


def _from_names(folder: Path, pattern: str | None, usual: Mapping[str, str]) -> list[PhotoEntry]:
    try:
        search = re.compile(pattern) if pattern else None
    except re.error as error:
        raise DataError(f"cannot read the regular expression '{pattern}' ({error})") from None
    entries = []
    for path in find_images(folder):
        identity = _identity_of(person_of(path, folder))
        expression, known = "neutral", False
        if search is not None:
            match = search.search(path.name)
            if match is None:
                raise DataError(
                    f"'{pattern}' matches nothing in the name {path.name}: give an expression that fits every photo"
                )
            groups = match.groupdict()
            identity = _identity_of(groups.get("identity") or (match.group(1) if match.groups() else match.group(0)))
            if groups.get("expression"):
                expression, known = _expression(groups["expression"], str(path)), True
        entries.append(PhotoEntry(path, identity, expression, "", usual["source"], usual["licence"], known))
    return entries


def _identity_of(name: str) -> str:
    """A person's name as told by a file or folder; in one that is not UTF-8, the bytes stand as `_xe9`."""
    return composed(utf8_name(name).replace("\\x", "_x") if utf8_name(name) != name else name)


def _from_csv(folder: Path, manifest: Path, usual: Mapping[str, str]) -> list[PhotoEntry]:
    if not manifest.is_file():
        raise DataError(f"{manifest} does not exist: name a CSV file with the columns {', '.join(_REQUIRED)}")
    table = read_csv_table(manifest)
    missing = [name for name in _REQUIRED if name not in table.columns]
    if missing:
        raise DataError(f"{manifest} lacks the column {', '.join(missing)}: it needs {', '.join(_REQUIRED)}")
    return [
        _entry_of(folder, f"{manifest} line {line}", dict(zip(table.columns, row, strict=True)), usual)
        for row, line in zip(table.rows, table.lines, strict=True)
    ]


def _entry_of(folder: Path, where: str, row: Mapping[str, str], usual: Mapping[str, str]) -> PhotoEntry:
    empty = [name for name in _REQUIRED if not row[name]]
    if empty:
        raise DataError(f"{where}: the entry {empty[0]} is empty")
    path = found_file(folder, row["file"])
    path_inside(folder, row["file"])  # refuses what leads out of the folder
    if not path.is_file():
        raise DataError(f"{where}: {path} does not exist")
    expression, split = _expression(row["expression"], where), row.get("split", "")
    if split and split not in SPLITS:
        raise DataError(f"{where}: {no_such('split', split, SPLITS)}")
    source, licence = row.get("source", ""), row.get("licence", "")
    return PhotoEntry(path, row["identity"], expression, split, source or usual["source"], licence or usual["licence"])


def _expression(word: str, where: str) -> str:
    """The expression that a word means."""
    meant = expression_name(word)
    if meant is None:
        raise DataError(f"{where}: {unknown_expression(word)}")
    return meant


def _check_names(entries: Iterable[PhotoEntry]) -> None:
    """Names become keys in a person's shard: each may stand there once. Identities become file names."""
    seen: dict[tuple[str, str], Path] = {}
    files: set[Path] = set()
    for entry in entries:
        other = seen.setdefault((entry.identity, composed(entry.name)), entry.path)
        if other != entry.path or entry.path in files:
            raise DataError(f"{other} and {entry.path} have the same name: rename one")
        files.add(entry.path)
        if not re.fullmatch(r"[\w.-]+", entry.identity) or entry.identity.startswith("."):
            raise DataError(f"{entry.path}: the identity '{entry.identity}' may hold letters, digits, '_', '-' and '.' only")


def _with_splits(entries: list[PhotoEntry]) -> list[PhotoEntry]:
    """Fill in missing splits, and check that no person is in two."""
    given: dict[str, str] = {}
    for entry in entries:
        if entry.split and given.setdefault(entry.identity, entry.split) != entry.split:
            raise DataError(
                f"identity '{entry.identity}' is in the splits {given[entry.identity]} and {entry.split}: keep it in one"
            )
    identities = sorted({entry.identity for entry in entries})
    held_out = set(identities[_VALIDATION::_EVERY])
    free = [name for name in identities if name not in given]
    if not held_out and "val" not in given.values() and len(free) > ("train" not in given.values()):
        held_out = {free[-1]}  # of a few: a training needs one, and somebody to train on
    splits = {name: given.get(name) or ("val" if name in held_out else "train") for name in identities}
    return [replace(entry, split=splits[entry.identity]) for entry in entries]
