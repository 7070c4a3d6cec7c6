"""Do two pictures show one person? The match score of their faces, by an embedding that the answer names."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from legan.apply.crops import Faces, prepare
from legan.apply.embeddings import PACKAGED, load_embedding
from legan.core.errors import FaceError
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


def match_pictures(a: str | Path, b: str | Path, identity: str = PACKAGED, faces: Faces = "auto", device: str = "cpu") -> Match:
    """Compare the largest faces of two pictures.

    Args:
        a, b: files; pictures of exactly the crop's size count as aligned crops unless `faces` is "detect".
        identity: the embedding, as in `load_embedding`.
        faces: as in `legan.apply.crops.prepare`.
        device: where a LightCNN runs.

    Raises:
        ImageError, FaceError, WeightsError: a picture that cannot be read, or without a face; an unknown embedding.
    """
    embedding, crops = load_embedding(identity, device), []
    for picture in (a, b):
        prepared = prepare(picture, faces=faces)
        if prepared.crop is None:
            raise FaceError(f"{picture}: {prepared.reason}")
        crops.append(prepared.crop)
    vectors = embedding.embed([Image.fromarray(crop) for crop in crops])
    score = float(match_scores(vectors[:1], vectors[1:])[0])
    return Match(str(a), str(b), score, embedding.name, embedding.provenance)
