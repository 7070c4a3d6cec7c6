"""`legan augment`: a labelled data set with synthetic images of its training identities: plan, shards, resumable."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES, expression_name
from legan.core.config import parse_json
from legan.core.device import autocast, mixed_dtype
from legan.core.errors import ConfigError, DataError, ImageError, no_such
from legan.core.files import atomic_write, make_folder, sha256_of, write_atomic
from legan.core.geometry import warp
from legan.core.images import decode_rgb, from_network, png_bytes, to_network
from legan.core.inputs import folder_at
from legan.core.places import is_address, opened
from legan.core.workers import Progress, RunJobs, check_workers
from legan.data.import_faces import import_faces, parse_source, source_digest
from legan.data.manifest import (
    COLUMNS,
    DOMAINS,
    MANIFEST,
    SPLITS,
    DataFolder,
    image_names,
    read_bytes,
    write_manifest,
)
from legan.data.shards import SetBuilder, ShardJob, ShardMaker, ShardWriter, check_set_folder, open_set_folder
from legan.editing.loader import load_crop_editor
from legan.faces.embeddings import Embedding, load_embedding
from legan.metrics.verification import match_scores
from legan.models.editors import Codes, CropEditor
from legan.quality.scorer import QualityScorer, load_quality
from legan.requests import AugmentationRequest

# `legan augment`: a labelled face data set with synthetic images added to its training people; run again, it continues.
#
# The result is a data set folder as the first was, its images and the new ones together: the plan says which edits each image gets,
# `ShardAugmenter` makes them. Images outside the split `train` are never edited.


VERSION = 2  # raised when the images change, so that a resumed folder never mixes two looks
_PLAN, _REPORT, _IMPORTED = "plan.parquet", "report.json", "imported"


@dataclass(frozen=True)
class AugmentResult:
    """Result of `augment`: numbers of images, and what was rejected.

    Args:
        manifest: of the new data set.
        n_original, n_synthetic: images.
        before, after: training images by expression.
        rejected: attempts that did not pass, by reason.
        n_given_up: images that did not pass in four attempts and are not there.
        unmakeable: rare labels that the editor has no expression for.
    """

    manifest: str
    n_original: int
    n_synthetic: int
    before: dict[str, int]
    after: dict[str, int]
    rejected: dict[str, int]
    n_given_up: int
    unmakeable: list[str]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.n_original} original and {self.n_synthetic} synthetic images"]
        lines += [f"{label or '(no label)'}: {n} -> {self.after[label]} training images" for label, n in self.before.items()]
        lines += [f"rejected: {n} {reason}" for reason, n in self.rejected.items()]
        if self.n_given_up:
            lines.append(f"given up after four attempts: {self.n_given_up}")
        if self.unmakeable:
            labels = ", ".join(self.unmakeable)
            lines.append(
                f"the editor has no expression for: {labels}; name the nearest with --map {self.unmakeable[0]}=EXPRESSION"
            )
        return "\n".join([*lines, self.manifest])


def augment(
    source: str | Path,
    out: Path,
    request: AugmentationRequest,
    n_workers: int = 1,
    progress: Progress | None = None,
    run: RunJobs | None = None,
) -> AugmentResult:
    """Make an augmented data set, or what is missing of it.

    Args:
        source: a data set folder, of this machine or at an address, or NAME=DIR for images in another layout, which are aligned
            first, as `legan import` does.
        out: the folder of the new data set; made when missing.
        request: what to make.
        n_workers: processes of one thread each.
        progress: called with shards done and in all.
        run: what drives the workers; by default local processes (`run_jobs`).

    Raises:
        ConfigError: a number out of range, an unknown policy or expression.
        DataError: data that cannot be used, or `out` holds something else.
        LeganError: the disk is full, or a process was killed.
    """
    request.check()
    check_workers(n_workers)
    policy, names, out = Policy.parse(request.policy), LabelMap.parse(list(request.names)), Path(out)
    settings = _settings(request)
    folder, imported, settings = _opened(source, out, settings, n_workers, run)
    if imported and (out / _REPORT).exists():
        return _reported(out)
    counts = count_images(folder)
    quotas = set_quotas(counts, policy, request.ratio, names)
    data = {"name": folder.resolve().name, "sha256": sha256_of(folder / MANIFEST)}
    with open_set_folder(out, settings | {"data": data}, besides={_IMPORTED}, derived={_PLAN}) as builder:
        if (out / _REPORT).exists():
            return _reported(out)
        if not (out / _PLAN).exists():
            write_plan(folder, out / _PLAN, counts, quotas, names, request.seed)
        recipe = Recipe(
            folder.resolve(), out / _PLAN, request.seed, names, request.min_quality, request.min_match, policy.relights_filled,
            request.editor, request.quality, request.identity, request.device,
        )  # fmt: skip
        jobs = [ShardJob(f"{number:06d}", number) for number in range(n_groups(recipe.plan))]
        builder.make(jobs, partial(build_maker, recipe), n_workers, progress, apart=True, run=run)
        report = _finish(builder, jobs, counts.n_images, dict(counts.by_label), list(quotas.unmakeable))
        recipe.plan.unlink(missing_ok=True)
        if imported:
            shutil.rmtree(out / _IMPORTED)
        return report


def _opened(
    source: str | Path, out: Path, settings: dict[str, Any], n_workers: int, run: RunJobs | None
) -> tuple[DataFolder, bool, dict[str, Any]]:
    """The data set folder to augment, whether it was imported for this alone, and the settings with what was imported.

    An imported folder is gone when all is done.
    """
    if is_address(str(source)) or "=" not in str(source) or (Path(source) / MANIFEST).is_file():
        return folder_at(source), False, settings
    name, folder = parse_source(str(source))
    imported, settings = out / _IMPORTED, settings | {"pictures": source_digest(name, folder)}
    check_set_folder(out, settings, besides={_IMPORTED}, derived={_PLAN})
    if not (out / _REPORT).exists():
        make_folder(out)
        import_faces(name, folder, imported, n_workers=n_workers, run=run)
    return imported, True, settings


def _settings(request: AugmentationRequest) -> dict[str, Any]:
    """What every image depends on beside the data, without this machine's paths.

    Raises:
        WeightsError: a network that cannot be used.
        ConditionError: an editor with classes of its own.
    """
    networks = ("editor", "quality", "identity", "device")
    editor = load_crop_editor(request.editor, request.device)
    editor.classes.check_standard("`legan augment`")
    return {
        "version": VERSION,
        **{key: value for key, value in asdict(request).items() if key not in networks},
        "names": list(request.names),
        "editor": editor.checksum,
        "quality network": load_quality(request.quality, request.device).checksum,
        "identity network": load_embedding(request.identity, request.device).provenance["sha256"],
    }


def _reported(out: Path) -> AugmentResult:
    try:
        return AugmentResult(**parse_json((out / _REPORT).read_text(encoding="utf-8")) | {"manifest": str(out / MANIFEST)})
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{out / _REPORT} cannot be read: delete {out} and run the same command again") from error


def _finish(
    builder: SetBuilder, jobs: Sequence[ShardJob], n_original: int, before: dict[str, int], unmakeable: list[str]
) -> AugmentResult:
    """Write the manifest and the report from the shards, one shard at a time."""
    tally: Counter[str] = Counter()
    after: Counter[str] = Counter()
    n_images = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal n_images
        for job in jobs:
            record = builder.record(job.name)
            tally.update(record.facts["tally"])
            for row in record.rows:
                n_images += 1
                after[row["expression"] or ""] += row["split"] == "train"
                yield row

    manifest = write_manifest(rows(), builder.out, PROVENANCE)
    labels = sorted({*before, *(label for label, n in after.items() if n)})
    given_up = tally.pop("given up", 0)
    rejected = {reason: n for reason, n in sorted(tally.items()) if reason != "made"}
    report = AugmentResult(
        str(manifest), n_original, n_images - n_original, {label: before.get(label, 0) for label in labels},
        {label: after[label] for label in labels}, rejected, given_up, unmakeable,
    )  # fmt: skip
    write_atomic(builder.out / _REPORT, json.dumps(report.as_json(), indent=2).encode())
    return report


# What `legan augment` will make: how many synthetic images of which expression, and from which images; nothing is edited here.
#
# The manifest is read as a stream, twice: once to count, once to write the plan, in groups of rows that become one shard each. The
# choice of sources is systematic sampling: every k-th eligible image from a start that the seed draws. So it needs no list of the
# images, and spreads over the people as evenly as the manifest does.


POLICIES = ("balance-expressions", "relight:2", "both")
N_SOURCES = 128  # images of the data set in one shard, beside what is made from them
ROWS_AT_ONCE = 8192  # read while counting
RELIT = ""  # in the plan: the image under another light, with its own expression
_NEUTRAL = EXPRESSIONS[0]


@dataclass(frozen=True)
class Policy:
    """What is made: rare expressions up to the frequent ones or not, and how many lights for each image."""

    balances: bool
    n_lights: int
    relights_filled: bool  # the new expressions too come under a light of their own

    @staticmethod
    def parse(text: str) -> "Policy":
        """Read `balance-expressions`, `relight`, `relight:N`, `both` or `both:N`.

        Raises:
            ConfigError: anything else.
        """
        match = re.fullmatch(r"(balance-expressions)|(relight|both)(?::([1-9]\d?))?", text.strip())
        if match is None:
            raise ConfigError(no_such("policy", text, POLICIES))
        if match[1]:
            return Policy(True, 0, False)
        n_lights = int(match[3] or 1)
        if n_lights >= len(LIGHTING_NAMES):
            raise ConfigError(f"policy '{text}' asks for {n_lights} other lights: there are {len(LIGHTING_NAMES) - 1}")
        return Policy(match[2] == "both", n_lights, match[2] == "both")


@dataclass(frozen=True)
class LabelMap:
    """How the data's expressions are called by the editor: a label itself, a synonym, or what the user says."""

    given: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(words: list[str]) -> "LabelMap":
        """Read words such as `happy=smile`.

        Raises:
            ConfigError: no such form, or an expression that the editor does not have.
        """
        given = {}
        for word in words:
            label, equals, text = word.partition("=")
            expression = expression_name(text)
            if not equals or expression is None:
                raise ConfigError(
                    f"cannot read --map '{word}': write LABEL=EXPRESSION, where the expression is one of {', '.join(EXPRESSIONS)}"
                )
            given[label] = expression
        return LabelMap(given)

    def of(self, label: str) -> str | None:
        """The editor's name of a label; None where it has none."""
        return self.given.get(label) or expression_name(label)


