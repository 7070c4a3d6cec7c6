"""Whether an edit happened: the expression and the lighting that a classifier predicts for an image, against the target.

Metrics of looks reward an editor that does nothing: an unchanged input looks natural, and like its person. The classifier learns from
images that no editor touched, anew in each evaluation: ridge regression (Hoerl and Kennedy 1970) of the classes on histograms of oriented
gradients (Dalal and Triggs, CVPR 2005). Learned from one rendered person, it recognises 0.8 of another's expressions and of the lights or
their neighbours (six classes and twenty); the report states its accuracy on the data at hand. There is no network in it, so no editor was
trained against it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from legan.core.conditions import LIGHTINGS, STANDARD, Classes, are_neighbours
from legan.core.files import sha256_of
from legan.data.faces import FaceDataset
from legan.data.manifest import MANIFEST, read_manifest
from legan.evaluation.tasks import KINDS, EvaluationSet, Library

ATTRIBUTES = ("expression", "lighting")
NAME = "HOG and ridge regression"
SIDE, CELL = 128, 8  # pixels
N_DIRECTIONS = 9
MAX_IMAGES = 3000  # of the training; a few people under all conditions are nearly as good
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
    """Predicts expression and lighting; an attribute of which the data has fewer than two classes has no model.

    Args:
        models: by attribute.
        provenance: name, `learned_from` in words, and `sha256` of the images that it learned from and of how.
        classes: what the classes are.
    """

    models: Mapping[str, Ridge]
    provenance: Mapping[str, Any]
    classes: Classes = STANDARD

    def predict(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the classes (B,) by attribute of images, uint8 (B, S, S, 3)."""
        features = describe(images)
        return {name: model.predict(features) for name, model in self.models.items()}

    def sees(self, images: np.ndarray, target: np.ndarray, changes: np.ndarray) -> np.ndarray:
        """Return (B,) 1 where all target attributes are recognised, 0 where not, NaN where the classes were not learned.

        Args:
            images: uint8 (B, S, S, 3).
            target: (B, 2) expression and lighting to edit into.
            changes: (B, 2) whether they differ from the source's. A light next to the target's counts as recognised, of the twenty.
        """
        predicted, seen = self.predict(images), np.ones(len(images))
        for k, name in enumerate(ATTRIBUTES):
            true = target[:, k]
            if name in predicted:
                correct = is_correct(name, predicted[name], true, self.classes)
                correct = np.where(np.isin(true, self.models[name].classes), correct, np.nan)
            else:
                correct = np.full(len(images), np.nan)
            seen = np.where(changes[:, k], seen * correct, seen)
        return seen


def is_correct(attribute: str, predicted: np.ndarray, true: np.ndarray, classes: Classes = STANDARD) -> np.ndarray:
    """Return (B,) whether a predicted class is the true one, or for one of the twenty lightings one next to it."""
    return _NEAR[predicted, true] if attribute == "lighting" and classes.is_standard else predicted == true


def changes_of(evaluation_set: EvaluationSet) -> np.ndarray:
    """Return (n, 2), whether each question changes the expression and the lighting."""
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
    """Fit a classifier to features (n, d) with labels (n,), all classes weighted alike; None for fewer than two classes."""
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


def train_edit_classifier(evaluation_sets: Sequence[EvaluationSet]) -> EditClassifier | None:
    """Train on the people of the data sets' split `train`; without that split on the reference images, which are not sources.

    None where no editor is evaluated (folders of results).
    """
    evaluation_sets = [one for one in evaluation_sets if one.target is not None and one.folder is not None]
    if not evaluation_sets:
        return None
    parts, words, digest = [], [], hashlib.sha256(repr((MAX_IMAGES, MIN_OF_CLASS, STRENGTH, CELL, N_DIRECTIONS)).encode())
    for evaluation_set in evaluation_sets:
        data, rows, word = _training_images(evaluation_set)
        rows = np.sort(np.random.default_rng([_SEED, len(rows)]).permutation(rows)[: MAX_IMAGES // len(evaluation_sets)])
        parts.append((_described(data, rows), data.expression[rows], data.lighting[rows]))
        words.append(f"{word} ({len(rows)} images of {len(np.unique(data.person[rows]))} people)")
        digest.update(sha256_of(data.folders[0] / MANIFEST).encode() + rows.astype("<i8").tobytes())
    features, expression, lighting = (np.concatenate(part) for part in zip(*parts, strict=True))
    models = {
        "expression": fit_ridge(features, expression),
        "lighting": fit_ridge(features[lighting >= 0], lighting[lighting >= 0]),
    }
    provenance = {"name": NAME, "sha256": digest.hexdigest(), "learned_from": words}
    classes = evaluation_sets[0].classes
    return EditClassifier({name: model for name, model in models.items() if model}, provenance, classes)


def _training_images(evaluation_set: EvaluationSet) -> tuple[FaceDataset, np.ndarray, str]:
    """Images to train on: the data, the numbers of its images, and its name."""
    assert evaluation_set.folder is not None and isinstance(evaluation_set.library, FaceDataset)
    if evaluation_set.split != "train" and (read_manifest(evaluation_set.folder)["split"] == "train").any():
        size, classes = evaluation_set.library.size, evaluation_set.classes
        data = FaceDataset([evaluation_set.folder], "train", size=size, memory_gb=0, classes=classes)
        return data, np.arange(len(data)), f"{evaluation_set.folder.resolve().name}/train"
    return evaluation_set.library, evaluation_set.reference, f"{evaluation_set.name}, its reference images"


def _described(library: Library, rows: np.ndarray, batch_size: int = 64) -> np.ndarray:
    return np.concatenate([describe(library.images(part)) for part in _batches(rows, batch_size)])


def _batches(rows: np.ndarray, size: int) -> Iterable[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def accuracies(classifier: EditClassifier, evaluation_set: EvaluationSet) -> dict[str, float]:
    """Return the classifier's accuracy on the true edits of an evaluation set, by attribute: an upper bound for every editor."""
    assert evaluation_set.target is not None
    known = np.flatnonzero(evaluation_set.truth >= 0)
    if not len(known):
        return {}
    images = [classifier.predict(evaluation_set.library.images(evaluation_set.truth[part])) for part in _batches(known, 64)]
    predicted = {name: np.concatenate([part[name] for part in images]) for name in classifier.models}
    return {
        name: float(is_correct(name, values, evaluation_set.target[known, ATTRIBUTES.index(name)], classifier.classes).mean())
        for name, values in predicted.items()
    }
