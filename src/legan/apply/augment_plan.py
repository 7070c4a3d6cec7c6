"""What `legan augment` will make: how many synthetic images of which expression, and from which images; nothing is edited here.

The manifest is read as a stream, twice: once to count, once to write the plan, in groups of rows that become one shard each. The
choice of sources is systematic sampling: every k-th eligible image from a start that the seed draws. So it needs no list of the
images, and spreads over the people as evenly as the manifest does.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES, expression_name
from legan.core.errors import ConfigError, DataError, no_such
from legan.core.files import atomic_write
from legan.core.manifest import COLUMNS, DOMAINS, MANIFEST, SPLITS, image_names

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
        found = re.fullmatch(r"(balance-expressions)|(relight|both)(?::([1-9]\d?))?", text.strip())
        if found is None:
            raise ConfigError(no_such("policy", text, POLICIES))
        if found[1]:
            return Policy(True, 0, False)
        n_lights = int(found[3] or 1)
        if n_lights >= len(LIGHTING_NAMES):
            raise ConfigError(f"policy '{text}' asks for {n_lights} other lights: there are {len(LIGHTING_NAMES) - 1}")
        return Policy(found[2] == "both", n_lights, found[2] == "both")


@dataclass(frozen=True)
class Names:
    """How the data's expressions are called by the editor: a label itself, a synonym, or what the user says."""

    given: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(words: list[str]) -> "Names":
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
        return Names(given)

    def of(self, label: str) -> str | None:
        """The editor's name of a label; None where it has none."""
        return self.given.get(label) or expression_name(label)


@dataclass(frozen=True)
class Counts:
    """What the data set holds: images, and training images by label."""

    n_images: int
    by_label: Mapping[str, int]

    @property
    def n_train(self) -> int:
        """Images that may be augmented."""
        return sum(self.by_label.values())


@dataclass(frozen=True)
class Orders:
    """How many images are to be made: of each rare label, and relit ones; `unmakeable` are rare labels that the editor has not."""

    filled: Mapping[str, int]
    n_relit: int
    unmakeable: tuple[str, ...]


def count_images(folder: Path) -> Counts:
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
    return Counts(n_images, dict(sorted(by_label.items())))


def _in_two_splits(folder: Path, identity: str) -> DataError:
    return DataError(
        f"{folder / MANIFEST} has identity '{identity}' in more than one split: a person who is tested must not be trained on"
    )


def place_orders(counts: Counts, policy: Policy, ratio: float | None, names: Names) -> Orders:
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
        raise DataError("nothing to make: the expressions that the editor knows are as frequent as the others already")
    return Orders({label: n for label, n in filled.items() if n}, n_relit, unmakeable)


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


def write_plan(folder: Path, path: Path, counts: Counts, orders: Orders, names: Names, seed: int) -> None:
    """Write the plan: the manifest's rows with `row`, their number, `name`, by which people speak of the image, and `wanted`, the
    labels to make of it.

    Each group of `N_SOURCES` rows is a row group of the Parquet file, so that a worker reads its own rows alone.

    Raises:
        LeganError: the place cannot be written, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(folder / MANIFEST)
    base = source.schema_arrow
    fields = [base.field(name) for name in COLUMNS]
    added = {"row": pa.int64(), "name": pa.string(), "wanted": pa.list_(pa.string())}
    schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in added.items())])
    draws, n_rows = _Draws(counts, orders, names, seed), 0
    with atomic_write(path) as file, pq.ParquetWriter(file, schema) as writer:
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


class _Draws:
    """Hands out the orders to the training images, one after the other.

    New expressions are made from neutral faces, where there are any; a neutral face from any other.
    """

    def __init__(self, counts: Counts, orders: Orders, names: Names, seed: int) -> None:
        random = np.random.default_rng([seed, 0])
        self._names, self._labels = names, counts.by_label
        self._has_neutral = any(names.of(label) == _NEUTRAL for label in counts.by_label)
        self._filled = {}
        for label, n in orders.filled.items():
            eligible = sum(n_images for source, n_images in counts.by_label.items() if self._may_become(source, label))
            if not eligible:
                raise DataError(f"no training image can be made '{label}': all are so already")
            self._filled[label] = _Systematic(n, eligible, float(random.random()))
        self._relit = _Systematic(orders.n_relit, counts.n_train, float(random.random()))

    def _may_become(self, source: str, label: str) -> bool:
        from_neutral = self._has_neutral and self._names.of(label) != _NEUTRAL
        return source != label and (self._names.of(source) == _NEUTRAL or not from_neutral)

    def wanted(self, split: str, source: str) -> list[str]:
        """The labels to make of the next image."""
        if split != "train":
            return []
        found = [label for label, draw in self._filled.items() if self._may_become(source, label) for _ in range(draw.take())]
        return found + [RELIT] * self._relit.take()


class _Systematic:
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


def _columns(folder: Path, names: tuple[str, ...]) -> Iterator[dict[str, list[str]]]:
    """Some columns of a manifest, a part at a time, missing texts as ""."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{folder} is no data set: it has no {MANIFEST}; give NAME=DIR for pictures in another layout, such as people={folder}"
        )
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): make the data set again") from error
    if "synthetic" in file.schema_arrow.names:
        raise DataError(f"{folder} is augmented already: augment the data set that it was made of, with a higher --ratio")
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}")
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(names)):
        yield {name: [value or "" for value in batch.column(name).to_pylist()] for name in names}