@dataclass(frozen=True)
class ImageCounts:
    """What the data set holds: images, and training images by label."""

    n_images: int
    by_label: Mapping[str, int]

    @property
    def n_train(self) -> int:
        """Images that may be augmented."""
        return sum(self.by_label.values())


@dataclass(frozen=True)
class Quotas:
    """Synthetic images to make: by rare label, and relit ones; `unmakeable` are rare labels without an expression of the editor."""

    filled: Mapping[str, int]
    n_relit: int
    unmakeable: tuple[str, ...]


def count_images(folder: DataFolder) -> ImageCounts:
    """Count a data set's images.

    Raises:
        DataError: no manifest, a missing column, an unknown split or domain, a person both in the training and in another split,
            or no training images.
    """
    others: dict[str, str] = {}  # people who are not in training, and their split
    by_label: Counter[str] = Counter()
    n_images = 0
    for part in _columns(folder, ("identity", "split", "domain")):
        n_images += len(part["split"])
        for name, allowed in (("split", SPLITS), ("domain", DOMAINS)):
            unknown = sorted(set(part[name]) - set(allowed))
            if unknown:
                raise DataError(f"{folder / MANIFEST} has an unknown {name} '{unknown[0]}': allowed are {', '.join(allowed)}")
        for identity, split in zip(part["identity"], part["split"], strict=True):
            if split != "train" and others.setdefault(identity, split) != split:
                raise _in_two_splits(folder, identity)
    for part in _columns(folder, ("identity", "split", "expression")):
        for identity, split, label in zip(part["identity"], part["split"], part["expression"], strict=True):
            if split == "train":
                if identity in others:
                    raise _in_two_splits(folder, identity)
                by_label[label] += 1
    if not by_label:
        raise DataError(f"{folder} has no image of the split 'train', and only those are augmented")
    return ImageCounts(n_images, dict(sorted(by_label.items())))


