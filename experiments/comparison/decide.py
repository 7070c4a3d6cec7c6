"""Decides the poster's claims from the reports of several seeds: what the quality loss changes, and whether LEGAN is best.

    python experiments/comparison/decide.py --report runs/report-0 --report runs/report-1 --out experiments/comparison/results/64

Each `--report` is what report.py left for one seed, over the same edits; a model that not all seeds have is judged by those that have it.
Models of a seed that were measured apart follow in the same option, `--report runs/report-0 runs/report-0-more`: their report has to
give doing nothing the same figures, edit by edit, or it is of other images or judges, and refused.
OUT gets `decision.md`, `decision.tex`, `decision.json` and `curves.png`: a table of all models (one whose copies of held-out images,
under the condition that they have, stay below SSIM 0.85 on a data set is marked "not converged" there), the paired differences, each claim
beside the poster's numbers, the correlations of the quality score over all models, seeds and snapshots, and every figure against images
seen, a point for each seed.

Intervals are 95%: seeds and people are drawn with replacement, independently of each other, and each draw of edits is averaged over
the seeds drawn (the crossed bootstrap of Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007). With one seed they are
over people alone, and the table says so. FID has no value for a single edit: its values stand seed by seed, and its ratio has a t
interval of the logarithm over seeds.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from report import DRAWN, draw
from scipy.stats import t as student

from legan.core.errors import DataError, LeganError
from legan.core.files import make_folder, write_atomic
from legan.evaluation.evaluators import IMAGE_METRICS
from legan.evaluation.measure import INPUT, REAL
from legan.evaluation.statistics import METRICS, labels
from legan.metrics.agreement import Interval

CONVERGED = 0.85  # SSIM of copies
ALIKE = 0.1  # of the standard deviation over edits: by how much another machine may measure one edit otherwise
NOT_CONVERGED = " **not converged**"
# What each claim compares, as the poster has it: model, baseline.
CLAIMS = {
    "the quality loss improves StarGAN": ("stargan-qual", "stargan"),
    "the quality loss improves LEGAN": ("legan", "legan-noqual"),
    "LEGAN is better than StarGAN": ("legan", "stargan"),
    "LEGAN is better than StarGAN with the quality loss": ("legan", "stargan-qual"),
    "the game of the table does not wrong StarGAN": ("stargan", "stargan-official"),
}
# The poster's table (FID of Inception's features, LPIPS): what its claims rest on. It has no LEGAN without the quality loss.
POSTER = {
    "stargan": {"fid": 38.745, "lpips": 0.126, "ssim": 0.559, "match": 0.635, "quality": 5.200},
    "stargan-qual": {"fid": 34.045, "lpips": 0.123, "ssim": 0.567, "match": 0.647, "quality": 5.391},
    "legan": {"fid": 29.964, "lpips": 0.120, "ssim": 0.649, "match": 0.649, "quality": 5.853},
}
N_DRAWS = 2000


def crossed_interval(values: np.ndarray, people: np.ndarray, seed: int = 0) -> Interval:
    """Mean of values (S, n) of S seeds by n edits, and its interval over seeds and people (n,)."""
    _, person = np.unique(people, return_inverse=True)
    n_seeds, n_people = len(values), int(person.max()) + 1
    known = np.isfinite(values)
    totals = np.stack([np.bincount(person, np.where(known[s], values[s], 0.0), n_people) for s in range(n_seeds)])
    counts = np.stack([np.bincount(person, known[s].astype(float), n_people) for s in range(n_seeds)])
    random = np.random.default_rng(seed)
    seeds = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), N_DRAWS)  # (N, S), how often each is drawn
    drawn = random.multinomial(n_people, np.full(n_people, 1 / n_people), N_DRAWS)  # (N, P)
    sums = np.einsum("ns,sp,np->n", seeds, totals, drawn) / np.einsum("ns,sp,np->n", seeds, counts, drawn)
    low, high = np.percentile(sums, (2.5, 97.5))
    return Interval(float(totals.sum() / counts.sum()), float(low), float(high))


def ratio_interval(ratios: Sequence[float]) -> Interval:
    """Geometric mean of the ratios of several seeds, and its t interval over them; without bounds where there is one seed."""
    logs = np.log(ratios)
    if len(logs) < 2:
        return Interval(float(np.exp(logs.mean())), float("nan"), float("nan"))
    reach = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Interval(*map(float, np.exp([logs.mean(), logs.mean() - reach, logs.mean() + reach])))


def verdict(found: Interval, level: float, more_is_better: bool) -> str:
    """Whether an interval lies wholly on the better or the worse side of a level."""
    above, below = found.low > level, found.high < level
    better, worse = (above, below) if more_is_better else (below, above)
    return "better" if better else "worse" if worse else "undecided"


class Report(NamedTuple):
    """What report.py left in a folder."""

    folder: Path
    report: dict[str, Any]
    images: pd.DataFrame
    copies: pd.DataFrame
    curves: pd.DataFrame


def _read(folder: Path) -> Report:
    report = json.loads((folder / "report.json").read_text())
    return Report(folder, report, *(pd.read_csv(folder / f"{name}.csv") for name in ("images", "copies", "curves")))


def _check_alike(first: Report, other: Report) -> None:
    """Raise DataError where two reports of a seed are of other edits, or measure them otherwise."""
    both = sorted({*first.copies["model"]} & {*other.copies["model"]})
    if both:
        raise DataError(f"{first.folder} and {other.folder} both have {', '.join(both)}")
    ends = [int(part.copies["images"].max()) for part in (first, other)]
    if ends[0] != ends[1]:
        raise DataError(f"{first.folder} is of {ends[0]:,} images, {other.folder} of {ends[1]:,}")
    keys = ["data", "number", "source", "expression", "lighting"]
    ours, theirs = (part.images[part.images["model"] == INPUT].reset_index(drop=True) for part in (first, other))
    if not ours[keys].equals(theirs[keys]):
        raise DataError(f"{other.folder} is of other edits than {first.folder}: give report.py the same data sets and --n")
    for name in IMAGE_METRICS:
        apart, spread = (ours[name] - theirs[name]).abs().mean(), ours[name].std()
        if apart > ALIKE * spread:
            raise DataError(
                f"{first.folder} and {other.folder} give the same edits of doing nothing another {name}, by {apart / spread:.2f} of its"
                " standard deviation: they are of other images or other networks"
            )


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of models one after another; the references, which all have, once."""
    return pd.concat([tables[0], *(table[~table["model"].isin((INPUT, REAL))] for table in tables[1:])], ignore_index=True)


