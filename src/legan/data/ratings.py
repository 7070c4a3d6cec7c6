"""Ratings of images by people: reading, cleaning, and what they say about each image.

`ratings.csv` has one line an answer: `rater, image, rating (0..10, empty: skipped), seconds, order`. An image's label is the mean
and the standard deviation over its raters (LEGAN poster); a label file has `name, mean, std, split`, which IQA tools read.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.errors import DataError
from legan.core.files import write_atomic
from legan.core.listing import ImageNames
from legan.core.table import CsvTable, escaped, read_csv_table
from legan.data.manifest import SPLITS, image_names, read_manifest, split_of

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = ("rater", "image", "rating", "seconds", "order")
LABEL_COLUMNS = ("name", "mean", "std", "split")
SIMULATED = "simulated"  # starts the names of simulated raters, and marks labels that come from them
LOWEST, HIGHEST = 0.0, 10.0


@dataclass(frozen=True)
class Rules:
    """What is left out of a study's answers.

    Args:
        min_seconds: answers given faster are dropped; an answer without a time is kept.
        max_fast_share: raters with a larger share of such answers are dropped altogether.
        n_constant: raters who gave at least this many answers, all alike, are dropped.
        max_gold_failed: raters who failed a larger share of the gold items that they saw are dropped.
        min_raters: images with fewer answers left have no label.
        excluded_raters: dropped as well.
    """

    min_seconds: float = 1.0
    max_fast_share: float = 0.5
    n_constant: int = 5
    max_gold_failed: float = 0.34
    min_raters: int = 2
    excluded_raters: tuple[str, ...] = ()


DEFAULT_RULES = Rules()


@dataclass(frozen=True)
class Cleaned:
    """Answers that stay, and how many were left out for each reason, in the order in which the reasons were applied."""

    ratings: "pd.DataFrame"
    n_before: int
    exclusions: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Counts as plain values."""
        return {"n_answers": self.n_before, "n_kept": len(self.ratings), "excluded": dict(self.exclusions)}


def read_ratings(path: Path) -> "pd.DataFrame":
    """Read a ratings file; skipped answers have the rating NaN.

    Raises:
        DataError: no such file, not a CSV file, a missing column, a rating that is not a number or outside 0..10, or no answers.
    """
    return _ratings_of(read_csv_table(path))


def _ratings_of(table: CsvTable) -> "pd.DataFrame":
    import pandas as pd

    table.require(COLUMNS[:3])
    numbers = {
        name: np.array(table.numbers(name)) if name in table.columns else np.full(len(table.rows), np.nan)
        for name in COLUMNS[2:]
    }
    for rating, line in zip(numbers["rating"], table.lines, strict=True):
        if not (LOWEST <= rating <= HIGHEST or rating != rating):
            raise DataError(
                f"{table.path} has the rating {rating:g} in line {line}: ratings go from 0 to 10, rescale them "
                "(7 answers, 1 = natural: (7 - answer) / 6 * 10)"
            )
    if not table.rows:
        raise DataError(f"{table.path} holds no answers")
    return pd.DataFrame({**{name: table.texts(name) for name in COLUMNS[:2]}, **numbers})