def _in_two_splits(folder: DataFolder, identity: str) -> DataError:
    return DataError(
        f"{folder / MANIFEST} has identity '{identity}' in more than one split: a person who is tested must not be trained on"
    )


def set_quotas(counts: ImageCounts, policy: Policy, ratio: float | None, names: LabelMap) -> Quotas:
    """Decide how many images to make.

    Args:
        counts: of the data set.
        policy: what to make.
        ratio: at most this many synthetic images for each training image; None for what the policy asks for. Where that is less,
            new expressions and relit images are cut down alike, so that frequent labels too have synthetic images: where only the
            rare ones had, a classifier would learn to tell synthetic images from others.
        names: what the editor calls the labels; one that the data does not have begins at none.

    Raises:
        ConfigError: a ratio that is not above 0.
        DataError: nothing to do.
    """
    if ratio is not None and not ratio > 0:
        raise ConfigError(f"--ratio {ratio:g} is out of range: give synthetic images for each training image, such as 1.0")
    room = 10**12 if ratio is None else round(ratio * counts.n_train)
    labels = dict.fromkeys(names.given, 0) | {label: n for label, n in counts.by_label.items() if label}
    filled: dict[str, int] = {}
    n_relit = policy.n_lights * counts.n_train
    unmakeable: tuple[str, ...] = ()
    if policy.balances:
        if not any(labels.values()):
            raise DataError(
                "the data has no expressions to balance: give their names in its manifest, or choose --policy relight:2"
            )
        most = max(labels.values())
        makeable = {label: n for label, n in labels.items() if names.of(label)}
        n_lacking = sum(most - n for n in makeable.values())
        filled = level(makeable, most, min(room, round(room * n_lacking / max(1, n_lacking + n_relit))))
        unmakeable = tuple(label for label, n in labels.items() if n < most and not names.of(label))
    n_relit = min(n_relit, room - sum(filled.values()))
    if not n_relit and not any(filled.values()):
        raise DataError("nothing to make: the expressions that the editor has are as frequent as the others already")
    return Quotas({label: n for label, n in filled.items() if n}, n_relit, unmakeable)


