"""Whether an edit happened: the expression and the lighting that a classifier sees in a picture, held against what was asked for.

Measures of looks reward an editor that does nothing: an input that is left as it is looks natural, and like its person. The classifier
learns from pictures that no editor touched, anew in each evaluation: ridge regression (Hoerl and Kennedy 1970) of the classes on
histograms of oriented gradients (Dalal and Triggs, CVPR 2005). Learned from one rendered person, it sees 0.8 of another's expressions and
of the lights or their neighbours (six classes and twenty); the report says how far it can be trusted on the data at hand. No network is in
it, so that no editor was trained with it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from legan.apply.evaluate.exam import KINDS, Exam, Library
from legan.core.conditions import LIGHTINGS, are_neighbours
from legan.core.files import sha256_of
from legan.core.manifest import MANIFEST, read_manifest
from legan.data.faces import FaceDataset

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
        provenance: name, `learned_from` in words, and `sha256` of the pictures that it learned from and of how.
    """

    models: Mapping[str, Ridge]
    provenance: Mapping[str, Any]

    def predict(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """Return the classes (B,) by attribute that pictures, uint8 (B, S, S, 3), show."""
        features = describe(pictures)
        return {name: model.predict(features) for name, model in self.models.items()}

    def sees(self, pictures: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Return (B,) 1 where all that was asked for is seen, 0 where not, NaN where it cannot be said.

        Args:
            pictures: uint8 (B, S, S, 3).
            target: (B, 2) expression and lighting to edit into.
            asked: (B, 2) whether they differ from the source's. A light that is next to the target's counts as seen.
        """
        found, seen = self.predict(pictures), np.ones(len(pictures))
        for k, name in enumerate(ATTRIBUTES):
            wanted = target[:, k]
            if name in found:
                right = is_right(name, found[name], wanted)
                right = np.where(np.isin(wanted, self.models[name].classes), right, np.nan)
            else:
                right = np.full(len(pictures), np.nan)
            seen = np.where(asked[:, k], seen * right, seen)
        return seen


def is_right(attribute: str, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return (B,) whether a class that was found is the true one, or for lighting one next to it."""
    return _NEAR[found, true] if attribute == "lighting" else found == true


def asked_of(exam: Exam) -> np.ndarray:
    """Return (n, 2), whether each question asks for another expression and for another lighting."""
    kind = exam.attributes["edit"]
    return np.stack([kind != KINDS[0], kind != KINDS[1]], 1)


def describe(pictures: np.ndarray) -> np.ndarray:
    """Return features (B, d) float32 of pictures, uint8 (B, S, S, 3)."""
    if pictures.shape[1] != SIDE:
        pictures = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in pictures])
    return gradient_histograms(pictures).reshape(len(pictures), -1).astype(np.float32)


def gradient_histograms(pictures: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients (B, 16, 16, 9) of pictures, uint8 (B, 128, 128, 3), each normalized by its surroundings."""
    # Gradients of the square root of luminance, which evens dark and bright places.
    grey = np.sqrt(pictures.astype(np.float32).mean(3) / 255)  # (B, 128, 128)
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


def learn(exams: Sequence[Exam]) -> EditClassifier | None:
    """Learn from the people of the exams' split `train`; of data without it, from the reference pictures, which are no sources.

    None where nothing is asked of editors (folders of results).
    """
    exams = [exam for exam in exams if exam.target is not None and exam.folder is not None]
    if not exams:
        return None
    parts, words, digest = [], [], hashlib.sha256(repr((MAX_IMAGES, MIN_OF_CLASS, STRENGTH, CELL, N_DIRECTIONS)).encode())
    for exam in exams:
        data, rows, word = _lessons(exam)
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


def _lessons(exam: Exam) -> tuple[FaceDataset, np.ndarray, str]:
    """Pictures to learn from: the data, which of it, and its name."""
    assert exam.folder is not None and isinstance(exam.library, FaceDataset)
    if exam.split != "train" and (read_manifest(exam.folder)["split"] == "train").any():
        data = FaceDataset([exam.folder], "train", size=exam.library.size, memory_gb=0)
        return data, np.arange(len(data)), f"{exam.folder.resolve().name}/train"
    return exam.library, exam.reference, f"{exam.name}, its reference pictures"


def _described(library: Library, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
    return np.concatenate([describe(library.images(part)) for part in _batches(rows, batch_size)])


def _batches(rows: np.ndarray, size: int) -> Iterable[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def accuracies(classifier: EditClassifier, exam: Exam) -> dict[str, float]:
    """Return by attribute how often the classifier is right about the true edits of an exam: no editor can be seen to do better."""
    assert exam.target is not None
    known = np.flatnonzero(exam.truth >= 0)
    if not len(known):
        return {}
    pictures = [classifier.predict(exam.library.images(exam.truth[part])) for part in _batches(known, 64)]
    found = {name: np.concatenate([part[name] for part in pictures]) for name in classifier.models}
    return {
        name: float(is_right(name, values, exam.target[known, ATTRIBUTES.index(name)]).mean()) for name, values in found.items()
    }
