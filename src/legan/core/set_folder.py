"""The folder that a long run fills with shards: begun once with its settings, continued with the same ones only."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from legan.core.errors import DataError
from legan.core.files import make_folder, write_atomic
from legan.core.lock import held_folder, is_lock
from legan.core.plain import parse_json

SETTINGS, SHARDS = "settings.json", "shards"
_LONG = 60  # letters of a setting that no message shows


@contextmanager
def open_set_folder(out: Path, settings: Mapping[str, Any], besides: Collection[str] = ()) -> Iterator[None]:
    """Make the folder with its settings and an empty `shards`, or clear one that was begun of half-written files.

    The body has the folder for itself: other processes are refused until it ends.

    Args:
        out: the folder.
        settings: plain values that everything in it depends on.
        besides: names of what may lie in a folder without settings.

    Raises:
        DataError: as `check_set_folder`.
        LeganError: the place cannot be written, or another process writes there.
    """
    check_set_folder(out, settings, besides)
    with held_folder(make_folder(out)):
        check_set_folder(out, settings, besides)  # again: another process may have begun it meanwhile
        make_folder(out / SHARDS)
        if not (out / SETTINGS).exists():
            write_atomic(out / SETTINGS, json.dumps(settings, indent=2).encode())
        for left_over in (*out.glob(".*.tmp"), *(out / SHARDS).glob(".*.tmp")):  # of a process that was killed while writing
            left_over.unlink(missing_ok=True)
        yield


def check_set_folder(out: Path, settings: Mapping[str, Any], besides: Collection[str] = ()) -> None:
    """Check that a folder is new, or was begun with these settings; arguments as for `open_set_folder`, some settings are enough.

    Raises:
        DataError: it holds something else, was begun with other settings, or its settings cannot be read.
    """
    path = out / SETTINGS
    if not path.exists():
        if out.is_dir() and any(place.name not in besides and not is_lock(place) for place in out.iterdir()):
            raise DataError(f"{out} holds other files: choose an empty or a new folder")
        return
    try:
        found = dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read: delete {out} and run the same command again") from error
    for name, value in json.loads(json.dumps(settings)).items():
        if found.get(name) != value:
            short = max(len(str(found.get(name))), len(str(value))) <= _LONG
            told = f"{name} {found.get(name)}, not {value}" if short else f"another {name}"
            raise DataError(f"{out} was made with {told}: ask for the same {name}, or choose another folder")


def check_own_folder(out: Path, mark: str) -> None:
    """Check that a folder is new, empty, or holds `mark`, by which a command knows the folders that it made.

    Raises:
        DataError: it holds other files.
    """
    if out.is_dir() and not (out / mark).exists() and not all(map(is_lock, out.iterdir())):
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
