"""Results of an evaluation as tables, JSON, charts and one page."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from legan.core.conditions import Classes
from legan.core.config import parse_json
from legan.core.errors import DataError, nearest
from legan.core.files import write_atomic
from legan.core.pages import data_uri, fill_template, write_page
from legan.core.table import escaped
from legan.evaluation.evaluators import IMAGE_METRICS
from legan.evaluation.measure import INPUT, REAL, Measured
from legan.evaluation.statistics import METRICS, PREFERENCE, labels

# The report of an evaluation as files: report.json, and its table as Markdown, LaTeX and CSV.


Report = dict[str, Any]
TABLES = ("table.md", "table.tex", "table.csv")


def write_report(report: Report, out: Path) -> None:
    """Write report.json and the tables.

    Raises:
        LeganError: the folder cannot be written.
    """
    write_atomic(out / "report.json", (json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    for name, text in zip(TABLES, (markdown(report), latex(report), as_csv(report)), strict=True):
        write_atomic(out / name, text.encode())


def add_preference(rows: Sequence[dict[str, Any]], path: Path) -> dict[str, Any]:
    """Put the shares of a preference study into the models' rows; return what the study says of itself.

    Raises:
        DataError: not such a file, or none of its models is here.
    """
    try:
        study = parse_json(path.read_text(encoding="utf-8"))
        shares = {
            model["name"]: {key: float(model["share"][key]) for key in ("value", "low", "high")} for model in study["models"]
        }
        facts = {key: study[key] for key in ("n_answers", "n_raters", "ties", "none")} | {
            "simulated": bool(study.get("simulated", False))
        }
        kind = study["kind"]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name the preference.json that `legan study export` wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a preference.json of `legan study export` ({error!r})") from error
    names = [row["name"] for row in rows]
    if kind != PREFERENCE:
        raise DataError(f"{path} is of a study of the kind '{kind}': name the export of a preference study")
    if not set(shares) & set(names):
        other = next(iter(shares), "")
        raise DataError(
            f"{path} rates {', '.join(shares) or 'no model'} and none of {', '.join(names)}: name the editors as the study "
            f"does, --editor NAME=FILE{nearest(other, names)}"
        )
    for row in rows:
        if row["name"] in shares:
            row["metrics"][PREFERENCE] = {**shares[row["name"]], "n": facts["n_answers"]}
    return facts


def best(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Return the best value of each metric among the models of each data set that has at least two, by (data, metric).

    A model that does not edit is not among them: what it leaves as it is looks natural, and like its person.
    """
    found = {}
    for data in {row["data"] for row in rows}:
        for name, metric in METRICS.items():
            known = [row for row in rows if row["data"] == data and row["metrics"][name]["value"] is not None]
            values = [row["metrics"][name]["value"] for row in known if row["edits"]]
            if len(known) > 1 and values:
                found[data, name] = max(values) if metric.more_is_better else min(values)
    return found


def shown_metrics(report: Report) -> list[str]:
    """Names of the metrics that some row has; preference always, as its column shows what is still to come."""
    rows = [*report["references"], *report["models"]]
    return [name for name in METRICS if name == PREFERENCE or any(row["metrics"][name]["value"] is not None for row in rows)]


def headings(report: Report) -> dict[str, str]:
    """Headings of the metrics, as `statistics.labels`."""
    return labels(report["networks"], report["preference"].get("simulated", False))


def cell(row: Mapping[str, Any], name: str, interval: bool = True) -> str:
    """A metric in words: `0.753 [0.720, 0.780]`, or a dash."""
    entry, digits = row["metrics"][name], METRICS[name].digits
    if entry["value"] is None:
        return "-"
    digits = digits if abs(entry["value"]) < 10 else min(digits, 2)
    text = f"{entry['value']:.{digits}f}"
    return f"{text} [{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]" if interval and entry["low"] is not None else text


def ordered(report: Report) -> list[Mapping[str, Any]]:
    """All rows, by data set, the references first."""
    rows = [*report["references"], *report["models"]]
    data = list(dict.fromkeys(row["data"] for row in rows))
    return sorted(rows, key=lambda row: data.index(row["data"]))


