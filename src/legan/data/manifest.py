"""The data set folder: `manifest.parquet`, one row an image, beside image files or uncompressed tar shards."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from legan.core.errors import DataError, ImageError
from legan.core.files import atomic_write, file_stamp, path_inside, sha256_of
from legan.core.images import decode_rgb
from legan.core.inputs import folder_at
from legan.core.places import AddressFolder, Place, opened

if TYPE_CHECKING:
    import pandas as pd


# The data set folder: `manifest.parquet`, one row an image, beside plain image files or uncompressed tar shards.
#
# Reading needs no unpacking: a row of a sharded image names the tar, the offset of the image's bytes in it and their length.


MANIFEST = "manifest.parquet"
DataFolder = Path | AddressFolder  # of this machine, or at an address
DOMAINS = ("photo", "render", "relit", "reexpressed", "generated")
EVEN_LIGHT = "even"  # in the column lighting: a photo under its own light, none of the classes
SPLITS = ("train", "val", "test")
FIRST_VAL, FIRST_TEST = 8, 9  # of ten identities, from 0
_ROWS_AT_ONCE = 8192


class ManifestRow(TypedDict):
    """One image.

    `path` is relative to the folder: an image file, or a tar shard; then `offset`, `n_bytes` (both bytes) and `key` (the name
    in the tar) say where in it. `alignment` holds the six numbers of the 2x3 matrix from source pixels to crop pixels (None for
    renders), `landmarks` x0, y0, x1, ... of the 68 iBUG points in crop pixels (None where unknown).
    """

    path: str
    offset: int | None
    n_bytes: int | None
    key: str
    identity: str
    expression: str
    lighting: str
    domain: str
    split: str
    source: str
    licence: str
    sha256: str
    alignment: list[float] | None
    landmarks: list[float] | None


COLUMNS = tuple(ManifestRow.__annotations__)
# Further columns of a set whose shards hold mattes: where in the shard of `path` the grey image lies that says which pixels are the
# person's. `legan render`, `relight` and `reexpress` write them.
MATTE_COLUMNS = {"matte_offset": "int64", "matte_n_bytes": "int64"}
# Further columns of a set that was made to be rated: `legan synthesize` writes them, simulated raters read them.
QUALITY_COLUMNS = {
    "kind": "string",  # of synthesis, such as "relit"
    "setting": "string",  # within the kind
    "fault": "double",  # 0 clean .. 1 the worst of its kind, by design
    "degradation": "string",  # put on top, such as "blur", or "none"
    "strength": "double",  # of the degradation, 0..1
    "reference": "string",  # name of the clean counterpart in this set, or ""
    "naturalness_distance": "double",  # to the counterpart; NaN where it is to be computed
}


def split_of(index: int, n: int | None = None) -> str:
    """Return the split of the identity with this number: 8 of 10 train, 1 val, 1 test. A larger set keeps the splits of a smaller one.

    Args:
        index: number of the identity, from 0.
        n: identities of the set. Of two to eight the last is val: a training needs one. It joins train when the set grows.
    """
    if n is not None and 2 <= n <= FIRST_VAL and index == n - 1:
        return "val"
    return {FIRST_VAL: "val", FIRST_TEST: "test"}.get(index % 10, "train")


def no_split(folder: DataFolder, split: str, n_people: Mapping[str, int]) -> str:
    """Return the words of an error: a data set has no image of a split; `n_people` by the splits that it has."""
    has = ", ".join(f"{n} {name}" for name, n in n_people.items()) or "none"
    least = {"train": 1, "val": 2, "test": FIRST_TEST + 1}.get(split)
    more = f": make it of at least {least} people, or give some identities that split in its manifest" if least else ""
    return f"{folder} has no image of the split '{split}' (people: {has}){more}"


def image_names(frame: "pd.DataFrame") -> "pd.Series":
    """Return the names by which ratings speak of a manifest's images, as if shards were folders: `path`, or `shards/r000001/key`."""
    in_shard = frame["key"].fillna("") != ""
    return frame["path"].where(~in_shard, frame["path"].str.removesuffix(".tar") + "/" + frame["key"].fillna(""))


def matte_columns(place: tuple[int, int] | None) -> dict[str, int | None]:
    """Return a row's `MATTE_COLUMNS` for a matte at this place, as `ShardWriter.add` gave it; None for an image without one."""
    return dict(zip(MATTE_COLUMNS, place or (None, None), strict=True))


def _schema(extra: Mapping[str, str]) -> Any:
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    special = {"offset": pa.int64(), "n_bytes": pa.int64(), "alignment": numbers, "landmarks": numbers}
    others = [(name, pa.type_for_alias(kind)) for name, kind in extra.items()]
    return pa.schema([*((name, special.get(name, pa.string())) for name in COLUMNS), *others])


