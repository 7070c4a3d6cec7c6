"""A data set folder made from photos: one tar shard a person, made in worker processes, resumable, with a list of what was dropped.

What is made of a photo is the caller's (`Maker`); here are folder, shards, processes, manifest and `dropped.csv`.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import Any

import numpy as np

from legan.apply.photo_list import PhotoEntry
from legan.core.cells import escaped
from legan.core.errors import ConfigError
from legan.core.files import sha256_of, write_atomic
from legan.core.images import png_bytes
from legan.core.manifest import MATTE_COLUMNS, ManifestRow, ShardWriter, matte_columns, read_record, write_manifest
from legan.core.names import utf8_name
from legan.core.set_folder import SHARDS, open_set_folder
from legan.core.workers import run_jobs

_RECORD, _DROPPED = "record.json", "dropped.csv"
EXTRA_COLUMNS = {"confidence": "float", **MATTE_COLUMNS}

Progress = Callable[[int, int], None]  # people done, people in all


@dataclass(frozen=True)
class MadeCrop:
    """One crop made of a photo."""

    image: np.ndarray  # uint8 (size, size, 3)
    expression: str
    lighting: str
    domain: str
    confidence: float
    alignment: list[float] | None
    landmarks: list[float] | None
    matte: np.ndarray | None = None  # uint8 (size, size), the share of each pixel that is the person's


@dataclass(frozen=True)
class Dropped:
    """A photo of which nothing was made."""

    file: str
    identity: str
    expression: str
    reason: str  # short, for counting
    detail: str


class DroppedPhotoError(Exception):
    """Raised by a maker: nothing can be made of this photo, go on with the next."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


Maker = Callable[[PhotoEntry], dict[str, MadeCrop]]  # crops by a name that is their own within the photo


@dataclass(frozen=True)
class SetReport:
    """What became of the photos."""

    manifest: Path
    n_photos: int
    crops: dict[str, int]  # number by domain
    dropped: list[Dropped]
    seconds_per_photo: float | None  # of those made now, mean over workers; None when all were there already
    confidence: float | None  # mean over crops

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**asdict(self), "manifest": str(self.manifest)}

    def lines(self) -> list[str]:
        """The report for people."""
        made = ", ".join(f"{n} {domain}" for domain, n in sorted(self.crops.items())) or "no crops"
        text = [f"{self.manifest}", f"{self.n_photos - len(self.dropped)} of {self.n_photos} photos: {made}"]
        if self.seconds_per_photo is not None:
            text.append(f"{self.seconds_per_photo:.1f} s a photo and worker")
        for reason, n in Counter(drop.reason for drop in self.dropped).most_common():
            text.append(f"dropped {n}: {reason}")
            text += [f"  {drop.file}: {drop.detail}" for drop in self.dropped if drop.reason == reason]
        return text


def make_set(
    out: Path,
    entries: Sequence[PhotoEntry],
    settings: Mapping[str, Any],
    build_maker: Callable[[], Maker],
    n_workers: int = 1,
    progress: Progress | None = None,
) -> SetReport:
    """Make a data set folder, or what is missing of it.

    Args:
        out: the folder; made when missing.
        entries: the photos. A person's shard is made again when the person's photos have changed.
        settings: plain values that every crop depends on; a folder made with others is refused.
        build_maker: makes a worker's maker; a function that can be named from outside its module.
        n_workers: processes of one thread each.
        progress: called with (people done, people in all), first with those found on disk.

    Raises:
        ConfigError: fewer than one worker.
        DataError: the folder holds something else, or was made with other settings.
        LeganError: the disk is full, or a worker died.
    """
    if n_workers < 1:
        raise ConfigError(f"workers must be at least 1, not {n_workers}")
    out = Path(out)
    with open_set_folder(out, settings):
        people = {name: list(group) for name, group in groupby(entries, key=lambda entry: entry.identity)}
        missing = [name for name, photos in people.items() if not _is_made(_shard(out, name), photos)]
        n_done = len(people) - len(missing)
        if progress:
            progress(n_done, len(people))
        for _ in _make_missing([(_shard(out, name), people[name]) for name in missing], build_maker, n_workers):
            n_done += 1
            if progress:
                progress(n_done, len(people))
        return _finish(out, people, set(missing))


def _finish(out: Path, people: Mapping[str, list[PhotoEntry]], new: set[str]) -> SetReport:
    """Write the manifest and the list of dropped photos."""
    records = {name: read_record(_shard(out, name), _RECORD) for name in people}
    rows = [row for record in records.values() for row in record["rows"]]
    dropped = [Dropped(**drop) for record in records.values() for drop in record["dropped"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "identity", "expression", "reason", "detail"])
    cells = ([drop.file, drop.identity, drop.expression, drop.reason, drop.detail] for drop in dropped)
    writer.writerows(map(escaped, row) for row in cells)
    write_atomic(out / _DROPPED, text.getvalue().encode())
    seconds = [second for name in new for second in records[name]["seconds"]]
    return SetReport(
        manifest=write_manifest(rows, out, EXTRA_COLUMNS),
        n_photos=sum(len(photos) for photos in people.values()),
        crops=dict(Counter(row["domain"] for row in rows)),
        dropped=dropped,
        seconds_per_photo=float(np.mean(seconds)) if seconds else None,
        confidence=float(np.mean([row["confidence"] for row in rows])) if rows else None,
    )


