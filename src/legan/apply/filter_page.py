"""The page of a filtering: its best, worst and borderline pictures, in one file that opens from disk."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from legan import __version__
from legan.apply.crops import prepare
from legan.core.errors import ImageError
from legan.core.files import write_atomic
from legan.core.images import encode_photo
from legan.core.weights import asset

if TYPE_CHECKING:
    import pandas as pd

    from legan.apply.filter import Choice

N_SHOWN = 16  # pictures of each group


def write_page(table: "pd.DataFrame", paths: Mapping[str, Path], path: Path, choice: "Choice", size: int) -> None:
    """Write the page.

    Args:
        table: as `decide` gives it.
        paths: the pictures by their names in the table.
        path: the page to write.
        choice: what was asked for.
        size: side of the crops shown, in pixels.

    Raises:
        LeganError: the place cannot be written.
    """
    scored = table[table["score"].notna()].sort_values("score", ascending=False)
    kept, refused = scored[scored["kept"]], scored[~scored["kept"]]
    doubles = refused[refused["why"] == "near-duplicate"]
    n_edge = N_SHOWN // 2
    by_score = refused[refused["why"].isin(["below min-quality", "not among the share to keep"])]
    groups = {
        "Best": kept.head(N_SHOWN),
        "Worst": scored.tail(N_SHOWN)[::-1],
        "Borderline: just kept": kept.tail(n_edge)[::-1],
        "Borderline: just left out": by_score.head(n_edge),
        "Below the match bound, most natural first": refused[refused["why"] == "below min-match"].head(n_edge),
        "Near-duplicates left out": doubles.head(n_edge),
    }
    shown = {name: rows for name, rows in groups.items() if len(rows)}
    body = "".join(_section(name, _records(rows), paths, choice, size) for name, rows in shown.items())
    page = Template(asset("filter.html").read_text(encoding="utf-8")).substitute(
        lead=escape(_lead(table, choice)),
        sections=body,
        bars=_bars(scored["score"].tolist(), scored["kept"].tolist()),
        footer=escape(f"Made by legan {__version__}. Scores are a model's guess of how natural people find a face, 0 to 10."),
    )
    write_atomic(path, page.encode())


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _lead(table: "pd.DataFrame", choice: "Choice") -> str:
    bounds = {"keep": choice.keep, "min-quality": choice.min_quality, "min-match": choice.min_match}
    words = ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)
    return f"{int(table['kept'].sum())} of {len(table)} pictures kept ({words})."


def _section(name: str, rows: Sequence[dict[str, Any]], paths: Mapping[str, Path], choice: "Choice", size: int) -> str:
    figures = "".join(_figure(row, paths, choice, size) for row in rows)
    return f'<section><h2>{escape(name)}</h2><div class="faces">{figures}</div></section>\n'


def _figure(row: dict[str, Any], paths: Mapping[str, Path], choice: "Choice", size: int) -> str:
    name = str(row["image"])
    words = f"{row['score']:.2f}" + ("" if math.isnan(row["match"]) else f", match {row['match']:.2f}")
    why = f"<br>{escape(row['why'])}" if row["why"] else ""
    double = f"<br>of {escape(str(row['duplicate_of']))}" if row["duplicate_of"] else ""
    return (
        f'<figure><img src="{_uri(paths[name], choice, size)}" width="{size}" height="{size}" alt="{escape(name)}" loading="lazy">'
        f"<figcaption><strong>{words}</strong><br>{escape(name)}{why}{double}</figcaption></figure>"
    )


def _uri(path: Path, choice: "Choice", size: int) -> str:
    from PIL import Image

    try:
        crop = prepare(path, size, choice.faces).crop
    except ImageError:  # removed since it was scored
        crop = None
    if crop is None:
        return ""
    data = encode_photo(Image.fromarray(crop), "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _bars(scores: Sequence[float], kept: Sequence[bool], n: int = 40) -> str:
    """A histogram as an SVG picture: kept pictures dark on top of all pictures."""
    counts = [[0, 0] for _ in range(n)]
    for score, is_kept in zip(scores, kept, strict=True):
        bin_ = min(n - 1, int(score / 10 * n))
        counts[bin_][0] += 1
        counts[bin_][1] += is_kept
    top = max([total for total, _ in counts] + [1])
    bars = "".join(
        f'<rect class="{name}" x="{i * 16 + 1}" y="{160 - 150 * value / top:.1f}" width="14" height="{150 * value / top:.1f}"/>'
        for i, pair in enumerate(counts)
        for name, value in zip(("all", "kept"), pair, strict=True)
        if value
    )
    ticks = "".join(f'<text x="{i * 64}" y="178">{i}</text>' for i in range(11))
    return f'<svg viewBox="-8 0 664 184" role="img" aria-label="Histogram of the scores; the kept ones are dark">{bars}{ticks}</svg>'