def markdown(report: Report) -> str:
    """The table as Markdown: best model in bold, 95% intervals, and what the networks were."""
    names, heads, winners = shown_metrics(report), headings(report), best(report["models"])
    arrows = {name: "↑" if METRICS[name].more_is_better else "↓" for name in names}
    lines = ["| model | data | n | " + " | ".join(f"{heads[name]} {arrows[name]}" for name in names) + " |"]
    lines.append("| --- " * (len(names) + 3) + "|")
    for row in ordered(report):
        cells = [f"**{cell(row, name)}**" if is_best(report, row, name, winners) else cell(row, name) for name in names]
        lines.append("| " + " | ".join([row["name"], row["data"], str(row["n"]), *cells]) + " |")
    return "\n".join([*lines, "", *(f"{line}  " for line in explanations(report)), ""])


def latex(report: Report) -> str:
    """The table as LaTeX (needs booktabs)."""
    names, heads, winners = shown_metrics(report), headings(report), best(report["models"])
    arrows = {name: r"$\uparrow$" if METRICS[name].more_is_better else r"$\downarrow$" for name in names}
    head = " & ".join(["model", "data", "$n$", *(f"{_escaped(heads[name])} {arrows[name]}" for name in names)])
    lines = [*(f"% {line}" for line in explanations(report)), r"\begin{tabular}{llr" + "r" * len(names) + "}", r"\toprule"]
    lines += [head + r" \\", r"\midrule"]
    for row in ordered(report):
        cells = [_tex(cell(row, name, interval=False), is_best(report, row, name, winners)) for name in names]
        lines.append(" & ".join([_escaped(row["name"]), _escaped(row["data"]), str(row["n"]), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def as_csv(report: Report) -> str:
    """The table as CSV: for each metric its value and the bounds of its interval, empty where there is none."""
    names = list(METRICS)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "data", "n", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))])
    for row in ordered(report):
        entries = [row["metrics"][name][key] for name in names for key in ("value", "low", "high")]
        writer.writerow(
            [escaped(row["name"]), escaped(row["data"]), row["n"], *("" if entry is None else entry for entry in entries)]
        )
    return buffer.getvalue()


def explanations(report: Report) -> list[str]:
    """What a reader of the table must know, a sentence each."""
    networks, settings = report["networks"], report["settings"]
    used = "; ".join(f"{what}: {facts.get('name', 'Q')} (sha256 {facts['sha256'][:12]})" for what, facts in networks.items())
    idle = [f"{row['name']} on {row['data']}" for row in report["models"] if not row["edits"]]
    is_asked = any(row["metrics"]["edited"]["value"] is not None for row in report["models"])
    return [
        f"n images a row, seed {settings['seed']}; 95% intervals over people; best model in bold.",
        *(
            ["Edit seen: share of edits in which a classifier sees the expression and the lighting asked for."]
            if is_asked
            else []
        ),
        *([f"Not in bold, as no edit is seen that doing nothing does not show: {', '.join(idle)}."] if idle else []),
        f"Networks: {used}.",
        *report["notes"],
    ]


def is_best(report: Report, row: Mapping[str, Any], name: str, winners: Mapping[tuple[str, str], float]) -> bool:
    """Return whether a row's value of a metric is the best of `winners`, as `best` gives them."""
    is_model = row in report["models"] and row["edits"]
    return is_model and row["metrics"][name]["value"] == winners.get((row["data"], name), object())


def _tex(text: str, is_best: bool) -> str:
    text = "--" if text == "-" else text.replace("-", "$-$")
    return rf"\textbf{{{text}}}" if is_best else text


def _escaped(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, f"\\{character}")
    return text


# Scatter charts as SVG that take the colours of the page they stand in.


N_COLOURS = 8  # classes c0 .. c7 of the page's style
MAX_DOTS = 500  # of one series; more would make a page heavy and show no more
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330, 250, 52, 10, 8, 40


class Series(NamedTuple):
    """Points of one colour: `label`, coordinates, and whether the label stands beside its points."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    is_named: bool = False


class _Axis(NamedTuple):
    low: float
    high: float
    start: float  # pixels
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def scatter(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Return a chart as SVG, safe to insert into a page; points that are not finite must be left out before."""
    xs, ys = [x for one in series for x in one.xs], [y for one in series for y in one.ys]
    if not xs:
        return ""
    x_axis, y_axis = _axis(xs, LEFT, WIDTH - RIGHT), _axis(ys, HEIGHT - BOTTOM, TOP)
    return fill_template(
        "scatter.svg",
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        x_label=x_label,
        y_label=y_label,
        x_ticks=_tick_labels(x_axis),
        y_ticks=_tick_labels(y_axis),
        series=[_dots(one, x_axis, y_axis) for one in series],
    )


