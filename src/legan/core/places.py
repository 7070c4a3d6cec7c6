"""Images that are no plain files: parts of tar shards, and what lies at an address such as s3://bucket/1.jpg. The only user of fsspec."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from legan.core.errors import DataError, ImageError, LeganError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where the bytes of an image lie.

    Args:
        address: by which results name it: its own, or that of its shard and its name there.
        file: path or address of the file that holds it.
        offset: of its first byte in the file; None where it is all of the file.
        n_bytes: of the image; None where that is not known.
        stamp: changes when the image does, as far as that is known; else "".
    """

    address: str
    file: str
    offset: int | None = None
    n_bytes: int | None = None
    stamp: str = ""

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """The last part of its address, as of a path."""
        return self.address.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return PurePosixPath(self.name).stem

    def read_bytes(self) -> bytes:
        """Return the encoded image.

        Raises:
            ImageError: the file cannot be read, or ends before the image does.
        """
        try:
            data = _part(self.file, self.offset, self.n_bytes)
        except LeganError:
            raise
        except Exception as error:  # of whatever library an address leads to; each has errors of its own
            raise ImageError(f"{self} cannot be read ({type(error).__name__}: {error})") from error
        if self.n_bytes is not None and len(data) != self.n_bytes:
            raise ImageError(f"{self} is shorter than it was when it was listed: list it again")
        return data

    def is_file(self) -> bool:
        """Whether the file is there.

        Raises:
            LeganError: as `files_at`.
        """
        if not is_address(self.file):
            return Path(self.file).is_file()
        system, path = _system(self.file)
        with _explained(self.file):
            return bool(system.isfile(path))


@dataclass(frozen=True)
class AddressFolder:
    """A folder at an address, used as a path is by what reads data sets: `folder / name` is the `Place` of a file in it."""

    address: str

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> Place:
        file = joined(self.address, name)
        return Place(file, file)

    @property
    def name(self) -> str:
        """The last part of its address."""
        return PurePosixPath(self.address).name

    def resolve(self) -> "AddressFolder":
        """Return the folder itself: the same from everywhere."""
        return self

    def is_dir(self) -> bool:
        """Whether there is something below the address."""
        system, path = _system(self.address)
        with _explained(self.address):
            return bool(system.isdir(path))

    def files(self) -> dict[str, Place]:
        """Return all files below it by their names within it, with sizes and stamps, in one listing.

        Raises:
            DataError: nothing there, or it cannot be read.
        """
        return {inside: Place(file, file, None, n_bytes, stamp) for file, inside, n_bytes, stamp in files_at(self.address)}


def is_address(text: str) -> bool:
    """Whether a text is an address, such as s3://bucket/folder, not a path."""
    return _SCHEME.match(text) is not None


def _part(file: str, offset: int | None, n_bytes: int | None) -> bytes:
    if is_address(file):
        system, path = _system(file)
        if offset is None or n_bytes is None:
            return bytes(system.cat_file(path))
        return bytes(system.cat_file(path, start=offset, end=offset + n_bytes))
    with open(file, "rb") as opened:
        opened.seek(offset or 0)
        return opened.read() if n_bytes is None else opened.read(n_bytes)


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        LeganError: a library is missing, or the scheme is unknown.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise LeganError(f'{address} is an address, which needs fsspec: run `pip install "legan[bulk]"`') from None
    try:
        system, path = fsspec.url_to_fs(address)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or str(error)
        raise LeganError(
            f"{address} needs the package {missing}, which is not installed: run `pip install {missing}`"
        ) from error
    except Exception as error:  # a scheme that nobody knows, or a file system that cannot be reached
        why = str(error).partition("\n")[0]
        if address.lower().startswith("hdfs://"):
            why += "; hdfs:// needs Java and Hadoop's client: set JAVA_HOME, HADOOP_HOME and CLASSPATH"
        raise LeganError(f"{address} cannot be opened ({why})") from error
    return system, path


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """Open the file at a path or an address to read it here and there.

    Raises:
        DataError: it cannot be opened.
    """
    if is_address(address):
        system, path = _system(address)
        with _explained(address):
            file = system.open(path, "rb")
    else:
        with _explained(address):
            file = open(address, "rb")  # noqa: SIM115  # closed below
    with file:
        yield file


@contextmanager
def _explained(address: str) -> Iterator[None]:
    try:
        yield
    except LeganError:
        raise
    except FileNotFoundError:
        raise DataError(f"{address} does not exist: check the name") from None
    except Exception as error:  # as in `read_bytes`
        raise DataError(f"{address} cannot be read ({type(error).__name__}: {error})") from error


def files_at(address: str) -> Iterator[tuple[str, str, int, str]]:
    """Yield address, name within what was named, bytes and stamp of each file at an address: a file, a folder, or a pattern with `*`.

    In the order of names within each folder; hidden ones are left out. A folder is listed as it is walked, not at once.

    Raises:
        DataError: nothing there, or it cannot be read.
    """
    system, root = _system(address)
    with _explained(address):
        if "*" in root:
            infos = system.glob(root, detail=True)
            base = str(PurePosixPath(root.split("*")[0] + "x").parent)
            files = iter(sorted(infos.items()))
        elif system.isfile(root):
            base, files = str(PurePosixPath(root).parent), iter([(root, system.info(root))])
        elif system.isdir(root):
            base, files = root, _walked(system, root)
        else:
            raise DataError(f"{address} does not exist: check the name")
        for path, info in files:
            inside = path.removeprefix(base).lstrip("/")
            if info["type"] == "file" and not any(part.startswith(".") for part in inside.split("/")):
                stamp = next((str(info[key]) for key in ("ETag", "mtime", "LastModified", "updated") if info.get(key)), "")
                yield system.unstrip_protocol(path), inside, int(info["size"] or 0), f"{info['size']}-{stamp}"


def _walked(system: Any, root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder, _, files in system.walk(root, detail=True):
        for name, info in sorted(files.items()):
            if name:  # S3 lists a folder's own empty key
                yield f"{folder}/{name}", info


def joined(base: str, name: str) -> str:
    """Return the address of `name` within the folder `base`, both as given.

    Raises:
        DataError: the name leads out of the folder.
    """
    check_inside(name, base)
    return f"{base.rstrip('/')}/{name}"


def check_inside(name: str, where: str) -> None:
    """Check a name that a list or an archive gives.

    Raises:
        DataError: it is absolute, or has `..` in it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise DataError(f"{where} names '{name}', which lies outside of it: rename it")
