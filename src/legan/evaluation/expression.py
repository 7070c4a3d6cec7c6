"""`legan recognize`: which expression a face shows, by a classifier of `legan train expression`, and how well it does on a data set."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from legan.core.device import check_device
from legan.core.errors import DataError, WeightsError
from legan.core.files import sha256_of
from legan.core.images import to_network
from legan.core.listing import find_images, utf8_name
from legan.core.table import Journal
from legan.core.weights import load_metadata
from legan.core.workers import shown_progress
from legan.data.faces import LabelledFaces
from legan.faces.align import Faces, grouped, prepare_many, unreadable
from legan.metrics.verification import one_vs_rest_auc
from legan.models.lightcnn import INPUT_SIZE, load_lightcnn
from legan.quality.scorer import check_faces

_BATCH = 64


@dataclass(frozen=True)
class Recognized:
    """Result for one image: probabilities by expression; empty with a reason where there is no face."""

    image: str
    probabilities: dict[str, float]
    reason: str = ""
    readable: bool = True

    @property
    def expression(self) -> str:
        """The most probable one, or ""."""
        return max(self.probabilities, key=lambda name: self.probabilities[name], default="")

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        rounded = {name: round(value, 4) for name, value in self.probabilities.items()}
        return {"image": self.image, "expression": self.expression, "probabilities": rounded, "reason": self.reason}

    def row(self, labels: Sequence[str]) -> dict[str, str]:
        """As text for a table."""
        known = {name: f"{self.probabilities[name]:.6f}" if name in self.probabilities else "" for name in labels}
        return {"image": self.image, "expression": self.expression, **known, "reason": self.reason}

    def __str__(self) -> str:
        if not self.probabilities:
            return f"{self.image}: no expression, {self.reason}"
        return f"{self.expression:<10} {self.probabilities[self.expression]:.2f}  {self.image}"


@dataclass(frozen=True)
class ExpressionFigures:
    """How well a classifier does: `auc` of each expression against the rest (None where no image shows it), their mean, accuracy.

    `n_images` by expression; images of labels that the classifier does not know are left out and counted.
    """

    auc: dict[str, float | None]
    mean_auc: float | None
    accuracy: float
    n_images: dict[str, int]
    n_left_out: int
    classifier: str

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{sum(self.n_images.values())} images, accuracy {self.accuracy:.4f}"]
        lines += [
            f"{name}: AUC {'-' if area is None else format(area, '.4f')} ({self.n_images[name]} images)"
            for name, area in self.auc.items()
        ]
        if self.mean_auc is not None:
            lines.append(f"mean AUC {self.mean_auc:.4f}")
        if self.n_left_out:
            lines.append(f"left out: {self.n_left_out} images of other labels")
        return "\n".join(lines)


class ExpressionClassifier:
    """A trained classifier: `classifier.probabilities(crops)`.

    Args:
        weights: `expression.safetensors` of `legan train expression`.
        device: where it runs.

    Raises:
        WeightsError: a file that cannot be used.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        check_device(device)
        metadata = load_metadata(Path(weights))
        if not metadata.get("labels"):
            raise WeightsError(f"{weights} holds no expression classifier: name weights written by `legan train expression`")
        net, _ = load_lightcnn(Path(weights))
        self.labels, self.checksum = list(metadata["labels"]), sha256_of(Path(weights))
        if net.config.n_classes != len(self.labels):
            raise WeightsError(f"{weights} names {len(self.labels)} labels for {net.config.n_classes} classes: train it again")
        self._net, self._device = net.requires_grad_(False).to(device), device

    @torch.inference_mode()
    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        """Crops uint8 (B, 128, 128, 3) -> probabilities (B, n labels) float32."""
        if not len(crops):
            return np.zeros((0, len(self.labels)), np.float32)
        parts = [self._net.logits(to_network(crops[i : i + _BATCH]).to(self._device)) for i in range(0, len(crops), _BATCH)]
        return torch.cat(parts).softmax(1).cpu().numpy()


def recognize_images(
    places: Sequence[Path], weights: Path, device: str = "cpu", faces: Faces = "auto", out: Path | None = None
) -> list[Recognized]:
    """Recognize the expression of the largest face of each image, in order.

    Args:
        places: image files, and folders that are walked.
        weights, device: as for `ExpressionClassifier`.
        faces: as for `legan.faces.align.prepare`.
        out: a table that is written as the work goes on; images that it holds already are not looked at again, unless
            they could not be read, or their files have changed since.

    Raises:
        LeganError: no images, weights that cannot be used, a table of other weights, or one that another process writes.
    """
    check_faces(faces)
    paths = find_images(places)
    classifier = ExpressionClassifier(weights, device)
    stamp = {"weights": classifier.checksum[:12], "faces": faces}
    names = {path: utf8_name(path) for path in paths}
    with Journal(out, ("image", "expression", *classifier.labels, "reason"), stamp) as journal:
        todo = journal.missing({name: path for path, name in names.items()}, unreadable)
        with shown_progress("recognizing", len(todo)) as advance:
            for group in grouped(prepare_many(todo, INPUT_SIZE, faces), _BATCH):
                crops = [one.crop for one in group if one.crop is not None]
                rows = iter(classifier.probabilities(np.stack(crops)).tolist() if crops else [])
                for one in group:
                    own = dict(zip(classifier.labels, next(rows), strict=True)) if one.crop is not None else {}
                    found = Recognized(utf8_name(str(one.path)), own, utf8_name(one.reason), one.readable)
                    journal.add([found.row(classifier.labels)])
                    advance()
    kept = (journal.rows[name] for name in names.values())
    return [
        Recognized(
            row["image"],
            {name: float(row[name]) for name in classifier.labels if row[name]},
            row["reason"],
            not unreadable(row),
        )
        for row in kept
    ]


def evaluate_expressions(folder: Path, weights: Path, split: str = "test", device: str = "cpu") -> ExpressionFigures:
    """Measure a classifier on the labelled crops of a data set folder's split.

    Raises:
        DataError: a folder that cannot be used, or no image of a label of the classifier.
        WeightsError: a file that cannot be used.
    """
    classifier = ExpressionClassifier(weights, device)
    faces = LabelledFaces([folder], split, INPUT_SIZE, memory_gb=0.0)
    known = np.flatnonzero(np.isin(faces.label, classifier.labels))
    if not len(known):
        raise DataError(f"no image of the split '{split}' in {folder} has one of the labels {', '.join(classifier.labels)}")
    parts = []
    with shown_progress("recognizing", len(known)) as advance:
        for start in range(0, len(known), _BATCH):
            part = known[start : start + _BATCH]
            parts.append(classifier.probabilities(faces.images(part)))
            for _ in part:
                advance()
    return expression_figures(
        np.concatenate(parts), faces.label[known], classifier.labels, len(faces) - len(known), classifier.checksum
    )


def expression_figures(
    probabilities: np.ndarray, names: np.ndarray, labels: Sequence[str], n_left_out: int = 0, classifier: str = ""
) -> ExpressionFigures:
    """Figures of probabilities (n, c) of the classes `labels`, where `names` (n,) are true."""
    label = np.array([list(labels).index(name) for name in names])
    areas = [None if math.isnan(area) else area for area in one_vs_rest_auc(probabilities, label)]
    some = [area for area in areas if area is not None]
    return ExpressionFigures(
        auc=dict(zip(labels, areas, strict=True)),
        mean_auc=float(np.mean(some)) if some else None,
        accuracy=float((probabilities.argmax(1) == label).mean()),
        n_images={name: int((names == name).sum()) for name in labels},
        n_left_out=n_left_out,
        classifier=classifier,
    )
