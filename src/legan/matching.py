"""Do two images show one person? The match score of their faces, and the answer that the embedding's thresholds give."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.core.errors import ImageError
from legan.core.images import image_list
from legan.faces.align import Faces, ImageInput, prepared_crop
from legan.faces.embeddings import PACKAGED, Answer, Embedding, load_embedding
from legan.metrics.verification import match_scores


@dataclass(frozen=True)
class Match:
    """The match score of two images: the cosine of their embeddings, in [-1, 1], higher for one person.

    Scores of different embeddings are not comparable. `answer` is "same", "unsure" or "different" by the thresholds measured for the
    embedding, None where there are none; `two_people` and `one_person` are the shares of pairs of two people, and of one person, that
    got this answer there: for "same" the false-match rate is `two_people`, for "different" the false non-match rate `one_person`.

    Example:
        >>> one = legan.match("photo.jpg", "other.jpg")
        >>> -1 <= one.score <= 1, one.embedding, one.answer in ("same", "unsure", "different")
        (True, 'packaged', True)
    """

    a: str
    b: str
    score: float
    embedding: str
    provenance: dict[str, Any]
    answer: Answer | None = None
    two_people: float | None = None
    one_person: float | None = None

    def __str__(self) -> str:
        words = f"match score {self.score:.3f} (cosine, {self.embedding})"
        if self.answer is None:
            return f"{words}; no thresholds are known for this embedding"
        return (
            f"{self.answer}: {words}; so answered: {self.two_people:.2%} of pairs of two people, {self.one_person:.2%} of one"
        )

    def as_json(self) -> dict[str, Any]:
        """The match as plain values."""
        return asdict(self)


def match(
    a: ImageInput | Sequence[ImageInput],
    b: ImageInput | Sequence[ImageInput],
    identity: str = PACKAGED,
    faces: Faces = "auto",
    device: str = "cpu",
) -> "Match | list[Match]":
    """Compare the largest faces of two images, or of several pairs, with an embedding that is loaded once and kept.

    Args:
        a, b: each a path, a PIL image or an array (H, W, 3), uint8 or floats in [0, 1]; a list of these, or an array (B, H, W, 3),
            gives a list of matches. A single image is compared with each of the other's list.
        identity, faces, device: as for `match_pictures`.

    Raises:
        ImageError, FaceError, WeightsError: as `match_pictures`; lists of different lengths.

    Example:
        >>> same, other = legan.match("photo.jpg", ["photo.jpg", "other.jpg"])
        >>> same.score > other.score
        True
    """
    lists = [image_list(one) for one in (a, b)]
    lengths = [len(images) for images in lists if images is not None]
    if len(set(lengths)) > 1:
        raise ImageError(f"{lengths[0]} images cannot be compared with {lengths[1]}: give as many of both, or a single one")
    embedding = kept_embedding(identity, device)
    called = [
        {name: one} if own is None else {f"{name}[{i}]": each for i, each in enumerate(own)}
        for name, one, own in zip("ab", (a, b), lists, strict=True)
    ]
    pairs = [_embedded(images, embedding, faces) for images in called]
    n = lengths[0] if lengths else 1
    if not n:
        return []
    (names_a, vectors_a), (names_b, vectors_b) = ((names * (n // len(names)), vectors) for names, vectors in pairs)
    scores = match_scores(*(np.broadcast_to(vectors, (n, vectors.shape[1])) for vectors in (vectors_a, vectors_b)))
    matches = [
        _judged(name_a, name_b, float(score), embedding) for name_a, name_b, score in zip(names_a, names_b, scores, strict=True)
    ]
    return matches if lengths else matches[0]


def match_images(a: ImageInput, b: ImageInput, identity: str = PACKAGED, faces: Faces = "auto", device: str = "cpu") -> Match:
    """Compare the largest faces of two images.

    Args:
        a, b: files, PIL images or arrays; images of exactly the crop's size count as aligned crops unless `faces` is "detect".
        identity: the embedding, as in `load_embedding`.
        faces: as in `legan.faces.align.prepare`.
        device: where a LightCNN runs.

    Raises:
        ImageError, FaceError, WeightsError: an image that cannot be read, or without a face; an unknown embedding.
    """
    return match(a, b, identity, faces, device)  # type: ignore[return-value]


def _judged(a: str, b: str, score: float, embedding: Embedding) -> Match:
    thresholds = embedding.thresholds
    if thresholds is None:
        return Match(a, b, score, embedding.name, embedding.provenance)
    answer = thresholds.answer(score)
    return Match(a, b, score, embedding.name, embedding.provenance, answer, *thresholds.rates(answer))


@lru_cache(maxsize=1)
def kept_embedding(identity: str = PACKAGED, device: str = "cpu") -> Embedding:
    """`load_embedding`, kept for further calls."""
    return load_embedding(identity, device)


def _embedded(images: Mapping[str, Any], embedding: Embedding, faces: Faces) -> tuple[list[str], np.ndarray]:
    """Names and unit vectors (n, d) of the faces of images, which are called so where they are no files."""
    names = [str(one) if isinstance(one, (str, Path)) else name for name, one in images.items()]
    crops = [Image.fromarray(prepared_crop(one, faces=faces, name=name)) for name, one in images.items()]
    return names, embedding.embed(crops) if crops else np.zeros((0, 1), np.float32)