class Seeds:
    """The reports of several seeds over the same edits."""

    def __init__(self, folders: Sequence[Sequence[Path]]) -> None:
        parts = [[_read(folder) for folder in of_seed] for of_seed in folders]
        for first, *others in parts:
            for other in others:
                _check_alike(first, other)
        self.reports = [of_seed[0].report for of_seed in parts]
        self.models_of = [[row for part in of_seed for row in part.report["models"]] for of_seed in parts]
        self.images = [_together([part.images for part in of_seed]) for of_seed in parts]
        copies = [pd.concat([part.copies for part in of_seed]) for of_seed in parts]
        self.copies = [
            table[table["images"] == table["images"].max()] for table in copies
        ]  # at the end, not along the training
        self.curves = [_together([part.curves for part in of_seed]) for of_seed in parts]
        self.data = list(dict.fromkeys(self.images[0]["data"]))
        self.models = list(dict.fromkeys(name for table in self.copies for name in table["model"]))
        self.heads = labels(self.reports[0]["networks"])

    def having(self, *models: str) -> list[int]:
        """The seeds, by their places, that have all these models; doing nothing is in all of them."""
        return [at for at, table in enumerate(self.copies) if {*models} <= {INPUT, *table["model"]}]

    def values(self, data: str, model: str, metric: str, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A metric of each edit, (S, n), and the person of each, (n,)."""
        tables = [self.images[at] for at in seeds]
        tables = [
            table[(table["data"] == data) & (table["model"] == model)].set_index("number").sort_index() for table in tables
        ]
        assert all(table.index.equals(tables[0].index) for table in tables), "the reports are of other edits"
        people = tables[0]["source"].str.split("/").str[0].to_numpy()
        return np.stack([table[metric].to_numpy(float) for table in tables]), people

    def distance(self, data: str, model: str, metric: str, seeds: Sequence[int]) -> list[float | None]:
        """FID or KID of each seed."""
        rows = [
            next(row for row in rows if (row["name"], row["data"]) == (model, data))
            for rows in ([*self.models_of[at], *self.reports[at]["references"]] for at in seeds)
        ]
        return [row["metrics"][metric]["value"] for row in rows]

    def copy(self, data: str, model: str, seeds: Sequence[int]) -> list[float]:
        """SSIM of the model's copies, of each seed."""
        tables = [self.copies[at] for at in seeds]
        return [float(table[(table["data"] == data) & (table["model"] == model)]["ssim"].iloc[0]) for table in tables]


def table_of(seeds: Seeds, data: str) -> list[list[str]]:
    """The models on one data set, a row of cells each, the heading first."""
    metrics = [name for name in IMAGE_METRICS if name != "psnr"]
    heads = ["model", "seeds", "copies, SSIM", "FID", *(seeds.heads[name] for name in metrics)]
    rows = [heads]
    for model in [INPUT, *seeds.models]:
        own = seeds.having(model)
        copies = [] if model == INPUT else seeds.copy(data, model, own)
        mark = "" if all(value >= CONVERGED for value in copies) else NOT_CONVERGED
        fids = [value for value in seeds.distance(data, model, "fid", own) if value is not None]
        cells = [
            "doing nothing" if model == INPUT else model,
            "" if model == INPUT else str(len(own)),
            _several(copies, 3) + mark,
            _several(fids[: 1 if model == INPUT else None], 1),
        ]
        for name in metrics:
            values, people = seeds.values(data, model, name, own)
            cells.append(_shown(crossed_interval(values, people), METRICS[name].digits) if np.isfinite(values).any() else "")
        rows.append(cells)
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]]