def _tick_labels(axis: _Axis) -> list[tuple[float, str]]:
    return [(round(axis(tick), 1), f"{tick:g}") for tick in ticks(axis.low, axis.high)]


def _dots(series: Series, x_axis: _Axis, y_axis: _Axis) -> dict[str, Any]:
    points = [(round(x_axis(x), 1), round(y_axis(y), 1)) for x, y in zip(series.xs, series.ys, strict=True)][:MAX_DOTS]
    return {"colour": series.colour % N_COLOURS, "points": points, "name": series.label if series.is_named else ""}


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About `n` round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / n))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= n + 1.5)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or max(abs(low) * 0.1, 0.1)
    return _Axis(low - margin, high + margin, start, end)


# The page of an evaluation, in one file that opens from disk: table, samples side by side, quality against metrics, breakdown.


_CLASSES = {INPUT: "input", REAL: "real"}


def write_report_page(report: Report, heads: Mapping[str, str], measured: Sequence[Measured], path: Path) -> None:
    """Write the page.

    Args:
        report: the content of report.json.
        heads: headings of the metrics.
        measured: evaluation sets with their measurements.
        path: the page to write.

    Raises:
        LeganError: the file cannot be written.
    """
    data = ", ".join(f"{one.evaluation_set.name} ({len(one.evaluation_set)} images)" for one in measured)
    names = ", ".join(dict.fromkeys(row["name"] for row in report["models"]))
    write_page(
        path,
        "evaluate.html",
        lead=f"{names} on {data}, seed {report['settings']['seed']}.",
        several=len({row["data"] for row in ordered(report)}) > 1,
        table=_table(report, heads),
        explanations=explanations(report),
        sets=[
            {
                "suffix": f": {one.evaluation_set.name}" if len(measured) > 1 else "",
                "samples": _samples(one),
                "models": _models(report, heads, one),
                "images": _images(report, heads, one),
                "breakdown": _breakdown(report, heads, one),
            }
            for one in measured
        ],
    )


def _table(report: Report, heads: Mapping[str, str]) -> dict[str, Any]:
    names, winners = shown_metrics(report), best(report["models"])
    arrows = {True: "↑", False: "↓"}
    rows = []
    for row in ordered(report):
        cells = []
        for name in names:
            value = cell(row, name, interval=False)
            bounds = cell(row, name).removeprefix(value).strip()
            cells.append({"value": value, "bounds": bounds, "is_best": is_best(report, row, name, winners)})
        about = {"name": row["name"], "data": row["data"], "n": row["n"], "is_reference": row in report["references"]}
        rows.append({**about, "cells": cells})
    return {"heads": [f"{heads[name]}\N{NO-BREAK SPACE}{arrows[METRICS[name].more_is_better]}" for name in names], "rows": rows}


def _samples(one: Measured) -> dict[str, Any]:
    """A row for each sample: the source, the target condition, each model's image, the true image."""
    evaluation_set = one.evaluation_set
    shown = {c.name: arrays["shown"] for c, arrays in zip(one.candidates, one.arrays, strict=True)}
    models = [candidate.name for candidate in one.candidates if candidate.is_model]
    n = len(shown[INPUT])
    has_truth = evaluation_set.truth[:n] >= 0
    truths = evaluation_set.library.images(np.maximum(evaluation_set.truth[:n], 0))
    has_target = evaluation_set.target is not None
    heads = ["input", *(["target"] if has_target else []), *models, *(["truth"] if has_truth.any() else [])]
    rows = []
    for k in range(n):
        cells = [_image(shown[INPUT][k], evaluation_set.names[k])]
        if evaluation_set.target is not None:
            expression, lighting = evaluation_set.target[k]
            cells.append({"lines": _condition(expression, lighting, evaluation_set.classes)})
        cells += [_image(shown[name][k], f"{name}, {evaluation_set.names[k]}") for name in models]
        if has_truth.any():
            cells.append(_image(truths[k], f"truth, {evaluation_set.names[k]}") if has_truth[k] else {"lines": ["-"]})
        rows.append(cells)
    return {"heads": heads, "rows": rows}


