"""Crops and their edits, all in memory: what the measures of this folder are taken from."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from classifiers import Judge, Verdict
from PIL import Image
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.images import from_network, to_network
from legan.data.faces import FaceDataset
from legan.data.manifest import read_bytes, read_manifest
from legan.editing.editor import partial_edit
from legan.faces.embeddings import Embedding
from legan.models.editors import Codes, Networks
from legan.quality.scorer import QualityScorer


@dataclass(frozen=True)
class Crops:
    """Crops: `images` uint8 (n, 128, 128, 3), classes `expression` and `lighting` (n,), -1 for even light, `person` (n,) numbers.

    `mattes` uint8 (n, 128, 128) say which pixels are the person's, where they were read.
    """

    images: np.ndarray
    expression: np.ndarray
    lighting: np.ndarray
    person: np.ndarray
    mattes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def of(self, rows: np.ndarray | Sequence[int]) -> "Crops":
        """Some of them."""
        mattes = None if self.mattes is None else self.mattes[rows]
        return Crops(self.images[rows], self.expression[rows], self.lighting[rows], self.person[rows], mattes)


def load_crops(
    folders: Sequence[Path], split: str, domains: Sequence[str], limit: int | None = None, with_mattes: bool = False
) -> Crops:
    """Read the crops of some domains in one split of data set folders, `limit` of them at random; people keep their number."""
    kept = [folder for folder in folders if (read_manifest(folder)["split"] == split).any()]
    faces = FaceDataset(kept, split, (), memory_gb=0)
    rows = np.flatnonzero(np.isin(faces.domain, list(domains)))
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:limit])
    mattes = np.stack([_matte(faces, row) for row in rows]) if with_mattes else None
    return Crops(faces.images(rows), faces.expression[rows], faces.lighting[rows], faces.person[rows], mattes)


def _matte(faces: FaceDataset, row: int) -> np.ndarray:
    place = faces.mattes[row]
    assert place is not None, "a set made before mattes were kept: make it again"
    with Image.open(io.BytesIO(read_bytes(faces.folders[faces.folder[row]], place))) as image:
        return np.asarray(image.convert("L"))


def one_hot(classes: np.ndarray | Sequence[int], n: int) -> Tensor:
    """Codes (B, n) of classes (B,)."""
    return torch.eye(n)[torch.as_tensor(np.asarray(classes))]


def edit(networks: Networks, images: np.ndarray, expression: Tensor | None, lighting: Tensor | None) -> np.ndarray:
    """Edit crops uint8 (n, 128, 128, 3) to codes, (n, 6) and (n, 20), as `legan edit` does; None keeps the face's own.

    Returns:
        the edits, rounded to 8 bits as a saved image is.
    """
    return edit_partly(networks, images, expression, lighting, (1.0,))[0]


def edit_partly(
    networks: Networks, images: np.ndarray, expression: Tensor | None, lighting: Tensor | None, strengths: Sequence[float]
) -> list[np.ndarray]:
    """The same for several strengths, an array each."""
    edited: list[list[np.ndarray]] = [[] for _ in strengths]
    for rows in torch.arange(len(images)).split(16):
        x = to_network(images[rows.numpy()])
        kept = networks.target_codes(x, None, None) if expression is None or lighting is None else None
        target = Codes(
            kept.expression if expression is None else expression[rows], kept.lighting if lighting is None else lighting[rows]
        )
        full = networks.translate(x, target)
        for pictures, strength in zip(edited, strengths, strict=True):
            part = partial_edit(networks, x, full, target, strength, keeps_expression=expression is None)
            pictures.append(from_network(part))
    return [np.concatenate(pictures) for pictures in edited]


def judged(judge: Judge, images: np.ndarray) -> Verdict:
    """What the judge says of crops uint8 (n, 128, 128, 3)."""
    parts = [judge(to_network(part)) for part in np.array_split(images, max(1, len(images) // 256))]
    return Verdict(*(np.concatenate(heads) for heads in zip(*parts, strict=True)))


def numbers(embedding: Embedding, images: np.ndarray) -> np.ndarray:
    """Embeddings (n, d) as their network gives them, not scaled to unit length: dlib's 0.6 is a distance of such numbers."""
    parts = np.array_split(images, max(1, len(images) // 64))
    return np.concatenate([embedding.network(to_network(part)) for part in parts]).astype(np.float64)


def scores(scorer: QualityScorer, images: np.ndarray) -> np.ndarray:
    """Q (n,) of crops."""
    parts = np.array_split(images, max(1, len(images) // 256))
    return np.concatenate([scorer.predict_crops(part).score.numpy() for part in parts])


@dataclass(frozen=True)
class Edits:
    """Edits of crops to given classes: `source` (n,) row of each one's input, targets `expression` and `lighting` (n,)."""

    images: np.ndarray
    source: np.ndarray
    expression: np.ndarray
    lighting: np.ndarray


def edit_to(networks: Networks, inputs: Crops, source: np.ndarray, expression: np.ndarray, lighting: np.ndarray) -> Edits:
    """Edit the inputs' rows `source` (n,) to classes (n,)."""
    codes = one_hot(expression, len(EXPRESSIONS)), one_hot(lighting, len(LIGHTINGS))
    return Edits(edit(networks, inputs.images[source], *codes), source, expression, lighting)


def targets_of(n_inputs: int, n_lights: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of inputs, expressions and lightings: each input gets all expressions, each of them `n_lights` lightings.

    Lightings are dealt out like cards, so that all come equally often.
    """
    n = n_inputs * len(EXPRESSIONS) * n_lights
    dealt = np.concatenate([random.permutation(len(LIGHTINGS)) for _ in range(-(-n // len(LIGHTINGS)))])[:n]
    source, expression = np.divmod(np.arange(n) // n_lights, len(EXPRESSIONS))
    return source, expression, dealt