def latex(tables: dict[str, list[list[str]]]) -> str:
    """The tables of all data sets as one of LaTeX (needs booktabs); a model that cannot copy has a dagger."""
    heads = next(iter(tables.values()))[0]
    lines = [r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}", r"\toprule", _tex_row(heads)]
    for data, rows in tables.items():
        lines += [r"\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{{_tex(data)}}} \\"]
        lines += [_tex_row(cells) for cells in rows[1:]]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"% \dag: " + NOT_CONVERGED.strip(" *"), ""])


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(text: str) -> str:
    text = re.sub(r"(?<![\w])-(?=\d)", "$-$", text.replace("_", r"\_").replace("%", r"\%"))
    return text.replace(NOT_CONVERGED, r"\dag")


def claims_of(seeds: Seeds) -> tuple[list[str], list[dict[str, Any]]]:
    """What each claim's two models differ by, in Markdown and as rows."""
    metrics = [name for name in IMAGE_METRICS if name != "psnr"]
    lines = [f"| claim | data | seeds | FID ratio, each seed | {' | '.join(seeds.heads[name] for name in metrics)} |"]
    lines.append("| --- " * (4 + len(metrics)) + "|")
    rows: list[dict[str, Any]] = []
    for claim, (model, other) in CLAIMS.items():
        own = seeds.having(model, other)
        if not own:
            continue
        for data in seeds.data:
            pairs = zip(*(seeds.distance(data, one, "fid", own) for one in (model, other)), strict=True)
            ratios = [a / b for a, b in pairs if a is not None and b]
            cells, row = [], {"claim": claim, "data": data, "n_seeds": len(own), "fid_ratio": ratios}
            row["fid"] = {**asdict(ratio := ratio_interval(ratios)), "verdict": verdict(ratio, 1, more_is_better=False)}
            for name in metrics:
                (a, people), (b, _) = (seeds.values(data, one, name, own) for one in (model, other))
                if not np.isfinite(a - b).any():
                    cells.append("")
                    continue
                found = crossed_interval(a - b, people)
                row[name] = {**asdict(found), "verdict": verdict(found, 0, METRICS[name].more_is_better)}
                cells.append(f"{_shown(found, METRICS[name].digits, '+')} {row[name]['verdict']}")
            lines.append(f"| {claim} ({model} - {other}) | {data} | {len(own)} | {_several(ratios, 2)} | {' | '.join(cells)} |")
            rows.append(row)
    return lines, rows


