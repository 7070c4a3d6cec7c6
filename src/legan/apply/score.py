"""Score pictures and folders: how natural people would find each face, in order, resumable."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from legan.apply.crops import FACES, Faces, Prepared, grouped, list_pictures, prepare_many, unreadable
from legan.apply.journal import Journal
from legan.apply.progress import shown_progress
from legan.apply.quality import QualityScorer, load_quality
from legan.core.cells import escaped
from legan.core.errors import ConfigError, no_such
from legan.core.files import atomic_write, check_ending, make_folder
from legan.core.names import utf8_name
from legan.models.quality import TOP_SCORE

BATCH_SIZE = 64
COLUMNS = ("image", "score", "spread", "reason")


@dataclass(frozen=True)
class Scored:
    """A picture's score (0..10) and the spread expected among raters; both NaN with a reason where there is no face."""

    image: str
    score: float
    spread: float
    reason: str = ""
    readable: bool = True

    def as_json(self) -> dict[str, object]:
        """As plain values; NaN becomes None, which JSON has a word for."""
        score, spread = (None if math.isnan(value) else round(value, 4) for value in (self.score, self.spread))
        return {"image": self.image, "score": score, "spread": spread, "reason": self.reason}

    def row(self) -> dict[str, str]:
        """As text for a table."""
        return {"image": self.image, "score": f"{self.score:.4f}", "spread": f"{self.spread:.4f}", "reason": self.reason}


def score_prepared(scorer: QualityScorer, group: Sequence[Prepared]) -> list[Scored]:
    """Score one group of prepared pictures, in order."""
    import numpy as np

    crops = [one.crop for one in group if one.crop is not None]
    output = scorer.predict_crops(np.stack(crops)) if crops else None
    values = iter(zip(output.score.tolist(), _spreads(output.spread, len(crops)), strict=True)) if output else iter(())
    found = []
    for one in group:
        score, spread = next(values) if one.crop is not None else (math.nan, math.nan)
        found.append(Scored(utf8_name(str(one.path)), score, spread, utf8_name(one.reason), one.readable))
    return found


def _spreads(spread: "object", n: int) -> list[float]:
    return [math.nan] * n if spread is None else spread.tolist()  # type: ignore[attr-defined]


def score_files(scorer: QualityScorer, paths: Iterable[Path], faces: Faces = "auto") -> Iterator[list[Scored]]:
    """Score files, a batch at a time, in the order of `paths`."""
    check_faces(faces)
    for group in grouped(prepare_many(paths, scorer.size, faces), BATCH_SIZE):
        yield score_prepared(scorer, group)


def score_pictures(
    places: Sequence[Path],
    out: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    faces: Faces = "auto",
    plot: Path | None = None,
) -> list[Scored]:
    """Score pictures and folders of pictures.

    Args:
        places: picture files, and folders that are walked.
        out: a table that is written as the work goes on; pictures that it holds already are not scored again, unless they
            could not be read, or their files have changed since.
        weights, device: as for `load_quality`.
        faces: as for `prepare`.
        plot: a PNG file for a histogram of the scores.

    Raises:
        LeganError: no pictures, weights that cannot be used, a table of other weights, or one that another process writes.
    """
    check_faces(faces)
    if plot is not None:
        check_ending(plot, ".png")
    paths = list_pictures(places)
    scorer = load_quality(weights, device)
    names = {path: utf8_name(path) for path in paths}
    with Journal(out, COLUMNS, {"weights": scorer.checksum[:12], "faces": faces}) as journal:
        todo = journal.missing({name: path for path, name in names.items()}, unreadable)
        with shown_progress("scoring", len(todo)) as advance:
            for batch in score_files(scorer, todo, faces):
                journal.add(scored.row() for scored in batch)
                for _ in batch:
                    advance()
    rows = [journal.rows[name] for name in names.values()]
    found = [
        Scored(row["image"], float(row["score"]), float(row["spread"]), row["reason"], not unreadable(row)) for row in rows
    ]
    if plot is not None:
        plot_histogram([scored.score for scored in found], plot)
    return found


def as_csv(found: Sequence[Scored]) -> str:
    """Scores as CSV text with a heading."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escaped(value) for name, value in scored.row().items()} for scored in found)
    return buffer.getvalue().rstrip("\n")


def in_words(found: Sequence[Scored]) -> str:
    """Scores as lines for people: score, spread, picture."""
    return "\n".join(
        f"{scored.image}: no score, {scored.reason}"
        if math.isnan(scored.score)
        else f"{scored.score:5.2f}" + ("" if math.isnan(scored.spread) else f" ±{scored.spread:.2f}") + f"  {scored.image}"
        for scored in found
    )


def plot_histogram(scores: Sequence[float], path: Path) -> None:
    """Draw how the scores are spread, as a PNG file.

    Raises:
        ConfigError: a name that does not end in .png.
        LeganError: the place cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_ending(path, ".png")
    known = [score for score in scores if not math.isnan(score)]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(known, bins=40, range=(0, TOP_SCORE), color="#a3480f")
    if known:
        mean = sum(known) / len(known)
        axes.axvline(mean, color="#23211d", linewidth=1)
        axes.annotate(f"mean {mean:.2f}", (mean, 0.93), (4, 0), xycoords=("data", "axes fraction"), textcoords="offset points")
    axes.set(
        xlim=(0, TOP_SCORE), xlabel="naturalness score", ylabel="images", title=f"{len(known)} of {len(scores)} images scored"
    )
    axes.spines[["top", "right"]].set_visible(False)
    make_folder(Path(path).parent)
    with atomic_write(Path(path)) as file:
        FigureCanvasAgg(figure).print_png(file)


def check_faces(faces: str) -> None:
    """Check a word for `faces`.

    Raises:
        ConfigError: an unknown one.
    """
    if faces not in FACES:
        raise ConfigError(no_such("--faces", faces, FACES))