def _condition(expression: int, lighting: int, classes: Classes) -> list[str]:
    """A condition as two lines: the expression, and the azimuth and elevation of the light, or the name of a light of the data's own."""
    name, light = classes.expressions[expression], classes.lightings[lighting]
    if not classes.is_standard:
        return [name, light.name]
    if light.azimuth is None:
        return [name, "room light"]
    raised = f", {light.elevation:g}° up" if (light.elevation or 0) > 10 else ""
    return [name, f"light {light.azimuth:g}°{raised}"]


def _image(image: np.ndarray, name: str) -> dict[str, Any]:
    return {"uri": data_uri(Image.fromarray(image), quality=88), "side": image.shape[0], "name": name}


def _models(report: Report, heads: Mapping[str, str], one: Measured) -> list[dict[str, Any]] | None:
    """Charts of the models' mean quality against each other metric; None for a single model."""
    rows = [row for row in report["models"] if row["data"] == one.evaluation_set.name]
    if len(rows) < 2:
        return None
    correlations = {e["metric"]: e for e in report["correlations"]["models"] if e["data"] == one.evaluation_set.name}
    charts = []
    for name in METRICS:
        known = [(i, row) for i, row in enumerate(rows) if row["metrics"][name]["value"] is not None]
        if name == "quality" or not known:
            continue
        series = [
            Series(row["name"], [row["metrics"][name]["value"]], [row["metrics"]["quality"]["value"]], i, is_named=True)
            for i, row in known
        ]
        line = {"colour": None, "name": "", "text": _in_words(correlations[name])}
        charts.append({"chart": scatter(series, heads[name], "quality score"), "lines": [line]})
    return charts


def _images(report: Report, heads: Mapping[str, str], one: Measured) -> list[dict[str, Any]]:
    """Charts of the images' quality against each other figure, in one colour for each model."""
    models = [(c, arrays) for c, arrays in zip(one.candidates, one.arrays, strict=True) if c.is_model]
    data = one.evaluation_set.name
    correlations = {(e["name"], e["metric"]): e for e in report["correlations"]["images"] if e["data"] == data}
    charts = []
    for figure in IMAGE_METRICS[:-1]:
        series, lines = [], []
        for i, (candidate, arrays) in enumerate(models):
            known = np.isfinite(arrays[figure])
            series.append(Series(candidate.name, arrays[figure][known].tolist(), arrays["quality"][known].tolist(), i))
            if known.any():
                text = _in_words(correlations[candidate.name, figure])
                lines.append({"colour": i % N_COLOURS, "name": candidate.name, "text": text})
        if lines:
            charts.append({"chart": scatter(series, heads[figure], "quality score"), "lines": lines})
    return charts


def _in_words(correlation: Mapping[str, Any]) -> str:
    if correlation["pearson"] is None:
        return f"too few for a correlation (n = {correlation['n']})"
    return f"r = {correlation['pearson']:.2f}, ρ = {correlation['spearman']:.2f} (n = {correlation['n']})"


def _breakdown(report: Report, heads: Mapping[str, str], one: Measured) -> list[dict[str, Any]]:
    """A table for each attribute: its values in rows, figures and models in columns."""
    rows = [row for row in report["breakdown"] if row["data"] == one.evaluation_set.name]
    names = [candidate.name for candidate in one.candidates if candidate.name != REAL]
    tables = []
    for attribute in one.evaluation_set.attributes:
        of_attribute = [row for row in rows if row["attribute"] == attribute]
        entry = {(row["value"], row["name"]): row for row in of_attribute}
        figures = [name for name in IMAGE_METRICS if any(row["metrics"][name] is not None for row in of_attribute)]
        lines = [
            {
                "value": str(value),
                "n": entry[value, names[0]]["n"],
                "cells": [_mean(entry[value, name]["metrics"][figure], figure) for figure in figures for name in names],
            }
            for value in dict.fromkeys(row["value"] for row in of_attribute)
        ]
        shown = [_CLASSES.get(name, name) for name in names]
        tables.append({"attribute": attribute, "names": shown, "heads": [heads[name] for name in figures], "rows": lines})
    return tables


def _mean(value: float | None, figure: str) -> str:
    return "-" if value is None else f"{value:.{METRICS[figure].digits}f}"