def against_poster(seeds: Seeds, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each claim that the poster has numbers for, in words, beside them: holds, does not hold, or undecided."""
    words = {"better": "**holds**", "worse": "**does not hold**", "undecided": "undecided"}
    lines = []
    for row in rows:
        model, other = CLAIMS[row["claim"]]
        if not {model, other} <= POSTER.keys():
            continue
        said = []
        for name in (name for name in DRAWN if name in row):
            poster, fid = [POSTER[one][name] for one in (model, other)], name == "fid"
            here = Interval(row[name]["value"], row[name]["low"], row[name]["high"])
            digits = 2 if fid else METRICS[name].digits
            effect = f"{poster[0] / poster[1]:.2f}" if fid else f"{poster[0] - poster[1]:+.{digits}f}"
            head = "FID ratio" if fid else seeds.heads[name]
            said.append(
                f"{head} {_shown(here, digits, '' if fid else '+')} (the poster: {effect}): {words[row[name]['verdict']]}"
            )
        claim = row["claim"][0].upper() + row["claim"][1:]
        lines.append(f"- {claim}, `{row['data']}`, seeds: {row['n_seeds']}. {'; '.join(said)}.")
    return lines


def correlations(seeds: Seeds) -> list[str]:
    """Quality score against FID and layer distance over all models, seeds and snapshots, in Markdown."""
    table = pd.concat([curve.assign(seed=s) for s, curve in enumerate(seeds.curves)])
    table = table[table["model"] != INPUT]
    table[["data", "metric"]] = table["figure"].str.rsplit("/", n=1, expand=True)
    wide = table.pivot_table(index=["data", "seed", "model", "images"], columns="metric", values="value").reset_index()
    lines = ["| data | quality with | n | Pearson | Spearman |", "| --- " * 5 + "|"]
    for data, rows in wide.groupby("data", sort=False):
        for metric in ("fid", "lpips"):
            pair = rows[["quality", metric]].dropna()
            pearson, spearman = (pair.corr(kind).iloc[0, 1] for kind in ("pearson", "spearman"))
            lines.append(f"| {data} | {seeds.heads[metric]} | {len(pair)} | {pearson:.2f} | {spearman:.2f} |")
    return lines


def _several(values: Sequence[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _shown(found: Interval, digits: int, sign: str = "") -> str:
    return f"{found.value:{sign}.{digits}f} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def main() -> None:
    """Read the command line and write the decision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        nargs="+",
        required=True,
        help="of one seed: the folder, or several of its models",
    )
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    try:
        seeds = Seeds(words.report)
    except LeganError as error:
        sys.exit(f"error: {error}")
    over = (
        "seeds and people; of a model with one seed, over people alone"
        if len(words.report) > 1
        else "people; one seed, so that nothing here says what another seed would do"
    )
    n_images, judge = int(seeds.copies[0]["images"].iloc[0]), seeds.reports[0]["networks"]["quality"]
    claims, rows = claims_of(seeds)
    lines = [
        f"{len(words.report)} seed{'s' * (len(words.report) > 1)}, {n_images:,} images each; 95% intervals over {over}.",
        f"Quality is judged by a Q of sha256 {judge['sha256'][:12]}.",
    ]
    tables = {data: table_of(seeds, data) for data in seeds.data}
    for data, table in tables.items():
        n = len(seeds.values(data, INPUT, "quality", seeds.having(INPUT))[1])
        lines += ["", f"`{data}`, n = {n} edits a model and seed:", "", *markdown(table)]
    lines += ["", "Paired differences over the same edits:", "", *claims]
    lines += [
        "",
        "Beside the poster's (intervals over seeds and people; of the FID ratio over seeds):",
        "",
        *against_poster(seeds, rows),
    ]
    lines += ["", "Over all models, seeds and snapshots:", "", *correlations(seeds)]
    make_folder(words.out)
    write_atomic(words.out / "decision.md", ("\n".join(lines) + "\n").encode())
    write_atomic(words.out / "decision.tex", latex(tables).encode())
    write_atomic(words.out / "decision.json", (json.dumps(rows, indent=1) + "\n").encode())
    draw(pd.concat(seeds.curves), seeds.heads, words.out / "curves.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
