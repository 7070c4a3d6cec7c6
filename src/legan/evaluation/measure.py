"""Measuring candidates on an evaluation set: predicted in batches, in one process or several, kept by checksum for the next time."""

from __future__ import annotations

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
import torch
from torch.nn import functional

from legan import __version__
from legan.core.errors import DataError, ImageError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.images import from_network, to_network
from legan.core.places import Place
from legan.core.workers import RunJobs, run_jobs
from legan.editing.loader import load_crop_editor
from legan.evaluation.edit_classifier import EditClassifier, changes_of
from legan.evaluation.evaluators import IMAGE_METRICS, Arrays, Evaluators
from legan.evaluation.tasks import EvaluationSet, by_name, read_image
from legan.metrics.verification import match_scores
from legan.models.editors import Codes, CropEditor
from legan.requests import EvaluationNetworks

N_SHOWN = 12  # images kept for the page
INPUT, REAL = "input (nothing done)", "real images"
CACHE = "cache"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """An editor, a folder of results, or one of the two references, whose images are measured.

    Args:
        name: in tables.
        checksum: of its weights or images; changes with anything that could change them.
        weights: of an editor.
        folder: of results, by the inputs' names. With neither, `name` is `INPUT` or `REAL`.
    """

    name: str
    checksum: str
    weights: Path | None = None
    folder: str | Path | None = None

    @property
    def is_model(self) -> bool:
        """Whether it is a model, not one of the two references."""
        return self.weights is not None or self.folder is not None


@dataclass(frozen=True)
class Measured:
    """What was measured on an evaluation set.

    Args:
        evaluation_set: of which data.
        candidates: whose images.
        arrays: of each candidate: those of `Evaluators.measure`, `shown` (its first images), and, of all but real images, `edited`
            and `change` (mean absolute difference to the input, in levels of 256).
        reference: features (m, d) of the reference images.
    """

    evaluation_set: EvaluationSet
    candidates: Sequence[Candidate]
    arrays: Sequence[Arrays]
    reference: np.ndarray


def measure_all(
    evaluation_set: EvaluationSet,
    candidates: Sequence[Candidate],
    networks: EvaluationNetworks,
    evaluators: Evaluators,
    out: Path,
    n_workers: int = 1,
    batch_size: int = 16,
    progress: Progress = lambda n_done, n: None,
    run: RunJobs | None = None,
) -> Measured:
    """Measure all candidates, a batch a job.

    What `out` holds already, made with the same images, weights and networks, is not measured again.

    Raises:
        LeganError: as `Predictor` and `Evaluators.measure`.
    """
    assert candidates[0].name == INPUT, "matches are with the inputs"
    folder = make_folder(out / CACHE)
    paths = [folder / f"{cache_key(evaluation_set, candidate, evaluators)}.npz" for candidate in (*candidates, None)]
    found = {index: _read(path) for index, path in enumerate(paths) if path.is_file()}
    todo = [index for index in range(len(paths)) if index not in found]
    lengths = [len(evaluation_set.real) if candidate.name == REAL else len(evaluation_set) for candidate in candidates] + [
        len(evaluation_set.reference)
    ]
    # The last path is the reference's: candidate -1.
    jobs = [
        Job(index if index < len(candidates) else -1, start, min(start + batch_size, lengths[index]))
        for index in todo
        for start in range(0, lengths[index], batch_size)
    ]
    parts: dict[int, dict[int, Arrays]] = {index: {} for index in todo}
    n_all, n_done = sum(lengths), sum(lengths[index] for index in found)
    progress(n_done, n_all)
    start_with = (evaluation_set, tuple(candidates), networks, evaluators.edits)
    for job, arrays in (run or run_jobs)(_measure, jobs, n_workers, _start, start_with):
        index = job.candidate % len(paths)
        parts[index][job.start] = arrays
        if sum(len(part["features"]) for part in parts[index].values()) == lengths[index]:
            found[index] = _joined(parts.pop(index))
            _write(paths[index], found[index])
        progress(n_done := n_done + job.stop - job.start, n_all)
    rows = [found[index] for index in range(len(candidates))]
    for candidate, arrays in zip(candidates, rows, strict=True):
        arrays["match"] = _matches(evaluation_set, candidate, arrays["embedding"], rows[0]["embedding"])
    return Measured(evaluation_set, candidates, rows, found[len(candidates)]["features"])


