"""Do two pictures show one person? The match score of their faces, by an embedding that the answer names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.apply.crops import Faces, Picture, prepared_crop
from legan.apply.embeddings import PACKAGED, Embedding, load_embedding
from legan.core.errors import ImageError
from legan.core.images import image_list
from legan.metrics.match import match_scores


@dataclass(frozen=True)
class Match:
    """The match score of two pictures: the cosine of their embeddings, in [-1, 1], higher for one person.

    Scores of different embeddings are not comparable; no threshold is known here.
    """

    a: str
    b: str
    score: float
    embedding: str
    provenance: dict[str, Any]

    def __str__(self) -> str:
        return f"match score {self.score:.3f} (cosine, {self.embedding})"

    def as_json(self) -> dict[str, Any]:
        """The match as plain values."""
        return asdict(self)


def match(
    a: Picture | Sequence[Picture],
    b: Picture | Sequence[Picture],
    identity: str = PACKAGED,
    faces: Faces = "auto",
    device: str = "cpu",
) -> "Match | list[Match]":
    """Compare the largest faces of two pictures, or of several pairs, with an embedding that is loaded once and kept.

    Args:
        a, b: each a path, a PIL image or an array (H, W, 3), uint8 or floats in [0, 1]; a list of these, or an array (B, H, W, 3),
            gives a list of matches. A single picture is compared with each of the other's list.
        identity, faces, device: as for `match_pictures`.

    Raises:
        ImageError, FaceError, WeightsError: as `match_pictures`; lists of different lengths.
    """
    lists = [image_list(one) for one in (a, b)]
    lengths = [len(pictures) for pictures in lists if pictures is not None]
    if len(set(lengths)) > 1:
        raise ImageError(f"{lengths[0]} pictures cannot be compared with {lengths[1]}: give as many of both, or a single one")
    embedding = kept_embedding(identity, device)
    called = [
        {name: one} if own is None else {f"{name}[{i}]": each for i, each in enumerate(own)}
        for name, one, own in zip("ab", (a, b), lists, strict=True)
    ]
    pairs = [_embedded(pictures, embedding, faces) for pictures in called]
    n = lengths[0] if lengths else 1
    if not n:
        return []
    (names_a, vectors_a), (names_b, vectors_b) = ((names * (n // len(names)), vectors) for names, vectors in pairs)
    scores = match_scores(*(np.broadcast_to(vectors, (n, vectors.shape[1])) for vectors in (vectors_a, vectors_b)))
    matches = [
        Match(name_a, name_b, float(score), embedding.name, embedding.provenance)
        for name_a, name_b, score in zip(names_a, names_b, scores, strict=True)
    ]
    return matches if lengths else matches[0]


def match_pictures(a: Picture, b: Picture, identity: str = PACKAGED, faces: Faces = "auto", device: str = "cpu") -> Match:
    """Compare the largest faces of two pictures.

    Args:
        a, b: files, PIL images or arrays; pictures of exactly the crop's size count as aligned crops unless `faces` is "detect".
        identity: the embedding, as in `load_embedding`.
        faces: as in `legan.apply.crops.prepare`.
        device: where a LightCNN runs.

    Raises:
        ImageError, FaceError, WeightsError: a picture that cannot be read, or without a face; an unknown embedding.
    """
    return match(a, b, identity, faces, device)  # type: ignore[return-value]


@lru_cache(maxsize=1)
def kept_embedding(identity: str = PACKAGED, device: str = "cpu") -> Embedding:
    """`load_embedding`, kept for further calls."""
    return load_embedding(identity, device)


def _embedded(pictures: Mapping[str, Any], embedding: Embedding, faces: Faces) -> tuple[list[str], np.ndarray]:
    """Names and unit vectors (n, d) of the faces of pictures, which are called so where they are no files."""
    names = [str(one) if isinstance(one, (str, Path)) else name for name, one in pictures.items()]
    crops = [Image.fromarray(prepared_crop(one, faces=faces, name=name)) for name, one in pictures.items()]
    return names, embedding.embed(crops) if crops else np.zeros((0, 1), np.float32)
