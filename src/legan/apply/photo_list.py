"""The photos of a folder with who and what they show: from a CSV file, from their names, or from their folders."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import DataError, no_such
from legan.core.formats import READ_SUFFIXES
from legan.core.listing import find_images, utf8_name
from legan.core.manifest import SPLITS

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
            matches names the person, its group `expression` the expression. Without it and a manifest, photos in a subfolder
            show the person that the subfolder is named after, and each other photo a person of its own.
        manifest: CSV file with the columns file (within `folder`), identity and expression, and perhaps split, source, licence.
        source, licence: for photos whose manifest does not say; by default the folder's name, and "unknown".

    Returns:
        the photos, sorted by identity and file. Where no split is given, every fifth identity (sorted) is `val`, the rest `train`.

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
        identity = _identity_of(path.parent.name if path.parent != folder else path.stem)
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
                expression, known = groups["expression"].lower(), True
        _check_expression(expression, str(path))
        entries.append(PhotoEntry(path, identity, expression, "", usual["source"], usual["licence"], known))
    return entries


def _identity_of(name: str) -> str:
    """A person's name as told by a file or folder; in one that is not UTF-8, the bytes stand as `_xe9`."""
    return utf8_name(name).replace("\\x", "_x") if utf8_name(name) != name else name


def _from_csv(folder: Path, manifest: Path, usual: Mapping[str, str]) -> list[PhotoEntry]:
    import pandas as pd

    if not manifest.is_file():
        raise DataError(f"{manifest} does not exist: name a CSV file with the columns {', '.join(_REQUIRED)}")
    try:
        frame = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{manifest} is no CSV file ({str(error).strip()})") from None
    missing = [name for name in _REQUIRED if name not in frame.columns]
    if missing:
        raise DataError(f"{manifest} lacks the column {', '.join(missing)}: it needs {', '.join(_REQUIRED)}")
    return [
        _entry_of(folder, f"{manifest} line {number}", row, usual)
        for number, row in enumerate(frame.to_dict("records"), start=2)
    ]


def _entry_of(folder: Path, where: str, row: Mapping[Any, str], usual: Mapping[str, str]) -> PhotoEntry:
    empty = [name for name in _REQUIRED if not row[name].strip()]
    if empty:
        raise DataError(f"{where}: the entry {empty[0]} is empty")
    path = folder / row["file"].strip()
    if not path.is_file():
        raise DataError(f"{where}: {path} does not exist")
    expression, split = row["expression"].strip().lower(), row.get("split", "").strip()
    _check_expression(expression, where)
    if split and split not in SPLITS:
        raise DataError(f"{where}: {no_such('split', split, SPLITS)}")
    source, licence = row.get("source", "").strip(), row.get("licence", "").strip()
    return PhotoEntry(path, row["identity"].strip(), expression, split, source or usual["source"], licence or usual["licence"])


def _check_expression(expression: str, where: str) -> None:
    if expression not in EXPRESSIONS:
        raise DataError(f"{where}: {no_such('expression', expression, EXPRESSIONS)}")


def _check_names(entries: Iterable[PhotoEntry]) -> None:
    """Names become keys in the set: each may stand once. Identities become file names."""
    seen: dict[str, Path] = {}
    for entry in entries:
        if entry.name in seen:
            raise DataError(f"{seen[entry.name]} and {entry.path} have the same name: rename one")
        seen[entry.name] = entry.path
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
    splits = {name: given.get(name) or ("val" if name in held_out else "train") for name in identities}
    return [replace(entry, split=splits[entry.identity]) for entry in entries]
