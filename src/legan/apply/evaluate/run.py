"""Running an exam: every contestant's pictures measured in batches, in one process or several, kept for the next time."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from legan import __version__
from legan.apply.evaluate.edit_seen import EditClassifier, asked_of
from legan.apply.evaluate.exam import Exam
from legan.apply.evaluate.measures import FIGURES, INPUT, N_SHOWN, REAL, Arrays, Choice, Contestant, Judges, Painter
from legan.core.errors import DataError
from legan.core.files import make_folder, write_atomic
from legan.core.workers import run_jobs
from legan.metrics.match import match_scores

CACHE = "cache"
Progress = Callable[[int, int], None]


class Job(NamedTuple):
    """Measure a contestant on questions `start` to `stop`; contestant -1: features of the reference pictures."""

    contestant: int
    start: int
    stop: int


@dataclass
class _Worker:
    exam: Exam
    contestants: Sequence[Contestant]
    judges: Judges
    device: str
    painters: dict[int, Painter]


_state: list[_Worker] = []  # of this process


def measure_all(
    exam: Exam,
    contestants: Sequence[Contestant],
    choice: Choice,
    judges: Judges,
    out: Path,
    n_workers: int = 1,
    batch_size: int = 16,
    progress: Progress = lambda n_done, n: None,
) -> tuple[np.ndarray, list[Arrays]]:
    """Return features of the reference (m, d), and for each contestant `Judges.measure`'s arrays and `shown`, its first pictures.

    What `out` holds already, made with the same pictures, weights and networks, is not measured again.

    Raises:
        LeganError: as `Painter` and `Judges.measure`.
    """
    assert contestants[0].name == INPUT, "matches are with the inputs"
    folder = make_folder(out / CACHE)
    paths = [folder / f"{cache_key(exam, contestant, judges)}.npz" for contestant in (*contestants, None)]
    found = {index: _read(path) for index, path in enumerate(paths) if path.is_file()}
    todo = [index for index in range(len(paths)) if index not in found]
    lengths = [len(exam.real) if contestant.name == REAL else len(exam) for contestant in contestants] + [len(exam.reference)]
    # The last path is the reference's: contestant -1.
    jobs = [
        Job(index if index < len(contestants) else -1, start, min(start + batch_size, lengths[index]))
        for index in todo
        for start in range(0, lengths[index], batch_size)
    ]
    parts: dict[int, dict[int, Arrays]] = {index: {} for index in todo}
    n_all, n_done = sum(lengths), sum(lengths[index] for index in found)
    progress(n_done, n_all)
    start_with = (exam, tuple(contestants), choice, judges.edits)
    for job, arrays in run_jobs(_measure, jobs, n_workers, _start, start_with):
        index = job.contestant % len(paths)
        parts[index][job.start] = arrays
        if sum(len(part["features"]) for part in parts[index].values()) == lengths[index]:
            found[index] = _joined(parts.pop(index))
            _write(paths[index], found[index])
        progress(n_done := n_done + job.stop - job.start, n_all)
    rows = [found[index] for index in range(len(contestants))]
    for contestant, arrays in zip(contestants, rows, strict=True):
        arrays["match"] = _matches(exam, contestant, arrays["embedding"], rows[0]["embedding"])
    return found[len(contestants)]["features"], rows


def _matches(exam: Exam, contestant: Contestant, made: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Match scores with the inputs, NaN where they would say nothing: of an input itself, and of another person's picture."""
    if contestant.name == INPUT:
        return np.full(len(made), np.nan)
    scores = match_scores(made, inputs[: len(made)])
    return np.where(exam.real_is_same, scores, np.nan) if contestant.name == REAL else scores


def cache_key(exam: Exam, contestant: Contestant | None, judges: Judges) -> str:
    """Digest of all that a contestant's measures depend on; None is the reference pictures."""
    networks = {name: facts.get("sha256", "") for name, facts in judges.provenance.items()}
    who = (contestant.name if not contestant.is_model else "", contestant.checksum) if contestant else ("reference", "")
    facts = [__version__, exam.fingerprint, who, networks, FIGURES, N_SHOWN]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _start(exam: Exam, contestants: Sequence[Contestant], choice: Choice, edits: EditClassifier | None) -> None:
    _state[:] = [_Worker(exam, contestants, Judges(choice, edits), choice.device, {})]


def _measure(job: Job) -> tuple[Job, Arrays]:
    (worker,) = _state
    exam, questions = worker.exam, np.arange(job.start, job.stop)
    if job.contestant < 0:
        return job, {"features": worker.judges.features(exam.library.images(exam.reference[questions]))}
    contestant = worker.contestants[job.contestant]
    if job.contestant not in worker.painters:
        # One at a time: editors are large, and jobs come in the order of the contestants.
        worker.painters = {job.contestant: Painter(contestant, exam, worker.device)}
    painter = worker.painters[job.contestant]
    pictures = painter.paint(questions)
    truth = exam.truth[questions]
    # A real picture is of other conditions than the target: it has no truth.
    has_truth = (truth >= 0) & (contestant.name != REAL)
    arrays = worker.judges.measure(pictures, exam.library.images(np.maximum(truth, 0)), has_truth)
    if contestant.name != REAL:
        if worker.judges.edits is not None and exam.target is not None:
            arrays["edited"] = worker.judges.edits.sees(pictures, exam.target[questions], asked_of(exam)[questions])
        inputs = exam.library.images(exam.source[questions])
        arrays["change"] = np.abs(pictures.astype(np.float32) - inputs).mean((1, 2, 3))
    if painter.refuses:
        arrays["refused"] = painter.refused
    return job, {**arrays, "shown": pictures[: max(0, N_SHOWN - job.start)]}


def _joined(parts: dict[int, Arrays]) -> Arrays:
    in_order = [parts[start] for start in sorted(parts)]
    return {name: np.concatenate([part[name] for part in in_order]) for name in in_order[0]}


def _read(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: delete it and run the same command again") from error


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # arrays by name
    write_atomic(path, buffer.getvalue())


def digest_of(paths: Iterable[Path]) -> str:
    """Digest of the contents of files, in the order given."""
    from legan.core.files import sha256_of

    return hashlib.sha256("".join(map(sha256_of, paths)).encode()).hexdigest()
