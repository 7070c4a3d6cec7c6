"""What commands take as images: files and folders, WebDataset shards (.tar), Parquet manifests, and all of these at addresses (s3://...)."""

import logging
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from legan.core.errors import DataError, ImageError
from legan.core.files import file_stamp, path_inside
from legan.core.images import READ_SUFFIXES
from legan.core.listing import images_in_folder, utf8_name
from legan.core.places import AddressFolder, Place, check_inside, files_at, is_address, joined, opened

_LOG = logging.getLogger(__name__)
_ROWS_AT_ONCE = 8192
_COLUMNS = ("path", "offset", "n_bytes", "key")


class Input(NamedTuple):
    """An image: where it is, and its name within what was named, by which outputs are called (`sub/1.jpg`)."""

    place: Path | Place
    inside: str


def find_inputs(given: Iterable[str | Path], exclude: Path | None = None) -> Iterator[Input]:
    """Yield the images of all that is named, in the order of names within each; what is left out is logged.

    Args:
        given: image files; folders, which are walked; `.tar` shards; `.parquet` manifests with a column `path` (relative to the
            manifest's folder, or an address) and perhaps `offset`, `n_bytes` and `key` of an image in a shard; addresses of such
            things, also with `*` in the last part. `file://` is a path.
        exclude: a folder that is not walked, such as the command's own output.

    Raises:
        ImageError, DataError: a thing that does not exist or cannot be read, or no images at all.
    """
    given, n = list(given), 0
    for one in given:
        for found in _found(_local(str(one)), exclude):
            n += 1
            yield found
    if not n:
        raise ImageError(f"no images in {', '.join(map(str, given))}: name images, or a folder that holds some")


def is_folder(given: str | Path) -> bool:
    """Whether what is named may hold several images."""
    text = _local(str(given))
    return is_address(text) or text.lower().endswith((".tar", ".parquet")) or Path(text).is_dir()


def inputs_in(folder: str | Path) -> Iterable[Input]:
    """Return the images of one thing that `is_folder`; of a folder of this machine perhaps none, which is for the caller to judge.

    Raises:
        ImageError, DataError: as `find_inputs`.
    """
    path = Path(_local(str(folder)))
    if path.is_dir():
        return [Input(image, image.relative_to(path).as_posix()) for image in images_in_folder(path)]
    return find_inputs([folder])


def folder_at(given: str | Path | AddressFolder) -> Path | AddressFolder:
    """Return the folder that is named: a path, or one at an address."""
    if not isinstance(given, str):
        return given
    text = _local(given)
    return AddressFolder(text) if is_address(text) else Path(text)


def name_of(given: str | Path) -> str:
    """Return how data sets call what they were made of: the last part of a folder's full path, or of another thing's name."""
    folder = folder_at(given)
    return utf8_name(folder.resolve().name if folder.is_dir() else folder.name)


def _local(text: str) -> str:
    return unquote(urlsplit(text).path) if text.lower().startswith("file://") else text


def _found(text: str, exclude: Path | None) -> Iterator[Input]:
    if is_address(text):
        yield from _at_address(text)
    elif text.lower().endswith(".tar") and not Path(text).is_dir():
        yield from _in_shard(text, file_stamp(Path(text)))
    elif text.lower().endswith(".parquet") and not Path(text).is_dir():
        yield from _in_manifest(text)
    else:
        path = Path(text)
        if not path.exists():
            raise ImageError(f"{path} does not exist: check the name")
        if path.is_dir():
            yield from (Input(image, image.relative_to(path).as_posix()) for image in images_in_folder(path, exclude))
        else:
            yield Input(path, path.name)