def level(counts: Mapping[str, int], top: int, room: int) -> dict[str, int]:
    """Return how many to add to each count so that the lowest rise together, to at most `top`, by at most `room` in all."""
    low, high = 0, top
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(max(0, middle - n) for n in counts.values()) <= room else (low, middle - 1)
    added = {label: max(0, low - n) for label, n in counts.items()}
    left = room - sum(added.values())
    for label in sorted(counts, key=lambda name: counts[name]):
        if low < top and left > 0 and counts[label] + added[label] == low:
            added[label], left = added[label] + 1, left - 1
    return added


def write_plan(folder: DataFolder, path: Path, counts: ImageCounts, quotas: Quotas, names: LabelMap, seed: int) -> None:
    """Write the plan: the manifest's rows with `row`, their number, `name`, by which people speak of the image, and `wanted`, the
    labels to make of it.

    Each group of `N_SOURCES` rows is a row group of the Parquet file, so that a worker reads its own rows alone.

    Raises:
        LeganError: the place cannot be written, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    added = {"row": pa.int64(), "name": pa.string(), "wanted": pa.list_(pa.string())}
    draws, n_rows = _SourceSampler(counts, quotas, names, seed), 0
    with ExitStack() as stack:
        source = pq.ParquetFile(stack.enter_context(opened(str(folder / MANIFEST))))
        fields = [source.schema_arrow.field(name) for name in COLUMNS]
        schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in added.items())])
        writer = stack.enter_context(pq.ParquetWriter(stack.enter_context(atomic_write(path)), schema))
        for batch in source.iter_batches(N_SOURCES, columns=list(COLUMNS)):
            table = pa.Table.from_batches([batch]).select(list(COLUMNS))
            frame = table.select(["split", "expression", "path", "key"]).to_pandas()
            wanted = [
                draws.wanted(split, label or "") for split, label in zip(frame["split"], frame["expression"], strict=True)
            ]
            values = list(range(n_rows, n_rows + len(frame))), list(image_names(frame)), wanted
            for (name, kind), column in zip(added.items(), values, strict=True):
                table = table.append_column(name, pa.array(column, kind))
            writer.write_table(table.cast(schema))
            n_rows += len(frame)


class _SourceSampler:
    """Assigns the quotas to the training images, one after the other.

    New expressions are made from neutral faces, where there are any; a neutral face from any other.
    """

    def __init__(self, counts: ImageCounts, quotas: Quotas, names: LabelMap, seed: int) -> None:
        random = np.random.default_rng([seed, 0])
        self._names, self._labels = names, counts.by_label
        self._has_neutral = any(names.of(label) == _NEUTRAL for label in counts.by_label)
        self._filled = {}
        for label, n in quotas.filled.items():
            eligible = sum(n_images for source, n_images in counts.by_label.items() if self._may_become(source, label))
            if not eligible:
                raise DataError(f"no training image can be made '{label}': all are so already")
            self._filled[label] = _SystematicSampler(n, eligible, float(random.random()))
        self._relit = _SystematicSampler(quotas.n_relit, counts.n_train, float(random.random()))

    def _may_become(self, source: str, label: str) -> bool:
        from_neutral = self._has_neutral and self._names.of(label) != _NEUTRAL
        return source != label and (self._names.of(source) == _NEUTRAL or not from_neutral)

    def wanted(self, split: str, source: str) -> list[str]:
        """The labels to make of the next image."""
        if split != "train":
            return []
        labels = [label for label, draw in self._filled.items() if self._may_become(source, label) for _ in range(draw.take())]
        return labels + [RELIT] * self._relit.take()


class _SystematicSampler:
    """Spreads `n` things evenly over `n_places`, beginning at a random place."""

    def __init__(self, n: int, n_places: int, start: float) -> None:
        self._n, self._n_places, self._start, self._index = n, n_places, start, 0

    def take(self) -> int:
        """How many things come to the next place."""
        before, after = (int(np.floor((self._index + i) * self._n / self._n_places + self._start)) for i in (0, 1))
        self._index += 1
        return after - before


def n_groups(path: Path) -> int:
    """Number of shards that a plan asks for."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).num_row_groups