def _matches(evaluation_set: EvaluationSet, candidate: Candidate, made: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Match scores with the inputs, NaN where they would say nothing: of an input itself, and of another person's image."""
    if candidate.name == INPUT:
        return np.full(len(made), np.nan)
    scores = match_scores(made, inputs[: len(made)])
    return np.where(evaluation_set.real_is_same, scores, np.nan) if candidate.name == REAL else scores


def cache_key(evaluation_set: EvaluationSet, candidate: Candidate | None, evaluators: Evaluators) -> str:
    """Digest of all that a candidate's measures depend on; None is the reference images."""
    networks = {name: facts.get("sha256", "") for name, facts in evaluators.provenance.items()}
    who = (candidate.name if not candidate.is_model else "", candidate.checksum) if candidate else ("reference", "")
    facts = [__version__, evaluation_set.fingerprint, who, networks, IMAGE_METRICS, N_SHOWN]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


class Job(NamedTuple):
    """Measure a candidate on questions `start` to `stop`; candidate -1: features of the reference images."""

    candidate: int
    start: int
    stop: int


@dataclass
class _Worker:
    evaluation_set: EvaluationSet
    candidates: Sequence[Candidate]
    evaluators: Evaluators
    device: str
    predictors: dict[int, Predictor]


_state: list[_Worker] = []  # of this process


def _start(
    evaluation_set: EvaluationSet, candidates: Sequence[Candidate], networks: EvaluationNetworks, edits: EditClassifier | None
) -> None:
    _state[:] = [_Worker(evaluation_set, candidates, Evaluators(networks, edits), networks.device, {})]


def _measure(job: Job) -> tuple[Job, Arrays]:
    (worker,) = _state
    evaluation_set, questions = worker.evaluation_set, np.arange(job.start, job.stop)
    if job.candidate < 0:
        return job, {"features": worker.evaluators.features(evaluation_set.library.images(evaluation_set.reference[questions]))}
    candidate = worker.candidates[job.candidate]
    if job.candidate not in worker.predictors:
        # One at a time: editors are large, and jobs come in the order of the candidates.
        worker.predictors = {job.candidate: Predictor(candidate, evaluation_set, worker.device)}
    images, refused = worker.predictors[job.candidate].predict(questions)
    truth = evaluation_set.truth[questions]
    # A real image is of other conditions than the target: it has no truth.
    has_truth = (truth >= 0) & (candidate.name != REAL)
    arrays = worker.evaluators.measure(images, evaluation_set.library.images(np.maximum(truth, 0)), has_truth)
    if candidate.name != REAL:
        if worker.evaluators.edits is not None and evaluation_set.target is not None:
            arrays["edited"] = worker.evaluators.edits.sees(
                images, evaluation_set.target[questions], changes_of(evaluation_set)[questions]
            )
        inputs = evaluation_set.library.images(evaluation_set.source[questions])
        arrays["change"] = np.abs(images.astype(np.float32) - inputs).mean((1, 2, 3))
    arrays["refused"] = refused
    return job, {**arrays, "shown": images[: max(0, N_SHOWN - job.start)]}


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


def digest_of(paths: Iterable[Path | Place]) -> str:
    """Digest of the contents of files, in the order given."""
    return hashlib.sha256("".join(map(sha256_of, paths)).encode()).hexdigest()


class Predictor:
    """Predicts a candidate's images for questions of an evaluation set.

    Raises:
        DataError: a folder of results that lacks some, or an editor of crops of another size.
        WeightsError: weights that cannot be used.
    """

    def __init__(self, candidate: Candidate, evaluation_set: EvaluationSet, device: str) -> None:
        self.candidate, self.evaluation_set = candidate, evaluation_set
        self.editor: CropEditor | None = load_crop_editor(candidate.weights, device) if candidate.weights else None
        self.results = results_of(candidate.folder, evaluation_set) if candidate.folder else None
        self.size = evaluation_set.library.images(evaluation_set.source[:1]).shape[1]
        if self.editor is not None and self.editor.size != self.size:
            raise DataError(
                f"{candidate.name} edits crops of {self.editor.size} pixels and {evaluation_set.name} has {self.size}: "
                "leave that editor out"
            )

    def predict(self, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images, uint8 (B, S, S, 3), for questions by number, and which (B,) bool the editor refused and left as they were.

        Raises:
            ImageError: the editor's images are not finite or out of range; the message names it.
            DataError: results of another size.
        """
        asked = self.evaluation_set
        if self.editor is not None:
            return self._edited(self.editor, questions)
        if self.results is not None:
            images = np.stack([read_image(self.results[int(k)], self.size) for k in questions])
        else:
            images = asked.library.images((asked.source if self.candidate.name == INPUT else asked.real)[questions])
        return images, np.zeros(len(questions), bool)

    def _edited(self, editor: CropEditor, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked = self.evaluation_set
        assert asked.target is not None, "editors are evaluated on data sets only"
        expression, lighting = torch.from_numpy(asked.target[questions]).T
        n_expressions, n_lightings = len(asked.classes.expressions), len(asked.classes.lightings)
        codes = Codes(functional.one_hot(expression, n_expressions).float(), functional.one_hot(lighting, n_lightings).float())
        x = to_network(asked.library.images(asked.source[questions]))
        try:
            image, refused = editor.attempt(x, codes, len(x))
            return from_network(image), refused
        except ImageError as error:
            raise ImageError(f"{self.candidate.name}: {error}") from error


def results_of(folder: str | Path, evaluation_set: EvaluationSet) -> list[Path | Place]:
    """Return the result for each question, by its source's name.

    Raises:
        DataError: a result is missing.
    """
    found = by_name(folder)
    missing = [name for name in evaluation_set.names if name not in found]
    if missing:
        raise DataError(
            f"{folder} lacks a result for {len(missing)} of {len(evaluation_set)} inputs, the first is {missing[0]}: "
            "give each result the name of its input"
        )
    return [found[name].place for name in evaluation_set.names]
