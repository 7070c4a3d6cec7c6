"""One shard of an augmented data set: the original crops, and what the editor makes of them, judged and tried again.

Everything random in an image is drawn from (seed, row, image, attempt), and a shard is always made in the same batches: a run that
was stopped, or has another number of processes, gives the same bytes on one machine.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from legan.apply.augment_plan import RELIT, Names, read_group
from legan.apply.embeddings import Embedding, load_embedding
from legan.apply.networks import Codes, Networks, load_networks
from legan.apply.quality import QualityScorer, load_quality
from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.errors import ConfigError, DataError, ImageError
from legan.core.images import decode_rgb, from_network, to_network
from legan.core.manifest import COLUMNS, ShardWriter, read_bytes
from legan.core.set_folder import SHARDS
from legan.faces.resample import warp
from legan.metrics.match import match_scores
from legan.train.task import autocast, mixed_dtype

OWN = "own"  # as a target: what the image has already
ROWS = "rows.json"  # in a shard: its part of the manifest
# Further columns of the manifest. An original names itself as its source, has no target, and its scores are NaN.
PROVENANCE = {
    "synthetic": "bool",
    "source_image": "string",  # its name in the data set that was augmented
    "target_expression": "string",  # as the editor calls it, or "own"
    "target_lighting": "string",  # class of the lighting, or "own"
    "quality": "double",  # Q's score
    "match": "double",  # match score with the source
    "attempt": "int32",  # 1, or more where the first was rejected
    "editor": "string",  # SHA-256 of its weights
}
N_ATTEMPTS = 4  # the first, and three with another target
_BATCH = 64  # images in memory at once, beside the shard's originals
_KEPT_AS_THEY_ARE = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}  # files by their first bytes
_STEM = 9  # digits of a row's number in the names


@dataclass(frozen=True)
class Recipe:
    """How images are made and which pass; everything that a worker needs.

    Args:
        folder: the data set to augment.
        plan: the plan's file.
        out: the folder to write shards to.
        seed: of the targets.
        names: what the editor calls the labels.
        min_quality: least score of Q, 0..10; None for any.
        min_match: least match score with the source, -1..1; None for any.
        relights_filled: new expressions come under a light of their own.
        weights, quality, identity, device: the networks, as for `load_networks`, `load_quality` and `load_embedding`.
    """

    folder: Path
    plan: Path
    out: Path
    seed: int
    names: Names
    min_quality: float | None
    min_match: float | None
    relights_filled: bool
    weights: Path | None
    quality: Path | None
    identity: str
    device: str

    def shard(self, number: int) -> Path:
        """Where a shard is written."""
        return self.out / SHARDS / f"{number:06d}.tar"


@dataclass(frozen=True)
class Wish:
    """One image to make: of which row of the shard, which number among the row's, and the label that it is to have."""

    row: int
    number: int
    label: str


@dataclass(frozen=True)
class Made:
    """One image that passed."""

    wish: Wish
    crop: np.ndarray  # uint8 (S, S, 3)
    target: tuple[str, str]
    quality: float
    match: float
    attempt: int


