"""Measuring candidates on the evaluation set: edits in batches, kept by checksum, and the values of each image."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional

from legan import __version__
from legan.core.conditions import EXPRESSIONS, LIGHTINGS, are_neighbours
from legan.core.errors import DataError, ImageError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.images import from_network, resized, to_network, to_unit
from legan.core.workers import run_jobs
from legan.data.faces import FaceDataset
from legan.data.manifest import MANIFEST, read_manifest
from legan.editing.loader import load_crop_editor
from legan.evaluation.evaluators import DEFAULT, FeatureNetwork, load_fid_network, load_lpips_network, pooled
from legan.evaluation.tasks import KINDS, EvaluationSet, Library, by_name, read_image
from legan.faces.embeddings import PACKAGED, Embedding, load_embedding
from legan.metrics.images import layer_distance, psnr, ssim
from legan.metrics.verification import match_scores
from legan.models.editors import Codes, CropEditor
from legan.quality.scorer import QualityScorer, load_quality

# Whether an edit happened: the expression and the lighting that a classifier sees in an image, held against what was asked for.
#
# Measures of looks reward an editor that does nothing: an input that is left as it is looks natural, and like its person. The classifier
# learns from images that no editor touched, anew in each evaluation: ridge regression (Hoerl and Kennedy 1970) of the classes on
# histograms of oriented gradients (Dalal and Triggs, CVPR 2005). Learned from one rendered person, it sees 0.8 of another's expressions and
# of the lights or their neighbours (six classes and twenty); the report says how far it can be trusted on the data at hand. No network is
# in it, so that no editor was trained with it.


ATTRIBUTES = ("expression", "lighting")
NAME = "HOG and ridge regression"
SIDE, CELL = 128, 8  # pixels
N_DIRECTIONS = 9
MAX_IMAGES = 3000  # learned from; a few people under all conditions tell nearly as much
MIN_OF_CLASS = 4  # a class of fewer images is not learned
STRENGTH = 1.0  # of the ridge, in means of the kernel's diagonal
_SEED = 3
_NEAR = np.array([[are_neighbours(a, b) for b in range(len(LIGHTINGS))] for a in range(len(LIGHTINGS))])


@dataclass(frozen=True)
class Ridge:
    """One-against-all ridge regression.

    Args:
        classes: (k,) the classes that were learned.
        weights, bias: (d, k) and (k,), of features as they are.
    """

    classes: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class (B,) of features (B, d)."""
        return self.classes[(features @ self.weights + self.bias).argmax(1)]