def _shard(out: Path, identity: str) -> Path:
    return out / SHARDS / f"{identity}.tar"


def _inputs(photos: Sequence[PhotoEntry]) -> list[dict[str, Any]]:
    """What a shard was made from, to be compared later."""
    facts = ({"n_bytes": photo.path.stat().st_size, "sha256": sha256_of(photo.path)} for photo in photos)
    return [{**asdict(photo), "path": utf8_name(photo.path.name), **fact} for photo, fact in zip(photos, facts, strict=True)]


def _is_made(path: Path, photos: Sequence[PhotoEntry]) -> bool:
    if not path.exists():
        return False
    made, now = read_record(path, _RECORD)["inputs"], _inputs(photos)
    # Shards of earlier versions say nothing of the contents: they are compared by what they say.
    return len(made) == len(now) and all(
        old == {key: value for key, value in new.items() if key != "sha256" or key in old}
        for old, new in zip(made, now, strict=True)
    )


def _make_missing(
    jobs: list[tuple[Path, list[PhotoEntry]]], build_maker: Callable[[], Maker], n_workers: int
) -> Iterator[Path]:
    """Yield each shard as it is finished."""
    # One builds its maker at a time, as the first load of the head model ever fills a cache.
    start = (multiprocessing.get_context("spawn").Lock(), build_maker)
    yield from run_jobs(_work, jobs, n_workers, _start_worker, start, apart=True)


class _Worker:
    """State of one worker process."""

    lock: Lock
    build_maker: Callable[[], Maker]
    maker: Maker | None = None


def _start_worker(lock: Lock, build_maker: Callable[[], Maker]) -> None:
    _Worker.lock, _Worker.build_maker = lock, staticmethod(build_maker)


def _work(job: tuple[Path, list[PhotoEntry]]) -> Path:
    """Runs in a worker."""
    path, photos = job
    if _Worker.maker is None:
        with _Worker.lock:  # here and not at the start, so that an error reaches the caller
            _Worker.maker = staticmethod(_Worker.build_maker())
    write_shard(path, photos, _Worker.maker)
    return path


def write_shard(path: Path, photos: Sequence[PhotoEntry], maker: Maker) -> None:
    """Make one person's shard: `photo_crop.png`, and `record.json` with rows, dropped photos, inputs and seconds."""
    record: dict[str, list[Any]] = {"rows": [], "dropped": [], "inputs": _inputs(photos), "seconds": []}
    with ShardWriter(path) as shard:
        for photo in photos:
            start = time.perf_counter()
            try:
                crops = maker(photo)
            except DroppedPhotoError as drop:
                dropped = Dropped(
                    utf8_name(photo.path.name), photo.identity, photo.expression, drop.reason, utf8_name(drop.detail)
                )
                record["dropped"].append(asdict(dropped))
                continue
            mattes: dict[bytes, tuple[int, int]] = {}
            for name, crop in crops.items():
                key, data = f"{photo.name}_{name}.png", png_bytes(crop.image)
                offset, n_bytes = shard.add(key, data)
                place = {"path": f"{SHARDS}/{path.name}", "offset": offset, "n_bytes": n_bytes, "key": key}
                matte = matte_columns(None if crop.matte is None else _added_once(shard, mattes, crop.matte))
                record["rows"].append({**_row(photo, crop), **place, **matte, "sha256": hashlib.sha256(data).hexdigest()})
            record["seconds"].append(round(time.perf_counter() - start, 3))
        shard.add(_RECORD, json.dumps(record).encode())


def _row(photo: PhotoEntry, crop: MadeCrop) -> dict[str, Any]:
    row = ManifestRow(
        path="",
        offset=None,
        n_bytes=None,
        key="",
        identity=photo.identity,
        expression=crop.expression,
        lighting=crop.lighting,
        domain=crop.domain,
        split=photo.split,
        source=photo.source,
        licence=photo.licence,
        sha256="",
        alignment=crop.alignment,
        landmarks=crop.landmarks,
    )
    return {**row, "confidence": round(crop.confidence, 4)}


def _added_once(shard: ShardWriter, mattes: dict[bytes, tuple[int, int]], matte: np.ndarray) -> tuple[int, int]:
    """Place of a matte in the shard; crops under other lightings share one."""
    data = png_bytes(matte)
    if data not in mattes:
        mattes[data] = shard.add(f"matte_{hashlib.sha256(data).hexdigest()[:16]}.png", data)
    return mattes[data]