def _at_address(address: str) -> Iterator[Input]:
    left_out: Counter[str] = Counter()
    is_pattern = "*" in address
    for file, inside, n_bytes, stamp in files_at(address):
        suffix = PurePosixPath(inside).suffix.lower()
        is_named = is_pattern or file.rstrip("/") == address.rstrip("/")
        if suffix == ".tar" and is_named:
            yield from _in_shard(file, stamp)
        elif suffix == ".parquet" and is_named:
            yield from _in_manifest(file)
        elif suffix in READ_SUFFIXES:
            check_inside(inside, address)
            yield Input(Place(file, file, None, n_bytes, stamp), inside)
        else:
            left_out[suffix] += 1
    _log(address, left_out)


def _in_shard(shard: str, stamp: str) -> Iterator[Input]:
    """The images of a tar shard; names in it may hold folders."""
    left_out: Counter[str] = Counter()
    stem = PurePosixPath(shard).stem
    with opened(shard) as file:
        try:
            tar: Any = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # holds nothing but `file`
            while (member := tar.next()) is not None:
                tar.members.clear()  # else all of them stay in memory
                name = PurePosixPath(member.name)
                if not member.isreg() or name.name.startswith("."):
                    continue
                if name.suffix.lower() not in READ_SUFFIXES:
                    left_out[name.suffix.lower()] += 1
                    continue
                check_inside(member.name, shard)
                place = Place(f"{shard}/{utf8_name(member.name)}", shard, member.offset_data, member.size, stamp)
                yield Input(place, f"{stem}/{utf8_name(member.name)}")
        except tarfile.TarError as error:
            raise DataError(f"{shard} is not an uncompressed tar shard ({error}): write it as plain tar") from error
    _log(shard, left_out)


def _in_manifest(manifest: str) -> Iterator[Input]:
    """The images of a Parquet manifest, a few thousand rows in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = str(manifest).rpartition("/")[0] or "."
    with opened(manifest) as file:
        try:
            table = pq.ParquetFile(file)
            if "path" not in table.schema_arrow.names:
                raise DataError(f"{manifest} lacks the column 'path': give the images' names in it")
            columns = [name for name in _COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns):
                yield from (_row(base, row) for row in batch.to_pylist())
        except pa.ArrowInvalid as error:
            raise DataError(f"{manifest} is not a Parquet file ({error})") from error


def _row(base: str, row: dict[str, Any]) -> Input:
    path, key, offset = str(row["path"]), row.get("key") or "", row.get("offset")
    inside = f"{path.removesuffix('.tar')}/{key}" if key else path
    if is_address(path):
        if path.lower().startswith("file://"):
            raise DataError(f"a manifest in {base} names '{path}': give paths relative to the manifest's folder")
        file, inside = path, inside.partition("://")[2]
    elif is_address(base):
        file = joined(base, path)
    else:
        check_inside(path, base)
        parent, _, own = path.rpartition("/")
        local = _folder_inside(base, parent) / own
        if local.is_symlink():
            path_inside(Path(base), path)
        if offset is None:
            return Input(local, inside)
        file = str(local)
    check_inside(inside, base)
    stamp = "" if is_address(file) else _stamp(file)
    n_bytes = row.get("n_bytes")
    name = f"{file.removesuffix('.tar')}/{key}" if key else file
    return Input(Place(name, file, offset, None if n_bytes is None else int(n_bytes), stamp), inside)


@lru_cache(maxsize=1024)
def _folder_inside(base: str, name: str) -> Path:
    """As `path_inside`, which looks at every part of a path, for the folder that many rows share."""
    return path_inside(Path(base), name)


@lru_cache(maxsize=1024)
def _stamp(shard: str) -> str:
    return file_stamp(Path(shard))


def _log(where: str, left_out: Counter[str]) -> None:
    if left_out:
        counts = ", ".join(f"{n} {ending or 'no ending'}" for ending, n in sorted(left_out.items()))
        _LOG.warning("%s: left out, not of a format that is read: %s", where, counts)


def places(inputs: Iterable[Input]) -> Sequence[Path | Place]:
    """Return the places of images, each once."""
    return list(dict.fromkeys(one.place for one in inputs))