def read_group(path: Path, number: int) -> list[dict[str, Any]]:
    """The rows of one shard."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read_row_group(number).to_pylist()


def _columns(folder: DataFolder, names: tuple[str, ...]) -> Iterator[dict[str, list[str]]]:
    """Some columns of a manifest, a part at a time, missing texts as ""."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder} is not a data set: it has no {MANIFEST}; give NAME=DIR for images in another layout, such as people={folder}"
        )
    with opened(str(path)) as content:
        try:
            file = pq.ParquetFile(content)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}): make the data set again") from error
        if "synthetic" in file.schema_arrow.names:
            raise DataError(f"{folder} is augmented already: augment the data set that it was made of, with a higher --ratio")
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}")
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(names)):
            yield {name: [value or "" for value in batch.column(name).to_pylist()] for name in names}


# One shard of an augmented data set: the original crops, and what the editor makes of them, judged and tried again.
#
# Everything random in an image is drawn from (seed, row, image, attempt), and a shard is always made in the same batches: a run that
# was stopped, or has another number of processes, gives the same bytes on one machine.


OWN = "own"  # as a target: what the image has already
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
        seed: of the targets.
        names: what the editor calls the labels.
        min_quality: least score of Q, 0..10; None for any.
        min_match: least match score with the source, -1..1; None for any.
        relights_filled: new expressions come under a light of their own.
        weights, quality, identity, device: the networks, as for `load_crop_editor`, `load_quality` and `load_embedding`.
    """

    folder: DataFolder
    plan: Path
    seed: int
    names: LabelMap
    min_quality: float | None
    min_match: float | None
    relights_filled: bool
    weights: Path | None
    quality: Path | None
    identity: str
    device: str


@dataclass(frozen=True)
class PlannedEdit:
    """One image to make: of which row of the shard, which number among the row's, and the label that it is to have."""

    row: int
    number: int
    label: str