class Maker:
    """The networks of one worker, and the making of a shard with them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.networks: Networks = load_networks(recipe.weights, recipe.device)
        self.scorer: QualityScorer = load_quality(recipe.quality, recipe.device)
        self.embedding: Embedding = load_embedding(recipe.identity, recipe.device)
        self.dtype = mixed_dtype("auto", self.networks.device)
        if self.networks.size != self.scorer.size:
            raise ConfigError(
                f"the editor makes crops of {self.networks.size} pixels, and Q reads {self.scorer.size}: choose others"
            )

    def make(self, number: int) -> int:
        """Write one shard and return the number of its images, original and synthetic."""
        rows = read_group(self.recipe.plan, number)
        data, crops = self._read(rows)
        tally: Counter[str] = Counter()
        kept: list[dict[str, Any]] = []
        path = self.recipe.shard(number)
        with ShardWriter(path) as writer:
            for index, row in enumerate(rows):
                stem, suffix = f"{row['row']:0{_STEM}d}", data[index][1]
                kept.append(_placed(writer, path, f"{stem}{suffix}", data[index][0], _original(row)))
            wishes = [Wish(i, n, label) for i, row in enumerate(rows) for n, label in enumerate(row["wanted"])]
            for start in range(0, len(wishes), _BATCH):
                for made in self._accepted(rows, crops, wishes[start : start + _BATCH], tally):
                    stem = f"{rows[made.wish.row]['row']:0{_STEM}d}-{made.wish.number}"
                    facts = _synthetic(rows[made.wish.row], made, self.networks.checksum)
                    kept.append(_placed(writer, path, f"{stem}.png", _encode(made.crop), facts))
            writer.add(ROWS, json.dumps({"rows": kept, "tally": tally}).encode())
        return len(kept)

    def _read(self, rows: Sequence[dict[str, Any]]) -> tuple[list[tuple[bytes, str]], np.ndarray]:
        """Encoded crops with their endings, and the crops, uint8 (n, S, S, 3)."""
        found = [aligned_crop(self.recipe.folder, row, self.networks.size) for row in rows]
        return [(data, suffix) for data, suffix, _ in found], np.stack([crop for *_, crop in found])

    def _accepted(
        self, rows: Sequence[dict[str, Any]], crops: np.ndarray, wishes: Sequence[Wish], tally: Counter[str]
    ) -> list[Made]:
        """Make the wishes that can be fulfilled; what is rejected is made again with another target."""
        sources = sorted({wish.row for wish in wishes})
        place = {row: i for i, row in enumerate(sources)}
        x = to_network(crops[sources])
        with torch.inference_mode(), autocast(self.dtype, self.networks.device):
            anchors = self.embedding.embed([Image.fromarray(crop) for crop in crops[sources]])
        found, waiting = [], list(wishes)
        for attempt in range(N_ATTEMPTS):
            if not waiting:
                break
            targets = [self._target(rows[wish.row], wish, attempt) for wish in waiting]
            at = np.array([place[wish.row] for wish in waiting])
            edited = self._edited(x[at], [rows[wish.row] for wish in waiting], targets)
            quality = self.scorer.predict_crops(edited).score.double().numpy()
            with torch.inference_mode(), autocast(self.dtype, self.networks.device):
                match = match_scores(anchors[at], self.embedding.embed([Image.fromarray(crop) for crop in edited]))
            rejected = []
            for wish, target, crop, q, m in zip(waiting, targets, edited, quality, match, strict=True):
                reason = self._reason(q, m)
                tally[reason or "made"] += 1
                if reason:
                    rejected.append(wish)
                else:
                    found.append(Made(wish, crop, target, float(q), float(m), attempt + 1))
            waiting = rejected
        tally["given up"] += len(waiting)
        return sorted(found, key=lambda made: (made.wish.row, made.wish.number))

    def _reason(self, quality: float, match: float) -> str:
        if self.recipe.min_quality is not None and quality < self.recipe.min_quality:
            return "below min-quality"
        return "below min-match" if self.recipe.min_match is not None and match < self.recipe.min_match else ""

    def _target(self, row: dict[str, Any], wish: Wish, attempt: int) -> tuple[str, str]:
        """Expression and lighting to ask for. A label must stay true, so another target is another light."""
        expression = OWN if wish.label == RELIT else str(self.recipe.names.of(wish.label))
        is_first = row["wanted"].index(wish.label) == wish.number  # a second one under the same light would be the same picture
        if wish.label != RELIT and not self.recipe.relights_filled and attempt == 0 and is_first:
            return expression, OWN
        lights = [name for name in LIGHTING_NAMES if name != row["lighting"]]
        order = np.random.default_rng([self.recipe.seed, 1, row["row"]]).permutation(len(lights))
        return expression, lights[order[(wish.number + attempt * len(row["wanted"])) % len(lights)]]

    def _edited(self, x: torch.Tensor, rows: Sequence[dict[str, Any]], targets: Sequence[tuple[str, str]]) -> np.ndarray:
        """Crops (n, S, S, 3) uint8 under their targets.

        `own` is kept by a code of zeros where the editor has such, else by what the manifest says, or else by what the critic sees.
        """
        keeps = self.networks.keeps
        expressions = [
            self.recipe.names.of(row["expression"] or "") if e == OWN and not keeps else e
            for row, (e, _) in zip(rows, targets, strict=True)
        ]
        lightings = [
            row["lighting"] if light == OWN and not keeps else light for row, (_, light) in zip(rows, targets, strict=True)
        ]
        known = [e in EXPRESSIONS and light in LIGHTING_NAMES for e, light in zip(expressions, lightings, strict=True)]
        zeros = Codes(torch.zeros(len(x), len(EXPRESSIONS)), torch.zeros(len(x), len(LIGHTING_NAMES)))
        own = zeros if keeps or all(known) else self.networks.own_codes(x)
        codes = Codes(_codes(expressions, EXPRESSIONS, own.expression), _codes(lightings, LIGHTING_NAMES, own.lighting))
        with autocast(self.dtype, self.networks.device):
            image = self.networks.translate(x, codes).image
        return from_network(image.clamp(-1, 1))


def _codes(names: Sequence[str | None], known: Sequence[str], own: torch.Tensor) -> torch.Tensor:
    codes = own.clone()
    for i, name in enumerate(names):
        if name in known:
            codes[i] = 0
            codes[i, list(known).index(str(name))] = 1
    return codes


def aligned_crop(folder: Path, row: dict[str, Any], size: int) -> tuple[bytes, str, np.ndarray]:
    """The crop of a manifest row: encoded, its file's ending, and its pixels, uint8 (size, size, 3).

    A picture of crop size is a crop; any other is cut as its alignment in the manifest says.

    Raises:
        DataError: a picture that cannot be decoded, or of another size and without an alignment.
    """
    data, name = read_bytes(folder, row), row["name"]
    try:
        pixels = decode_rgb(data, f"image {name} of {folder}")
    except ImageError as error:
        raise DataError(str(error)) from error
    suffix = next((suffix for start, suffix in _KEPT_AS_THEY_ARE.items() if data.startswith(start)), "")
    if pixels.shape == (size, size, 3):
        return (data, suffix, pixels) if suffix else (_encode(pixels), ".png", pixels)
    if row["alignment"] is None:
        height, width = pixels.shape[:2]
        raise DataError(
            f"image {name} of {folder} is {width}x{height} pixels and the manifest has no alignment for it: "
            "bring the pictures to crops with `legan import` first"
        )
    crop = warp(pixels, np.array(row["alignment"], np.float64).reshape(2, 3), size)
    return _encode(crop), ".png", crop


def _original(row: dict[str, Any]) -> dict[str, Any]:
    nothing = {"target_expression": "", "target_lighting": "", "quality": None, "match": None, "attempt": None, "editor": ""}
    return {**{name: row[name] for name in COLUMNS}, "synthetic": False, "source_image": row["name"], **nothing}


def _synthetic(row: dict[str, Any], made: Made, editor: str) -> dict[str, Any]:
    expression, lighting = made.target
    return {
        **{name: row[name] for name in COLUMNS},
        "expression": row["expression"] if made.wish.label == RELIT else made.wish.label,
        "lighting": row["lighting"] if lighting == OWN else lighting,
        "domain": "generated",
        "landmarks": row["landmarks"] if made.wish.label == RELIT else None,  # an expression moves them
        "synthetic": True,
        "source_image": row["name"],
        "target_expression": expression,
        "target_lighting": lighting,
        "quality": round(made.quality, 4),
        "match": round(made.match, 4),
        "attempt": made.attempt,
        "editor": editor,
    }


def _placed(writer: ShardWriter, path: Path, key: str, data: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    offset, n_bytes = writer.add(key, data)
    digest = hashlib.sha256(data).hexdigest()
    return {**facts, "path": f"shards/{path.name}", "key": key, "offset": offset, "n_bytes": n_bytes, "sha256": digest}


def _encode(crop: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


class Worker:
    """State of one process."""

    maker: Maker


def start_worker(recipe: Recipe) -> None:
    """Load the networks, once a process."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    Worker.maker = Maker(recipe)


def make_shard(number: int) -> int:
    """Make one shard in this process; returns the number of its images."""
    return Worker.maker.make(number)