@dataclass(frozen=True)
class EditClassifier:
    """Sees expression and lighting; an attribute of which the data shows fewer than two classes has no model.

    Args:
        models: by attribute.
        provenance: name, `learned_from` in words, and `sha256` of the images that it learned from and of how.
    """

    models: Mapping[str, Ridge]
    provenance: Mapping[str, Any]

    def predict(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the classes (B,) by attribute that images, uint8 (B, S, S, 3), show."""
        features = describe(images)
        return {name: model.predict(features) for name, model in self.models.items()}

    def sees(self, images: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Return (B,) 1 where all that was asked for is seen, 0 where not, NaN where it cannot be said.

        Args:
            images: uint8 (B, S, S, 3).
            target: (B, 2) expression and lighting to edit into.
            asked: (B, 2) whether they differ from the source's. A light that is next to the target's counts as seen.
        """
        found, seen = self.predict(images), np.ones(len(images))
        for k, name in enumerate(ATTRIBUTES):
            wanted = target[:, k]
            if name in found:
                right = is_right(name, found[name], wanted)
                right = np.where(np.isin(wanted, self.models[name].classes), right, np.nan)
            else:
                right = np.full(len(images), np.nan)
            seen = np.where(asked[:, k], seen * right, seen)
        return seen


def is_right(attribute: str, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return (B,) whether a class that was found is the true one, or for lighting one next to it."""
    return _NEAR[found, true] if attribute == "lighting" else found == true


def asked_of(evaluation_set: EvaluationSet) -> np.ndarray:
    """Return (n, 2), whether each question asks for another expression and for another lighting."""
    kind = evaluation_set.attributes["edit"]
    return np.stack([kind != KINDS[0], kind != KINDS[1]], 1)


def describe(images: np.ndarray) -> np.ndarray:
    """Return features (B, d) float32 of images, uint8 (B, S, S, 3)."""
    if images.shape[1] != SIDE:
        images = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in images])
    return gradient_histograms(images).reshape(len(images), -1).astype(np.float32)


def gradient_histograms(images: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients (B, 16, 16, 9) of images, uint8 (B, 128, 128, 3), each normalized by its surroundings."""
    # Gradients of the square root of luminance, which evens dark and bright places.
    grey = np.sqrt(images.astype(np.float32).mean(3) / 255)  # (B, 128, 128)
    down, across = np.gradient(grey, axis=(1, 2))
    size, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi

    # Each pixel votes for the two nearest of nine directions.
    place = angle * N_DIRECTIONS / np.pi - 0.5
    distance = np.abs((place[..., None] - np.arange(N_DIRECTIONS) + N_DIRECTIONS / 2) % N_DIRECTIONS - N_DIRECTIONS / 2)
    cells = _cell_means(np.maximum(0, 1 - distance) * size[..., None], CELL)  # (B, 16, 16, 9)

    # Contrast is that of a cell's 3x3 surroundings.
    energy = np.pad(np.square(cells).sum(3), ((0, 0), (1, 1), (1, 1)), mode="edge")
    n = cells.shape[1]
    around = sum(energy[:, i : i + n, k : k + n] for i in range(3) for k in range(3))
    return np.minimum(cells / np.sqrt(around + 1e-6)[..., None], 0.4)


def _cell_means(values: np.ndarray, cell: int) -> np.ndarray:
    """Means over square cells: (B, H, W, C) -> (B, H / cell, W / cell, C)."""
    b, h, w, c = values.shape
    return values.reshape(b, h // cell, cell, w // cell, cell, c).mean((2, 4))


def fit_ridge(features: np.ndarray, labels: np.ndarray) -> Ridge | None:
    """Fit a classifier to features (n, d) with labels (n,), every class with the same say; None where fewer than two can be learned."""
    classes, counts = np.unique(labels, return_counts=True)
    classes = classes[counts >= MIN_OF_CLASS]
    if len(classes) < 2:
        return None
    chosen = np.isin(labels, classes)
    x, y = features[chosen].astype(np.float64), labels[chosen]
    is_class = y[:, None] == classes  # (n, k)
    share = (is_class / is_class.sum(0)).sum(1) * len(y) / len(classes)  # weights of the images, of mean 1
    mean = x.mean(0)
    root = np.sqrt(share)[:, None]
    a, b = root * (x - mean), root * (is_class - 1 / len(classes))
    # Normal equations of the smaller side: the kernel trick where there are fewer images than features.
    ridge = STRENGTH * np.square(a).sum() / len(y)
    if len(y) < x.shape[1]:
        weights = a.T @ np.linalg.solve(a @ a.T + ridge * np.eye(len(y)), b)
    else:
        weights = np.linalg.solve(a.T @ a + ridge * np.eye(x.shape[1]), a.T @ b)
    return Ridge(classes, weights, -mean @ weights)


def learn(exams: Sequence[EvaluationSet]) -> EditClassifier | None:
    """Learn from the people of the exams' split `train`; of data without it, from the reference images, which are no sources.

    None where nothing is asked of editors (folders of results).
    """
    exams = [
        evaluation_set for evaluation_set in exams if evaluation_set.target is not None and evaluation_set.folder is not None
    ]
    if not exams:
        return None
    parts, words, digest = [], [], hashlib.sha256(repr((MAX_IMAGES, MIN_OF_CLASS, STRENGTH, CELL, N_DIRECTIONS)).encode())
    for evaluation_set in exams:
        data, rows, word = _lessons(evaluation_set)
        rows = np.sort(np.random.default_rng([_SEED, len(rows)]).permutation(rows)[: MAX_IMAGES // len(exams)])
        parts.append((_described(data, rows), data.expression[rows], data.lighting[rows]))
        words.append(f"{word} ({len(rows)} images of {len(np.unique(data.person[rows]))} people)")
        digest.update(sha256_of(data.folders[0] / MANIFEST).encode() + rows.astype("<i8").tobytes())
    features, expression, lighting = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = {
        "expression": fit_ridge(features, expression),
        "lighting": fit_ridge(features[lighting >= 0], lighting[lighting >= 0]),
    }
    provenance = {"name": NAME, "sha256": digest.hexdigest(), "learned_from": words}
    return EditClassifier({name: model for name, model in found.items() if model}, provenance)


def _lessons(evaluation_set: EvaluationSet) -> tuple[FaceDataset, np.ndarray, str]:
    """Images to learn from: the data, which of it, and its name."""
    assert evaluation_set.folder is not None and isinstance(evaluation_set.library, FaceDataset)
    if evaluation_set.split != "train" and (read_manifest(evaluation_set.folder)["split"] == "train").any():
        data = FaceDataset([evaluation_set.folder], "train", size=evaluation_set.library.size, memory_gb=0)
        return data, np.arange(len(data)), f"{evaluation_set.folder.resolve().name}/train"
    return evaluation_set.library, evaluation_set.reference, f"{evaluation_set.name}, its reference images"


def _described(library: Library, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
    return np.concatenate([describe(library.images(part)) for part in _batches(rows, batch_size)])


def _batches(rows: np.ndarray, size: int) -> Iterable[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def accuracies(classifier: EditClassifier, evaluation_set: EvaluationSet) -> dict[str, float]:
    """Return by attribute how often the classifier is right about the true edits of an exam: no editor can be seen to do better."""
    assert evaluation_set.target is not None
    known = np.flatnonzero(evaluation_set.truth >= 0)
    if not len(known):
        return {}
    images = [classifier.predict(evaluation_set.library.images(evaluation_set.truth[part])) for part in _batches(known, 64)]
    found = {name: np.concatenate([part[name] for part in images]) for name in classifier.models}
    return {
        name: float(is_right(name, values, evaluation_set.target[known, ATTRIBUTES.index(name)]).mean())
        for name, values in found.items()
    }


# What is measured on one model's images, a batch at a time: features, and each image's own figures.


FIGURES = ("edited", "lpips", "ssim", "psnr", "match", "quality")  # of each image; NaN where there is none
N_SHOWN = 12  # images kept for the page
CROP = 128  # what identity embeddings read
INPUT, REAL = "input (nothing done)", "real images"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """Whose images are measured.

    Args:
        name: in tables.
        checksum: of its weights or images; changes with anything that could change them.
        weights: of an editor.
        folder: of results, by the inputs' names. With neither, `name` is `INPUT` or `REAL`.
    """

    name: str
    checksum: str
    weights: Path | None = None
    folder: Path | None = None

    @property
    def is_model(self) -> bool:
        """Whether it is a model, not one of the two references."""
        return self.weights is not None or self.folder is not None


@dataclass(frozen=True)
class Choice:
    """The networks to judge by, as names or paths, and where they run; `quality` None is the packaged Q."""

    fid_network: str = DEFAULT
    lpips_network: str = DEFAULT
    identity: str = PACKAGED
    quality: Path | None = None
    device: str = "cpu"


class Evaluators:
    """The networks of a `Choice`, loaded, and the classifier of edits, where there is one.

    Raises:
        WeightsError, ConfigError: an unknown network, or a device that this machine does not have.
    """

    def __init__(self, choice: Choice, edits: EditClassifier | None = None) -> None:
        self.edits = edits
        self.fid: FeatureNetwork = load_fid_network(choice.fid_network, choice.device)
        self.lpips: FeatureNetwork = load_lpips_network(choice.lpips_network, choice.device)
        self.embedding: Embedding = load_embedding(choice.identity, choice.device)
        # float32 everywhere, so that scores do not depend on the machine.
        self.quality: QualityScorer = load_quality(choice.quality, choice.device, "fp32")
        self._shares_layers = self.fid.provenance.get("sha256", "") == self.lpips.provenance.get("sha256")

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """Name, file and checksum of each network, and what its file says about itself."""
        q: dict[str, Any] = {key: self.quality.metadata[key] for key in ("data", "licence") if key in self.quality.metadata}
        return {
            "fid": {"name": self.fid.name, **self.fid.provenance},
            "lpips": {"name": self.lpips.name, **self.lpips.provenance},
            "match": {"name": self.embedding.name, **self.embedding.provenance},
            "quality": {"sha256": self.quality.checksum, **q},
            **({"edits": dict(self.edits.provenance)} if self.edits is not None else {}),
        }

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return features (B, d) of images, uint8 (B, S, S, 3)."""
        return self.fid.features(to_network(images)).numpy()

    def measure(self, images: np.ndarray, truths: np.ndarray, has_truth: np.ndarray) -> Arrays:
        """Return `features` (B, d), `embedding` (B, e) and each of `FIGURES` (B,), NaN for `edited` and `match`: these take more.

        Args:
            images, truths: uint8 (B, S, S, 3); what was made, and what should have been made.
            has_truth: (B,) whether there is a truth.
        """
        x, x_true = to_network(images), to_network(truths[has_truth])
        layers = self.lpips.read(x)
        features = torch.cat(list(map(pooled, layers)), 1).cpu() if self._shares_layers else self.fid.features(x)
        found: Arrays = {"features": features.float().numpy(), **{name: np.full(len(x), np.nan) for name in FIGURES}}
        if has_truth.any():
            kept = torch.from_numpy(has_truth)
            own = [layer[kept] for layer in layers]
            found["lpips"][has_truth] = layer_distance(own, self.lpips.read(x_true), self.lpips.weights).cpu()
            u, u_true = to_unit(x[kept]), to_unit(x_true)
            found["ssim"][has_truth], found["psnr"][has_truth] = ssim(u, u_true), psnr(u, u_true)
        found["embedding"] = self.embedding.embed(to_unit(resized(x, CROP).clamp(-1, 1)), batch_size=len(x))
        found["quality"][:] = self.quality.predict(resized(x, self.quality.size)).score.numpy()
        return found


class Predictor:
    """Gives a contestant's images for questions of an exam.

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
        codes = Codes(
            functional.one_hot(expression, len(EXPRESSIONS)).float(), functional.one_hot(lighting, len(LIGHTINGS)).float()
        )
        x = to_network(asked.library.images(asked.source[questions]))
        try:
            image, refused = editor.attempt(x, codes, len(x))
            return from_network(image), refused
        except ImageError as error:
            raise ImageError(f"{self.candidate.name}: {error}") from error


def results_of(folder: Path, evaluation_set: EvaluationSet) -> list[Path]:
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
    return [found[name] for name in evaluation_set.names]


# Running an exam: every contestant's images measured in batches, in one process or several, kept for the next time.


CACHE = "cache"
Progress = Callable[[int, int], None]


class Job(NamedTuple):
    """Measure a contestant on questions `start` to `stop`; contestant -1: features of the reference images."""

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


def measure_all(
    evaluation_set: EvaluationSet,
    candidates: Sequence[Candidate],
    choice: Choice,
    evaluators: Evaluators,
    out: Path,
    n_workers: int = 1,
    batch_size: int = 16,
    progress: Progress = lambda n_done, n: None,
) -> tuple[np.ndarray, list[Arrays]]:
    """Return features of the reference (m, d), and for each contestant `Evaluators.measure`'s arrays and `shown`, its first images.

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
    # The last path is the reference's: contestant -1.
    jobs = [
        Job(index if index < len(candidates) else -1, start, min(start + batch_size, lengths[index]))
        for index in todo
        for start in range(0, lengths[index], batch_size)
    ]
    parts: dict[int, dict[int, Arrays]] = {index: {} for index in todo}
    n_all, n_done = sum(lengths), sum(lengths[index] for index in found)
    progress(n_done, n_all)
    start_with = (evaluation_set, tuple(candidates), choice, evaluators.edits)
    for job, arrays in run_jobs(_measure, jobs, n_workers, _start, start_with):
        index = job.candidate % len(paths)
        parts[index][job.start] = arrays
        if sum(len(part["features"]) for part in parts[index].values()) == lengths[index]:
            found[index] = _joined(parts.pop(index))
            _write(paths[index], found[index])
        progress(n_done := n_done + job.stop - job.start, n_all)
    rows = [found[index] for index in range(len(candidates))]
    for candidate, arrays in zip(candidates, rows, strict=True):
        arrays["match"] = _matches(evaluation_set, candidate, arrays["embedding"], rows[0]["embedding"])
    return found[len(candidates)]["features"], rows


def _matches(evaluation_set: EvaluationSet, candidate: Candidate, made: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Match scores with the inputs, NaN where they would say nothing: of an input itself, and of another person's image."""
    if candidate.name == INPUT:
        return np.full(len(made), np.nan)
    scores = match_scores(made, inputs[: len(made)])
    return np.where(evaluation_set.real_is_same, scores, np.nan) if candidate.name == REAL else scores


def cache_key(evaluation_set: EvaluationSet, candidate: Candidate | None, evaluators: Evaluators) -> str:
    """Digest of all that a contestant's measures depend on; None is the reference images."""
    networks = {name: facts.get("sha256", "") for name, facts in evaluators.provenance.items()}
    who = (candidate.name if not candidate.is_model else "", candidate.checksum) if candidate else ("reference", "")
    facts = [__version__, evaluation_set.fingerprint, who, networks, FIGURES, N_SHOWN]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _start(
    evaluation_set: EvaluationSet, candidates: Sequence[Candidate], choice: Choice, edits: EditClassifier | None
) -> None:
    _state[:] = [_Worker(evaluation_set, candidates, Evaluators(choice, edits), choice.device, {})]


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
                images, evaluation_set.target[questions], asked_of(evaluation_set)[questions]
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


def digest_of(paths: Iterable[Path]) -> str:
    """Digest of the contents of files, in the order given."""
    from legan.core.files import sha256_of

    return hashlib.sha256("".join(map(sha256_of, paths)).encode()).hexdigest()