@dataclass(frozen=True)
class SyntheticImage:
    """A synthetic image that passed: its crop, target (expression, lighting), scores and number of attempts."""

    request: PlannedEdit
    crop: np.ndarray  # uint8 (S, S, 3)
    target: tuple[str, str]
    quality: float
    match: float
    attempt: int


class ShardAugmenter:
    """The networks of one worker, and the making of a shard with them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.editor: CropEditor = load_crop_editor(recipe.weights, recipe.device)
        self.scorer: QualityScorer = load_quality(recipe.quality, recipe.device)
        self.embedding: Embedding = load_embedding(recipe.identity, recipe.device)
        self.dtype = mixed_dtype("auto", self.editor.device)
        if self.editor.size != self.scorer.size:
            raise ConfigError(
                f"the editor makes crops of {self.editor.size} pixels, and Q reads {self.scorer.size}: choose others"
            )

    def make(self, number: int, shard: ShardWriter) -> dict[str, Any]:
        """Fill one shard with its images, original and synthetic; gives for the record how many attempts passed or did not, and why."""
        rows = read_group(self.recipe.plan, number)
        data, crops = self._read(rows)
        tally: Counter[str] = Counter()
        for row, (encoded, suffix) in zip(rows, data, strict=True):
            shard.add_image(f"{row['row']:0{_STEM}d}{suffix}", encoded, _original(row))
        requests = [PlannedEdit(i, n, label) for i, row in enumerate(rows) for n, label in enumerate(row["wanted"])]
        for start in range(0, len(requests), _BATCH):
            for made in self._accepted(rows, crops, requests[start : start + _BATCH], tally):
                row = rows[made.request.row]
                key = f"{row['row']:0{_STEM}d}-{made.request.number}.png"
                shard.add_image(key, _encode(made.crop), _synthetic(row, made, self.editor.checksum))
        return {"tally": tally}

    def _read(self, rows: Sequence[dict[str, Any]]) -> tuple[list[tuple[bytes, str]], np.ndarray]:
        """Encoded crops with their endings, and the crops, uint8 (n, S, S, 3)."""
        read = [aligned_crop(self.recipe.folder, row, self.editor.size) for row in rows]
        return [(data, suffix) for data, suffix, _ in read], np.stack([crop for *_, crop in read])

    def _accepted(
        self, rows: Sequence[dict[str, Any]], crops: np.ndarray, requests: Sequence[PlannedEdit], tally: Counter[str]
    ) -> list[SyntheticImage]:
        """Make the requests that can be fulfilled; what is rejected is made again with another target."""
        sources = sorted({request.row for request in requests})
        place = {row: i for i, row in enumerate(sources)}
        x = to_network(crops[sources])
        with torch.inference_mode(), autocast(self.dtype, self.editor.device):
            anchors = self.embedding.embed([Image.fromarray(crop) for crop in crops[sources]])
        accepted, waiting = [], list(requests)
        for attempt in range(N_ATTEMPTS):
            if not waiting:
                break
            targets = [self._target(rows[request.row], request, attempt) for request in waiting]
            at = np.array([place[request.row] for request in waiting])
            edited, refused = self._edited(x[at], [rows[request.row] for request in waiting], targets)
            quality = self.scorer.predict_crops(edited).score.double().numpy()
            with torch.inference_mode(), autocast(self.dtype, self.editor.device):
                match = match_scores(anchors[at], self.embedding.embed([Image.fromarray(crop) for crop in edited]))
            rejected = []
            for request, target, crop, q, m, is_refused in zip(waiting, targets, edited, quality, match, refused, strict=True):
                reason = "refused by the editor" if is_refused else self._reason(q, m)
                tally[reason or "made"] += 1
                if reason:
                    rejected.append(request)
                else:
                    accepted.append(SyntheticImage(request, crop, target, float(q), float(m), attempt + 1))
            waiting = rejected
        tally["given up"] += len(waiting)
        return sorted(accepted, key=lambda made: (made.request.row, made.request.number))

    def _reason(self, quality: float, match: float) -> str:
        if self.recipe.min_quality is not None and quality < self.recipe.min_quality:
            return "below min-quality"
        return "below min-match" if self.recipe.min_match is not None and match < self.recipe.min_match else ""

    def _target(self, row: dict[str, Any], request: PlannedEdit, attempt: int) -> tuple[str, str]:
        """Expression and lighting to ask for. A label must stay true, so another target is another light."""
        expression = OWN if request.label == RELIT else str(self.recipe.names.of(request.label))
        is_first = (
            row["wanted"].index(request.label) == request.number
        )  # a second one under the same light would be the same image
        if request.label != RELIT and not self.recipe.relights_filled and attempt == 0 and is_first:
            return expression, OWN
        lights = [name for name in LIGHTING_NAMES if name != row["lighting"]]
        order = np.random.default_rng([self.recipe.seed, 1, row["row"]]).permutation(len(lights))
        return expression, lights[order[(request.number + attempt * len(row["wanted"])) % len(lights)]]

    def _edited(
        self, x: torch.Tensor, rows: Sequence[dict[str, Any]], targets: Sequence[tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crops (n, S, S, 3) uint8 under their targets, and which (n,) bool the editor refused.

        `own` is kept by a code of zeros where the editor has such, else by the manifest's label, or else by the critic's estimate.
        """
        keeps = self.editor.keeps
        expressions = [
            self.recipe.names.of(row["expression"] or "") if e == OWN and not keeps else e
            for row, (e, _) in zip(rows, targets, strict=True)
        ]
        lightings = [
            row["lighting"] if light == OWN and not keeps else light for row, (_, light) in zip(rows, targets, strict=True)
        ]
        known = [e in EXPRESSIONS and light in LIGHTING_NAMES for e, light in zip(expressions, lightings, strict=True)]
        zeros = Codes(torch.zeros(len(x), len(EXPRESSIONS)), torch.zeros(len(x), len(LIGHTING_NAMES)))
        own = zeros if keeps or all(known) else self.editor.own_codes(x)
        codes = Codes(_codes(expressions, EXPRESSIONS, own.expression), _codes(lightings, LIGHTING_NAMES, own.lighting))
        with autocast(self.dtype, self.editor.device):
            image, refused = self.editor.attempt(x, codes)
        return from_network(image.clamp(-1, 1)), refused


