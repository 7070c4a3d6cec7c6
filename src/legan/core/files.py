"""Writing files so that a killed process or a full disk never leaves a broken one under the final name."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from legan.core.errors import ConfigError, LeganError


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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
