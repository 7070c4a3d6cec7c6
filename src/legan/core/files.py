"""Files: written whole or not at all, hashed, and locked while one process fills them."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from legan.core.errors import ConfigError, DataError, LeganError
from legan.core.places import Place

# Writing files so that a killed process or a full disk never leaves a broken one under the final name.


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file beside `path`, in a folder that is made; on success it is flushed to disk and renamed to `path`.

    When the body raises, the temporary file is removed and `path` keeps what it had.

    Raises:
        LeganError: `path` is a folder, its place cannot be written, or the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise LeganError(f"cannot write {path}: it is a folder; name a file in it, such as {path / 'NAME'}")
    make_folder(path.parent)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` through `atomic_write`."""
    with atomic_write(path) as file:
        file.write(data)


def make_folder(path: Path) -> Path:
    """Create the folder `path` with its parents and return it.

    Raises:
        LeganError: a file is in the way, or the place cannot be written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(error, path) from error
    return path


def check_ending(path: Path, ending: str) -> None:
    """Check the name of a file to write, before the work that leads to it.

    Raises:
        ConfigError: it does not end in `ending`, such as ".png".
    """
    if Path(path).suffix.lower() != ending:
        raise ConfigError(f"cannot write {path}: give a name that ends in {ending}")


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a list names, such as a manifest: nothing outside `folder` is ever read for it.

    Args:
        folder: that the list belongs to; it may itself be a link.
        name: relative to `folder`.

    Raises:
        DataError: the name is absolute or leads out of the folder, by `..` or by a link.
    """
    path = Path(folder) / name
    # `..` is refused even where it would come back: what it means hangs on the links before it.
    if ".." in Path(name).parts or "\0" in name or not path.resolve().is_relative_to(Path(folder).resolve()):
        raise DataError(
            f"{folder} lists '{name}', which lies outside of it: move the file into the folder and name it from there"
        )
    return path


def sha256_of(path: Path | Place) -> str:
    """Return the SHA-256 of a file, or of an image elsewhere, as 64 hexadecimal digits."""
    if isinstance(path, Place):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stamp(path: Path | Place) -> str:
    """Return size and time of the last change of a file, such as "48213-1764105050123456789": it changes when the content does.

    "" where there is no such file.
    """
    if isinstance(path, Place):
        return path.stamp
    try:
        facts = Path(path).stat()
    except OSError:
        return ""
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _explained(error: OSError, path: Path) -> LeganError:
    if error.errno == errno.ENOSPC:
        return LeganError(f"no space left on the disk while writing {path}: free some space and run the same command again")
    if error.errno == errno.ENOENT:
        return LeganError(f"cannot write {path}: the folder {path.parent} does not exist, create it first")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LeganError(f"cannot write {path}: permission denied, choose another place")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return LeganError(f"cannot create the folder {path}: a file of that name is in the way")
    return LeganError(f"cannot write {path}: {error.strerror or error}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Locks: one process at a time fills a table or a folder. A lock ends with its process, however that ends.


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
            raise LeganError(f"cannot lock {path} ({error.strerror}): choose a place on a disk that supports locks") from error
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
