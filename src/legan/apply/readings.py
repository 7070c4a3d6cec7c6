"""What is measured on an edit: the match with the photo, naturalness before and after, and what the critic sees in it.

Every number names what it was measured with. Nothing here is measured unless somebody asks: it takes longer than the edit itself.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from legan.apply.embeddings import PACKAGED, Embedding, load_embedding
from legan.apply.networks import Networks
from legan.apply.quality import score_crops
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import ConditionError, WeightsError
from legan.core.images import to_network
from legan.metrics.match import match_scores

PREFERRED = ("dlib", PACKAGED)  # the embedding that the first of these names and is installed


@dataclass(frozen=True)
class Seen:
    """The class that an editor's critic holds most probable."""

    name: str
    probability: float


@dataclass(frozen=True)
class FaceReadings:
    """What was measured on one face.

    Args:
        match: cosine of the embeddings of the face before and after, in [-1, 1], higher for one person.
        quality_before, quality_after: Q's scores, 0 (unnatural) to 10 (hyper-realistic).
        expression, lighting: what the critic sees in the edited face; None where the weights hold no critic.
    """

    match: float
    quality_before: float
    quality_after: float
    expression: Seen | None
    lighting: Seen | None


@dataclass(frozen=True)
class Readings:
    """What was measured on an edit: `faces` in its order, `identity` names the embedding of `match`."""

    identity: str
    faces: tuple[FaceReadings, ...]

    @property
    def match(self) -> float:
        """The match of the face that matches least."""
        return min(face.match for face in self.faces)

    def __str__(self) -> str:
        return "; ".join(self._words(face) for face in self.faces)

    def _words(self, face: FaceReadings) -> str:
        attributes = (("expression", face.expression), ("lighting", face.lighting))
        seen = "".join(f" {name}={one.name}:{one.probability:.2f}" for name, one in attributes if one)
        quality = f"quality={face.quality_before:.2f}>{face.quality_after:.2f}"
        return f"match={face.match:.3f} identity={self.identity} {quality}{seen or ' critic=none'}"

    def as_json(self) -> dict[str, Any]:
        """The readings as plain values."""
        faces = [_rounded(asdict(face)) for face in self.faces]
        return {"identity": self.identity, "faces": faces}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for key, value in values.items()
    }


def read_crops(before: Sequence[Image.Image], after: Sequence[Image.Image], networks: Networks) -> Readings:
    """Measure edits of face crops, aligned alike before and after; `networks` are the editor's, whose critic is asked."""
    embedding = preferred_embedding()
    matches = match_scores(embedding.embed(before), embedding.embed(after))
    scores = [score_crops(crops).tolist() for crops in (before, after)]
    expressions, lightings = _seen(after, networks)
    rows = zip(matches, *scores, expressions, lightings, strict=True)
    return Readings(embedding.name, tuple(FaceReadings(float(match), *rest) for match, *rest in rows))


def check_min_match(min_match: float | None) -> None:
    """Check a least match that is asked for.

    Raises:
        ConditionError: it is no cosine.
    """
    if min_match is not None and not -1 <= min_match <= 1:
        raise ConditionError(f"min-match {min_match:g} is out of range: give a cosine from -1 to 1")


@lru_cache(maxsize=1)
def preferred_embedding() -> Embedding:
    """The first embedding of `PREFERRED` whose file is installed, loaded once."""
    for name in PREFERRED[:-1]:
        try:
            return load_embedding(name)
        except WeightsError:  # its package is not installed; the readings name the one that stands in
            continue
    return load_embedding(PREFERRED[-1])


def _seen(crops: Sequence[Image.Image], networks: Networks) -> tuple[list[Seen | None], list[Seen | None]]:
    if networks.critic is None:
        return [None] * len(crops), [None] * len(crops)
    codes = networks.own_codes(to_network(crops))
    lights = [lighting.name for lighting in LIGHTINGS]
    return _most_probable(codes.expression.numpy(), EXPRESSIONS), _most_probable(codes.lighting.numpy(), lights)


def _most_probable(codes: np.ndarray, names: Sequence[str]) -> list[Seen | None]:
    return [Seen(names[int(code.argmax())], float(code.max())) for code in codes]