def write_manifest(rows: Iterable[Mapping[str, Any]], folder: Path, extra: Mapping[str, str] | None = None) -> Path:
    """Write `manifest.parquet` atomically, rows in the order given, and return its path.

    Args:
        rows: one an image; never more than some thousand are in memory.
        folder: the data set folder.
        extra: further columns and their types as Arrow names them, such as `QUALITY_COLUMNS`.

    Raises:
        LeganError: the folder cannot be written, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, schema, remaining = Path(folder) / MANIFEST, _schema(extra or {}), iter(rows)
    with atomic_write(path) as file, pq.ParquetWriter(file, schema) as writer:
        while part := [dict(row) for row in islice(remaining, _ROWS_AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
    return path


def read_manifest(folder: DataFolder | str) -> "pd.DataFrame":
    """Read and check the manifest of a data set folder, of this machine or at an address.

    Returns:
        a data frame with the columns of `ManifestRow`.

    Raises:
        DataError: no manifest, a missing column, an unknown domain or split, an identity in two splits, or a missing or
            truncated image file, or one outside of the folder, which the message names.
    """
    import pandas as pd
    import pyarrow as pa

    folder = folder_at(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} is not a data set: it has no {MANIFEST}; make one with `legan render --out {folder}`")
    try:
        with opened(str(path)) as file:
            frame = pd.read_parquet(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): make the data set again") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}")
    _check_values(path, frame)
    _check_files(folder, frame)
    return frame


def _check_values(path: Path | Place, frame: "pd.DataFrame") -> None:
    for column, allowed in (("domain", DOMAINS), ("split", SPLITS)):
        unknown = sorted(set(frame[column]) - set(allowed))
        if unknown:
            raise DataError(f"{path} has an unknown {column} '{unknown[0]}': allowed are {', '.join(allowed)}")
    splits = frame.groupby("identity")["split"].nunique()
    if (splits > 1).any():
        raise DataError(f"{path} has identity '{splits.idxmax()}' in more than one split: keep every person in one")


def _check_files(folder: DataFolder, frame: "pd.DataFrame") -> None:
    ends = (frame["offset"].fillna(0) + frame["n_bytes"].fillna(0)).groupby(frame["path"]).max()
    listed = folder.files() if isinstance(folder, AddressFolder) else {}
    for name, end in ends.items():
        path = _file_in(folder, str(name))
        if isinstance(path, Place):
            n_bytes = listed[str(name)].n_bytes if str(name) in listed else None
        else:
            n_bytes = path.stat().st_size if path.is_file() else None
        if n_bytes is None:
            raise DataError(f"the manifest of {folder} names a missing image: {name}; restore it or make the set again")
        if n_bytes < end:
            raise DataError(f"{path} is truncated: delete it and run the command that made the data set again")


def _file_in(folder: DataFolder, name: str) -> Path | Place:
    """A file that a manifest names; nothing outside the folder is ever read for it."""
    return folder / name if isinstance(folder, AddressFolder) else path_inside(folder, name)


def read_bytes(folder: DataFolder | str, row: Mapping[str, Any]) -> bytes:
    """Return the encoded image of a manifest row.

    Raises:
        DataError: the file is missing, shorter than the row says, outside of the folder, or another one than the row's checksum says;
            the message names it.
    """
    folder = folder_at(folder)
    path, offset = str(_file_in(folder, str(row["path"]))), row["offset"]
    is_part = offset is not None and offset == offset  # else None, or NaN from a data frame
    place = Place(path, path, int(offset), int(row["n_bytes"])) if is_part else Place(path, path)
    try:
        data = place.read_bytes()
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(f"the manifest of {folder} names a missing image: {row['path']}") from None
        if error.__cause__ is None:
            raise DataError(f"{path} is truncated: delete it and run the command that made the data set again") from None
        raise DataError(str(error)) from error
    digest = row.get("sha256") or ""
    if digest == digest and digest and hashlib.sha256(data).hexdigest() != digest:
        name = f"{row['path']}/{row['key']}" if row.get("key") else row["path"]
        raise DataError(
            f"{name} in {folder} has changed since the manifest was written: restore it, or make the data set again"
        )
    return data


def contents_stamp(folder: DataFolder | str, paths: Iterable[str]) -> str:
    """Return a digest that changes when the manifest does, or one of the files named in it (by its size or time).

    Args:
        folder: the data set folder.
        paths: entries of the column `path`.
    """
    folder = folder_at(folder)
    listed: Mapping[str, Place] = folder.files() if isinstance(folder, AddressFolder) else {}
    stamps = [f"{path} {file_stamp(listed.get(path) or folder / path)}" for path in sorted(set(paths))]
    return hashlib.sha256("\n".join([sha256_of(folder / MANIFEST), *stamps]).encode()).hexdigest()


def read_pixels(folder: DataFolder | str, row: Mapping[str, Any]) -> np.ndarray:
    """Return the image of a manifest row as uint8 (H, W, 3).

    Raises:
        DataError: it is missing, or cannot be decoded; the message names it.
    """
    try:
        return decode_rgb(read_bytes(folder, row), _words(folder, row))
    except ImageError as error:
        raise DataError(str(error)) from error


def read_crop(folder: DataFolder | str, row: Mapping[str, Any], size: int) -> np.ndarray:
    """Return the crop of a manifest row, uint8 (size, size, 3).

    Raises:
        DataError: as `read_pixels`, or it has another size.
    """
    pixels = read_pixels(folder, row)
    if pixels.shape != (size, size, 3):
        height, width = pixels.shape[:2]
        raise DataError(
            f"{_words(folder, row)} is {width}x{height} pixels, not {size}x{size}: align the photos to crops of that size first"
        )
    return pixels


def _words(folder: DataFolder | str, row: Mapping[str, Any]) -> str:
    """A row's image in messages."""
    return f"image {folder_at(folder) / row['path']}" + (f" ({row['key']})" if row["key"] else "")
