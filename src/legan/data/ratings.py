"""Ratings of images by people: reading, cleaning, and what they say about each image.

`ratings.csv` has one line an answer: `rater, image, rating (0..10, empty: skipped), seconds, order`. An image's label is the mean
and the standard deviation over its raters (LEGAN poster); a label file has `name, mean, std, split`, which IQA tools read.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.cells import escaped, unescaped
from legan.core.errors import DataError, nearest
from legan.core.files import write_atomic
from legan.core.manifest import SPLITS, image_names, read_manifest, split_of

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
        DataError: no such file, no CSV, a missing column, a rating that is no number or outside 0..10, or no answers.
    """
    frame = _read_csv(path)
    _need_columns(path, frame, COLUMNS[:3])
    frame = frame.reindex(columns=list(COLUMNS))
    for column in COLUMNS[2:]:
        frame[column] = _numbers(path, frame, column)
    rating = frame["rating"]
    wrong = (rating < LOWEST) | (rating > HIGHEST)
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{path} has the rating {rating.iloc[line]:g} in line {line + 2}: ratings go from 0 to 10, rescale them "
            "(7 answers, 1 = natural: (7 - answer) / 6 * 10)"
        )
    if frame.empty:
        raise DataError(f"{path} holds no answers")
    return frame


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
        images: the images that exist; answers about others are dropped. None: all are taken as they are.
        gold: `image, low, high`: images whose rating is known to lie there; they check the raters and are then left out.

    Raises:
        DataError: nothing is left, or no answer is about a known image.
    """
    counts: dict[str, int] = {}

    def drop(frame: "pd.DataFrame", reason: str, out: "pd.Series") -> "pd.DataFrame":
        if out.any():
            counts[reason] = int(out.sum())
        return frame[~out]

    # Whoever skips an image and rates it after all has rated it once.
    by_answer = ratings.assign(skipped=ratings["rating"].isna())
    kept = drop(ratings, "duplicate", by_answer.duplicated(["rater", "image", "skipped"]))
    if images is not None:
        unknown = ~kept["image"].isin(set(images))
        if unknown.all():
            raise DataError(
                f"no rated image is in the data set, such as '{kept['image'].iloc[0]}': name the set that was rated"
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
    frame = _read_csv(path)
    _need_columns(path, frame, ("image", "low", "high"))
    for column in ("low", "high"):
        frame[column] = _numbers(path, frame, column)
    return frame


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
        splits = labels["name"].map(split)
        if splits.isna().any():
            name = labels["name"][splits.isna()].iloc[0]
            raise DataError(f"{' and '.join(map(str, data))} has no image '{name}': name the data set that was rated")
    return _in_order(labels.assign(split=splits))


def _in_order(labels: "pd.DataFrame") -> "pd.DataFrame":
    return labels[[*LABEL_COLUMNS, *(["raters"] if "raters" in labels else [])]]


def read_labels(path: Path, data: Sequence[Path] = (), rules: Rules = DEFAULT_RULES) -> "pd.DataFrame":
    """Read a label file, or make labels from a ratings file: cleaned with `rules`, splits as in `with_splits`.

    Raises:
        DataError: as `read_ratings` and `clean`; a label out of range, an image labelled twice, or an unknown split.
    """
    frame = _read_csv(path)
    if "mean" not in frame and "rating" in frame:
        images = [name for folder in data for name in image_names(read_manifest(folder))] if data else None
        return with_splits(image_labels(clean(read_ratings(path), rules, images).ratings), *data)
    _need_columns(path, frame, LABEL_COLUMNS)
    for column in ("mean", "std"):
        frame[column] = _numbers(path, frame, column)
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


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        frame = pd.read_csv(io.StringIO(text), dtype={name: str for name in ("rater", "image", "name", "split")})
        for name in frame.columns.intersection(["rater", "image", "name"]):
            frame[name] = frame[name].map(unescaped, na_action="ignore")
        return frame
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the name") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no CSV file ({str(error).strip()}): save it as comma-separated text") from error


def _need_columns(path: Path, frame: "pd.DataFrame", columns: Collection[str]) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(f"{path} lacks the column '{missing[0]}'{nearest(missing[0], map(str, frame.columns))}")
    for name in ("rater", "image", "name"):
        if name in columns and frame[name].isna().any():
            raise DataError(f"{path} has no {name} in line {int(frame[name].isna().to_numpy().argmax()) + 2}")


def _numbers(path: Path, frame: "pd.DataFrame", column: str) -> "pd.Series":
    import pandas as pd

    values = pd.to_numeric(frame[column], errors="coerce").astype(np.float64)
    wrong = values.isna() & frame[column].notna()
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise DataError(f"{path} has the {column} '{frame[column].iloc[line]}' in line {line + 2}: give a number")
    return values
