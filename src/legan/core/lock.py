"""Locks: one process at a time fills a table or a folder. A lock ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legan.core.errors import LeganError

LOCK = ".lock"


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path` while the body runs, and remove it afterwards.

    Args:
        path: in a folder that exists; made when missing. One that a killed process left holds nobody up.
        busy: the message where another process, or another thread of this one, holds it.

    Raises:
        LeganError: `busy`; or the file cannot be made or locked.
    """
    path = Path(path)
    handle = _locked(path, busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock ends: whoever waits for this file sees that it is gone
        os.close(handle)


def _locked(path: Path, busy: str) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise LeganError(f"cannot write {path} ({error.strerror}): choose another place") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, handle):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise LeganError(busy) from None
        except OSError as error:
            os.close(handle)
            raise LeganError(f"cannot lock {path} ({error.strerror}): choose a place on a disk that knows locks") from error
        os.close(handle)  # its holder removed it between the two lines above


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def is_lock(path: Path) -> bool:
    """Whether a file is a lock of `held_file` or `held_folder`, which a killed process may have left."""
    return path.name.startswith(".") and path.name.endswith(LOCK)


@contextmanager
def held_file(path: Path) -> Iterator[None]:
    """Hold a file that is written bit by bit, by `.name.lock` beside it.

    Raises:
        LeganError: another process writes it.
    """
    path = Path(path)
    with held(path.with_name(f".{path.name}{LOCK}"), f"another process is writing {path}: wait for it, or name another file"):
        yield


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold a folder that is filled bit by bit, by `.lock` in it.

    Raises:
        LeganError: another process fills it.
    """
    with held(Path(folder) / LOCK, f"another process is writing to {folder}: wait for it, or choose another folder"):
        yield
