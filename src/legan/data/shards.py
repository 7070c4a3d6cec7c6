"""The folder that a long run fills with shards: begun once with its settings, continued with the same ones only.

It is begun when its first shard stands: a command that failed before that leaves a folder that any other may take.
"""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from legan.core.config import parse_json
from legan.core.errors import DataError
from legan.core.files import held_folder, is_lock, make_folder, write_atomic

SETTINGS, SHARDS = "settings.json", "shards"
_LONG = 60  # letters of a setting that no message shows


@contextmanager
def open_set_folder(
    out: Path, settings: Mapping[str, Any], besides: Collection[str] = (), derived: Collection[str] = ()
) -> Iterator[None]:
    """Make the folder with its settings and an empty `shards`, or clear one that was begun of half-written files.

    The body has the folder for itself: other processes are refused until it ends.

    Args:
        out: the folder.
        settings: plain values that everything in it depends on.
        besides: names of what may lie in a folder without settings.
        derived: names of files that are made from the settings before the first shard; those of other settings are deleted.

    Raises:
        DataError: as `check_set_folder`.
        LeganError: the place cannot be written, or another process writes there.
    """
    check_set_folder(out, settings, besides, derived)
    with held_folder(make_folder(out)):
        check_set_folder(out, settings, besides, derived)  # again: another process may have begun it meanwhile
        make_folder(out / SHARDS)
        if _is_left(out, besides, derived) and _read_settings(out) != json.loads(json.dumps(settings)):
            for name in derived:
                (out / name).unlink(missing_ok=True)
            write_atomic(out / SETTINGS, json.dumps(settings, indent=2).encode())
        for left_over in (*out.glob(".*.tmp"), *(out / SHARDS).glob(".*.tmp")):  # of a process that was killed while writing
            left_over.unlink(missing_ok=True)
        yield


def clear_set_folder(out: Path) -> None:
    """Delete the shards and the settings of a set of which nothing can be used."""
    shutil.rmtree(out / SHARDS, ignore_errors=True)
    (out / SETTINGS).unlink(missing_ok=True)


def check_set_folder(
    out: Path, settings: Mapping[str, Any], besides: Collection[str] = (), derived: Collection[str] = ()
) -> None:
    """Check that a folder is new, or was begun with these settings; arguments as for `open_set_folder`, some settings are enough.

    Raises:
        DataError: it holds something else, was begun with other settings, or its settings cannot be read.
    """
    if _is_left(out, besides, derived):
        return
    if not (out / SETTINGS).exists():
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
    found = _read_settings(out)
    if found is None:
        raise DataError(f"{out / SETTINGS} cannot be read: delete {out} and run the same command again")
    for name, value in json.loads(json.dumps(settings)).items():
        if found.get(name) != value:
            short = max(len(str(found.get(name))), len(str(value))) <= _LONG
            told = f"{name} {found.get(name)}, not {value}" if short else f"another {name}"
            raise DataError(f"{out} was made with {told}: ask for the same {name}, or choose another folder")


def _is_left(out: Path, besides: Collection[str], derived: Collection[str]) -> bool:
    """Whether a folder is new, empty, or what a command left that failed before its first shard."""
    if not out.is_dir():
        return True
    own = {SHARDS, SETTINGS, *derived} if (out / SHARDS).is_dir() else set()
    others = [
        place for place in out.iterdir() if place.name not in {*own, *besides} and not _is_half(place) and not is_lock(place)
    ]
    return not others and all(map(_is_half, (out / SHARDS).glob("*")))


def _is_half(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"


def _read_settings(out: Path) -> dict[str, Any] | None:
    """The settings; None where there are none, or none that can be read."""
    try:
        return dict(parse_json((out / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def check_own_folder(out: Path, mark: str) -> None:
    """Check that a folder is new, empty, or holds `mark`, by which a command knows the folders that it made.

    Raises:
        DataError: it holds other files.
    """
    if out.is_dir() and not (out / mark).exists() and not all(map(is_lock, out.iterdir())):
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
