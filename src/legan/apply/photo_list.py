"""The photos of a folder with who and what they show: from a CSV file, from their names, or from their folders."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from legan.core.conditions import expression_name, unknown_expression
from legan.core.errors import DataError, no_such
from legan.core.images import READ_SUFFIXES, pictures_below
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
        return self.path.stem


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
    usual = {"source": source or folder.resolve().name, "licence": licence or "unknown"}
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
    for path in pictures_below(folder):
        identity = path.parent.name if path.parent != folder else path.stem
        expression, known = "neutral", False
        if search is not None:
            match = search.search(path.name)
            if match is None:
                raise DataError(
                    f"'{pattern}' matches nothing in the name {path.name}: give an expression that fits every photo"
                )
            groups = match.groupdict()
            identity = groups.get("identity") or (match.group(1) if match.groups() else match.group(0))
            if groups.get("expression"):
                expression, known = _expression(groups["expression"], str(path)), True
        entries.append(PhotoEntry(path, identity, expression, "", usual["source"], usual["licence"], known))
    return entries


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
    expression, split = _expression(row["expression"], where), row.get("split", "").strip()
    if split and split not in SPLITS:
        raise DataError(f"{where}: {no_such('split', split, SPLITS)}")
    source, licence = row.get("source", "").strip(), row.get("licence", "").strip()
    return PhotoEntry(path, row["identity"].strip(), expression, split, source or usual["source"], licence or usual["licence"])


def _expression(word: str, where: str) -> str:
    """The expression that a word means."""
    meant = expression_name(word)
    if meant is None:
        raise DataError(f"{where}: {unknown_expression(word)}")
    return meant


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
    free = [name for name in identities if name not in given]
    if not held_out and "val" not in given.values() and len(free) > ("train" not in given.values()):
        held_out = {free[-1]}  # of a few: a training needs one, and somebody to train on
    splits = {name: given.get(name) or ("val" if name in held_out else "train") for name in identities}
    return [replace(entry, split=splits[entry.identity]) for entry in entries]
