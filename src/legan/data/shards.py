"""Data set folders that are built shard by shard: tar shards, the folder with its settings, and the builder of both.

A set is built by one process at a time, in worker processes, and resumes: each shard is written whole or not at all, the folder
remembers the settings that every image depends on, and the manifest comes last.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from legan.core.config import parse_json
from legan.core.errors import DataError, LeganError
from legan.core.files import LOCK, atomic_write, held_folder, is_lock, make_folder, write_atomic
from legan.core.workers import Progress, RunJobs, run_jobs, use_one_thread
from legan.data.manifest import COLUMNS

SETTINGS, SHARDS = "settings.json", "shards"
RECORD = "rows.json"  # in a shard: its rows of the manifest, and what its maker has to say
_LONG = 60  # characters; a longer setting is not quoted in messages


# Tar shards.


class ShardWriter:
    """Writes one tar shard under a temporary name; closing renames it, an exception removes it.

    Headers carry no time, user or mode of this machine, so that the same content gives the same bytes.

    Attributes: `rows`, the manifest's rows of the images added so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.rows: list[dict[str, Any]] = []

    def __enter__(self) -> "ShardWriter":
        self._file_context = atomic_write(self.path)
        self._file: IO[bytes] = self._file_context.__enter__()
        self._tar = tarfile.open(fileobj=self._file, mode="w")
        return self

    def add(self, key: str, data: bytes) -> tuple[int, int]:
        """Append one file and return the offset and length of its bytes in the tar."""
        info = tarfile.TarInfo(key)
        info.size = len(data)
        # Only names that do not fit the plain header get GNU's second one.
        self._tar.format = tarfile.USTAR_FORMAT if len(key.encode()) <= tarfile.LENGTH_NAME else tarfile.GNU_FORMAT
        try:
            self._tar.addfile(info, io.BytesIO(data))
        except OSError as error:
            raise LeganError(f"cannot write {self.path}: {os.strerror(error.errno or 0)}; free some space") from error
        return self._tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, len(data)

    def add_image(self, key: str, data: bytes, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Append an encoded image, and its row to `rows`; returns that row, to which further columns may be added.

        Args:
            key: its name in the shard.
            data: the image file's bytes.
            facts: the row's other columns: those of `ManifestRow` that are missing are None, further ones follow.
        """
        offset, n_bytes = self.add(key, data)
        place = {"path": f"{SHARDS}/{self.path.name}", "offset": offset, "n_bytes": n_bytes, "key": key}
        digest = hashlib.sha256(data).hexdigest()
        self.rows.append({**dict.fromkeys(COLUMNS), **facts, **place, "sha256": digest})
        return self.rows[-1]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._tar.close()
        self._file_context.__exit__(kind, error, trace)


def read_record(shard: Path, key: str) -> Any:
    """Return the JSON value that a tar shard holds under `key`.

    Raises:
        DataError: the shard is damaged, or holds no such value; the message names it.
    """
    try:
        with tarfile.open(shard) as tar:
            member = tar.extractfile(key)
            if member is None:
                raise KeyError(key)
            return parse_json(member.read())
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        raise DataError(f"{shard} is damaged: delete it and run the same command again") from error


# Building a set: what is common to all makers of shards.


class ShardJob(NamedTuple):
    """One shard to make."""

    name: str  # of its file, without `.tar`
    content: Any  # what the maker makes it of; goes to a worker process
    n: int = 1  # what the shard counts for in the progress


class ShardRecord(NamedTuple):
    """What a shard says of itself."""

    rows: list[dict[str, Any]]
    facts: dict[str, Any]  # by the maker, such as the images dropped


# Fills a shard with the images of a job's content. What it returns is kept in the shard's record beside the rows, if it is not None.
ShardMaker = Callable[[Any, ShardWriter], Mapping[str, Any] | None]


class SetBuilder:
    """Makes the shards of a data set folder that are missing; given by `open_set_folder`::

    with open_set_folder(out, settings) as builder:
        builder.make(jobs, build_maker, n_workers, progress)
        rows = (row for job in jobs for row in builder.record(job.name).rows)
        write_manifest(rows, out)
    """

    def __init__(self, out: Path, record: str = RECORD) -> None:
        self.out, self._record = out, record

    def path(self, name: str) -> Path:
        """Where the shard `name` lies, or will lie."""
        return self.out / SHARDS / f"{name}.tar"

    def make(
        self,
        jobs: Sequence[ShardJob],
        build_maker: Callable[[], ShardMaker],
        n_workers: int,
        progress: Progress | None = None,
        *,
        apart: bool = False,
        is_current: Callable[[ShardJob], bool] | None = None,
        run: RunJobs | None = None,
    ) -> list[ShardJob]:
        """Make the shards that are missing and return their jobs.

        Args:
            jobs: all shards of the set; what is missing is begun in this order.
            build_maker: called once a process, before its first shard: loads networks and models. A function of a module, or a
                `functools.partial` of one.
            n_workers: processes of one thread each.
            progress: called with (done, in all), counted by the jobs' `n`, first with what was there already.
            apart: as for `run_jobs`.
            is_current: whether a shard that is there may stay; by default always.
            run: what drives the workers; by default local processes (`run_jobs`).

        Raises:
            LeganError: the disk is full, or a worker was killed. Errors of the maker come through as they are.
        """
        missing = [job for job in jobs if not self.path(job.name).exists() or (is_current and not is_current(job))]
        n = sum(job.n for job in jobs)
        n_done = n - sum(job.n for job in missing)
        if progress:
            progress(n_done, n)
        places = [(self.path(job.name), job) for job in missing]
        try:
            for n_made in (run or run_jobs)(
                _make_shard, places, n_workers, _start_worker, (build_maker, self._record), apart=apart
            ):
                n_done += n_made
                if progress:
                    progress(n_done, n)
        finally:
            _workers.clear()  # what was loaded in this process
        return missing

    def record(self, name: str) -> ShardRecord:
        """Read the record of the shard `name`.

        Raises:
            DataError: the shard is damaged.
        """
        value = read_record(self.path(name), self._record)
        if isinstance(value, list):
            return ShardRecord(value, {})
        return ShardRecord(value["rows"], {key: fact for key, fact in value.items() if key != "rows"})


def write_shard(path: Path, make: ShardMaker, content: Any, record: str = RECORD) -> None:
    """Write one shard: the images that `make` adds for `content`, and their rows with what it returns under the name `record`."""
    with ShardWriter(path) as shard:
        facts = make(content, shard)
        value = shard.rows if facts is None else {"rows": shard.rows, **facts}
        shard.add(record, json.dumps(value).encode())


@dataclass
class _Worker:
    """State of a worker process."""

    build_maker: Callable[[], ShardMaker]
    record: str
    make: ShardMaker | None = None


_workers: list[_Worker] = []  # of this process: one


def _start_worker(build_maker: Callable[[], ShardMaker], record: str) -> None:
    use_one_thread()
    _workers[:] = [_Worker(build_maker, record)]


@contextmanager
def _taking_turns() -> Iterator[None]:
    """Wait until no other process of this machine and user does this, and do it: a lock of the system's, which a killed process lets go."""
    path = Path(tempfile.gettempdir()) / f"legan-{os.getuid()}-loading{LOCK}"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make_shard(place: tuple[Path, ShardJob]) -> int:
    """Runs in a worker."""
    (path, job), worker = place, _workers[0]
    if worker.make is None:
        # Not when the process starts, so that an error reaches the caller. One process loads at a time, since the first load of
        # the head model ever fills a cache on the disk.
        with _taking_turns():
            worker.make = worker.build_maker()
    write_shard(path, worker.make, job.content, worker.record)
    return job.n


# The folder: new, or begun with the same settings. It is begun when its first shard is there: a command that failed before that
# leaves a folder that any other may take.


@contextmanager
def open_set_folder(
    out: Path,
    settings: Mapping[str, Any],
    besides: Collection[str] = (),
    derived: Collection[str] = (),
    record: str = RECORD,
) -> Iterator[SetBuilder]:
    """Make the folder with its settings and an empty `shards`, or clear one that was begun of half-written files.

    The body has the folder for itself: other processes are refused until it ends.

    Args:
        out: the folder.
        settings: plain values that everything in it depends on.
        besides: names of what may lie in a folder without settings.
        derived: names of files that are made from the settings before the first shard; those of other settings are deleted.
        record: name of the shards' records.

    Raises:
        DataError: as `check_set_folder`.
        LeganError: the place cannot be written, or another process writes there.
    """
    out = Path(out)
    check_set_folder(out, settings, besides, derived)
    with held_folder(make_folder(out)):
        check_set_folder(out, settings, besides, derived)  # again: another process may have begun it meanwhile
        make_folder(out / SHARDS)
        if _is_free(out, besides, derived) and _read_settings(out) != json.loads(json.dumps(settings)):
            for name in derived:
                (out / name).unlink(missing_ok=True)
            write_atomic(out / SETTINGS, json.dumps(settings, indent=2).encode())
        for left_over in (*out.glob(".*.tmp"), *(out / SHARDS).glob(".*.tmp")):  # of a process that was killed while writing
            left_over.unlink(missing_ok=True)
        yield SetBuilder(out, record)


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
    if _is_free(out, besides, derived):
        return
    if not (out / SETTINGS).exists():
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
    known = _read_settings(out)
    if known is None:
        raise DataError(f"{out / SETTINGS} cannot be read: delete {out} and run the same command again")
    for name, value in json.loads(json.dumps(settings)).items():
        if known.get(name) != value:
            is_short = max(len(str(known.get(name))), len(str(value))) <= _LONG
            difference = f"{name} {known.get(name)}, not {value}" if is_short else f"another {name}"
            raise DataError(f"{out} was made with {difference}: ask for the same {name}, or choose another folder")


def _is_free(out: Path, besides: Collection[str], derived: Collection[str]) -> bool:
    """Whether a folder is new, empty, or what a command left that failed before its first shard."""
    if not out.is_dir():
        return True
    own = {SHARDS, SETTINGS, *derived} if (out / SHARDS).is_dir() else set()
    others = [
        place
        for place in out.iterdir()
        if place.name not in {*own, *besides} and not _is_half_written(place) and not is_lock(place)
    ]
    return not others and all(map(_is_half_written, (out / SHARDS).glob("*")))


def _is_half_written(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"


def _read_settings(out: Path) -> dict[str, Any] | None:
    """The settings; None where there are none, or none that can be read."""
    try:
        return dict(parse_json((out / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def check_own_folder(out: Path, mark: str) -> None:
    """Check that a folder is new, empty, or holds `mark`, by which a command recognizes the folders that it made.

    Raises:
        DataError: it holds other files.
    """
    if out.is_dir() and not (out / mark).exists() and not all(map(is_lock, out.iterdir())):
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