def write_table(frame: "pd.DataFrame", path: Path) -> Path:
    """Write a frame as CSV, atomically, and return the path."""
    frame = frame.map(escaped)
    write_atomic(Path(path), frame.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
    return Path(path)


def clean(
    ratings: "pd.DataFrame",
    rules: Rules = DEFAULT_RULES,
    images: Collection[str] | None = None,
    gold: "pd.DataFrame | None" = None,
) -> Cleaned:
    """Drop answers that say nothing about their image, and count them.

    Args:
        ratings: as `read_ratings` gives them.
        rules: what is dropped.
        images: the images that exist, found by any name as in `ImageNames`; answers about others are dropped. None: all are taken
            as they are.
        gold: `image, low, high`: images whose rating is known to lie there; they check the raters and are then left out.

    Raises:
        DataError: nothing is left, no answer is about a known image, or a name could be one of several images.
    """
    counts: dict[str, int] = {}

    def drop(frame: "pd.DataFrame", reason: str, out: "pd.Series") -> "pd.DataFrame":
        if out.any():
            counts[reason] = int(out.sum())
        return frame[~out]

    if images is not None:
        known = ImageNames(images)
        ratings, gold = _with_own_names(ratings, known), None if gold is None else _with_own_names(gold, known)
    # Whoever skips an image and rates it after all has rated it once.
    by_answer = ratings.assign(skipped=ratings["rating"].isna())
    kept = drop(ratings, "duplicate", by_answer.duplicated(["rater", "image", "skipped"]))
    if images is not None:
        unknown = ~kept["image"].isin(set(images))
        if unknown.all():
            raise DataError(
                f"no rated image is in the data set: the ratings name images such as '{kept['image'].iloc[0]}', the data set such "
                f"as '{known.example}'; name the set that was rated"
            )
        kept = drop(kept, "unknown image", unknown)
    for reason, raters in _bad_raters(kept, rules, gold).items():
        kept = drop(kept, reason, kept["rater"].isin(raters))
    kept = drop(kept, "skipped", kept["rating"].isna())
    kept = drop(kept, "too fast", kept["seconds"] < rules.min_seconds)
    if gold is not None:
        kept = drop(kept, "gold item", kept["image"].isin(gold["image"]))
    n_raters = kept.groupby("image")["rater"].transform("nunique")
    kept = drop(kept, "too few raters", n_raters < rules.min_raters)
    if kept.empty:
        words = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise DataError(f"no answer is left after cleaning ({words}): an image needs {rules.min_raters} raters or more")
    return Cleaned(kept.reset_index(drop=True), len(ratings), counts)


def _with_own_names(frame: "pd.DataFrame", known: ImageNames) -> "pd.DataFrame":
    """The frame with each image under the data set's own name; unknown ones keep theirs."""
    own = {name: known.find(name) or name for name in frame["image"].unique()}
    return frame.assign(image=frame["image"].map(own))


def _bad_raters(ratings: "pd.DataFrame", rules: Rules, gold: "pd.DataFrame | None") -> dict[str, set[str]]:
    """Raters to leave out, by reason."""
    answered = ratings.dropna(subset=["rating"])
    by_rater = answered.groupby("rater")["rating"]
    is_constant = (by_rater.count() >= rules.n_constant) & (by_rater.max() == by_rater.min())
    fast_share = (answered["seconds"] < rules.min_seconds).groupby(answered["rater"]).mean()
    found = {
        "excluded rater": set(rules.excluded_raters),
        "constant rater": set(is_constant.index[is_constant]),
        "too fast rater": set(fast_share.index[fast_share > rules.max_fast_share]),
    }
    if gold is not None:
        seen = answered.merge(gold, on="image")
        failed = ((seen["rating"] < seen["low"]) | (seen["rating"] > seen["high"])).groupby(seen["rater"]).mean()
        found["failed gold items"] = set(failed.index[failed > rules.max_gold_failed])
    return found


def read_gold(path: Path) -> "pd.DataFrame":
    """Read gold items: `image, low, high`.

    Raises:
        DataError: no such file, a missing column, or bounds that are no numbers.
    """
    import pandas as pd

    table = read_csv_table(path)
    return pd.DataFrame({"image": table.texts("image"), **{name: table.numbers(name) for name in ("low", "high")}})


def image_labels(ratings: "pd.DataFrame") -> "pd.DataFrame":
    """Return `name, mean, std` (of a sample: n - 1), one line an image in the order of names.

    Where raters were simulated, a further column `raters` says so: labels must not lose it.
    """
    groups = ratings.groupby("image", sort=True)["rating"]
    table = groups.agg(["mean", "std"]).reset_index().rename(columns={"image": "name"})
    return table.assign(raters=SIMULATED) if is_simulated(ratings) else table


def is_simulated(ratings: "pd.DataFrame") -> bool:
    """Whether any of the raters is a simulated one."""
    return bool(ratings["rater"].str.startswith(f"{SIMULATED}-").any())


def with_splits(labels: "pd.DataFrame", *data: Path) -> "pd.DataFrame":
    """Return `name, mean, std, split` (and `raters`): splits of the data sets' manifests, else by a checksum of the name (8 : 1 : 1).

    Raises:
        DataError: an image that the data sets do not have.
    """
    import zlib

    if not data:
        splits = labels["name"].map(lambda name: split_of(zlib.crc32(str(name).encode())))
    else:
        split: dict[str, str] = {}
        for manifest in map(read_manifest, data):
            split |= dict(zip(image_names(manifest), manifest["split"], strict=True))
        labels = labels.assign(name=own_names(labels["name"], split, " and ".join(map(str, data))))
        splits = labels["name"].map(split)
    return _in_order(labels.assign(split=splits))


def own_names(names: "pd.Series", images: Collection[str], where: str) -> "pd.Series":
    """Return the data set's own names of images that a table calls by any name, as in `ImageNames`.

    Args:
        names: as the table has them.
        images: the names of all images of the data set.
        where: name of the data set, for the message.

    Raises:
        DataError: an image that is not there; the message shows a name of each side. Or a name that could be one of several images.
    """
    known = ImageNames(images)
    own = names.map({name: known.find(name) for name in names.unique()})
    if own.isna().any():
        name = names[own.isna()].iloc[0]
        raise DataError(
            f"{where} has no image '{name}', its images are called such as '{known.example}': name the set that was rated"
        )
    return own


def _in_order(labels: "pd.DataFrame") -> "pd.DataFrame":
    return labels[[*LABEL_COLUMNS, *(["raters"] if "raters" in labels else [])]]


def read_labels(path: Path, data: Sequence[Path] = (), rules: Rules = DEFAULT_RULES) -> "pd.DataFrame":
    """Read a label file, or make labels from a ratings file: cleaned with `rules`, splits as in `with_splits`.

    Raises:
        DataError: as `read_ratings` and `clean`; a label out of range, an image labelled twice, or an unknown split.
    """
    import pandas as pd

    table = read_csv_table(path)
    if "mean" not in table.columns and "rating" in table.columns:
        images = [name for folder in data for name in image_names(read_manifest(folder))] if data else None
        return with_splits(image_labels(clean(_ratings_of(table), rules, images).ratings), *data)
    table.require(LABEL_COLUMNS)
    texts = {"name": table.texts("name"), "split": table.column("split")}
    texts |= {"raters": table.column("raters")} if "raters" in table.columns else {}
    frame = pd.DataFrame({**texts, **{column: np.array(table.numbers(column)) for column in ("mean", "std")}})
    bad = ~frame["mean"].between(LOWEST, HIGHEST) | ~(frame["std"] >= 0)
    if bad.any():
        row = frame[bad].iloc[0]
        raise DataError(
            f"{path} labels '{row['name']}' with {row['mean']:g} and {row['std']:g}: means lie in 0..10, std is 0 or more"
        )
    if frame["name"].duplicated().any():
        raise DataError(f"{path} labels '{frame['name'][frame['name'].duplicated()].iloc[0]}' twice: keep one line an image")
    unknown = sorted(set(frame["split"]) - set(SPLITS))
    if unknown:
        raise DataError(f"{path} has an unknown split '{unknown[0]}': allowed are {', '.join(SPLITS)}")
    return _in_order(frame)