def _codes(names: Sequence[str | None], known: Sequence[str], own: torch.Tensor) -> torch.Tensor:
    codes = own.clone()
    for i, name in enumerate(names):
        if name in known:
            codes[i] = 0
            codes[i, list(known).index(str(name))] = 1
    return codes


def aligned_crop(folder: DataFolder, row: dict[str, Any], size: int) -> tuple[bytes, str, np.ndarray]:
    """The crop of a manifest row: encoded, its file's ending, and its pixels, uint8 (size, size, 3).

    An image of crop size is a crop; any other is cut as its alignment in the manifest says.

    Raises:
        DataError: an image that cannot be decoded, or of another size and without an alignment.
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
            "bring the images to crops with `legan import` first"
        )
    crop = warp(pixels, np.array(row["alignment"], np.float64).reshape(2, 3), size)
    return _encode(crop), ".png", crop


def _original(row: dict[str, Any]) -> dict[str, Any]:
    nothing = {"target_expression": "", "target_lighting": "", "quality": None, "match": None, "attempt": None, "editor": ""}
    return {**{name: row[name] for name in COLUMNS}, "synthetic": False, "source_image": row["name"], **nothing}


def _synthetic(row: dict[str, Any], made: SyntheticImage, editor: str) -> dict[str, Any]:
    expression, lighting = made.target
    return {
        **{name: row[name] for name in COLUMNS},
        "expression": row["expression"] if made.request.label == RELIT else made.request.label,
        "lighting": row["lighting"] if lighting == OWN else lighting,
        "domain": "generated",
        "landmarks": row["landmarks"] if made.request.label == RELIT else None,  # an expression moves them
        "synthetic": True,
        "source_image": row["name"],
        "target_expression": expression,
        "target_lighting": lighting,
        "quality": round(made.quality, 4),
        "match": round(made.match, 4),
        "attempt": made.attempt,
        "editor": editor,
    }


def _encode(crop: np.ndarray) -> bytes:
    return png_bytes(crop, compress_level=3)


def build_maker(recipe: Recipe) -> ShardMaker:
    """A worker's maker of shards; loads the networks."""
    return ShardAugmenter(recipe).make
