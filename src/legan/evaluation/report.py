"""Results of an evaluation as tables, JSON, charts and one page."""

import base64
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from legan import __version__
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.config import parse_json
from legan.core.errors import DataError, nearest
from legan.core.files import write_atomic
from legan.core.images import encode_photo
from legan.core.table import escaped
from legan.core.weights import asset
from legan.evaluation.measure import FIGURES, INPUT, REAL, Candidate
from legan.evaluation.statistics import METRICS, PREFERENCE, labels

if TYPE_CHECKING:
    from legan.evaluation.benchmark import Measured


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
        raise DataError(f"{path} is no preference.json of `legan study export` ({error!r})") from error
    names = [row["name"] for row in rows]
    if kind != PREFERENCE:
        raise DataError(f"{path} is of a study of the kind '{kind}': name the export of a preference study")
    if not set(shares) & set(names):
        other = next(iter(shares), "")
        raise DataError(
            f"{path} tells of {', '.join(shares) or 'no model'} and none of {', '.join(names)}: name the editors as the study "
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
    """Headings of the metrics, as `figures.labels`."""
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
    """Return a chart; points that are not finite must be left out before."""
    xs, ys = [x for one in series for x in one.xs], [y for one in series for y in one.ys]
    if not xs:
        return ""
    x_axis, y_axis = _axis(xs, LEFT, WIDTH - RIGHT), _axis(ys, HEIGHT - BOTTOM, TOP)
    lines, words = [], []
    for tick in ticks(x_axis.low, x_axis.high):
        x = f"{x_axis(tick):.1f}"
        lines.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>')
        words.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 15}">{tick:g}</text>')
    for tick in ticks(y_axis.low, y_axis.high):
        y = y_axis(tick)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        words.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{tick:g}</text>')
    words.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    words.append(f'<text transform="translate(12 {middle}) rotate(-90)">{escape(y_label)}</text>')
    dots = "".join(_dots(one, x_axis, y_axis) for one in series)
    name = escape(f"{y_label} against {x_label}", quote=True)
    return (
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
        f'<g class="grid">{"".join(lines)}</g>{"".join(words)}{dots}</svg>'
    )


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About `n` round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / n))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= n + 1.5)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or max(abs(low) * 0.1, 0.1)
    return _Axis(low - margin, high + margin, start, end)


def _dots(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    points = [(x_axis(x), y_axis(y)) for x, y in zip(series.xs, series.ys, strict=True)][:MAX_DOTS]
    radius = 5 if series.is_named else 2
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in points)
    kind = "named" if series.is_named else "many"
    return f'<g class="c{series.colour % N_COLOURS} {kind}">{dots}{_name(series, points) if series.is_named else ""}</g>'


def _name(series: Series, points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    right = x > (LEFT + WIDTH) / 2  # names of points on the right stand to their left
    place = f'x="{x - 8:.1f}" class="y"' if right else f'x="{x + 8:.1f}" class="after"'
    return f'<text {place} y="{y + 4:.1f}">{escape(series.label)}</text>'


# The page of an evaluation, in one file that opens from disk: table, samples side by side, quality against metrics, breakdown.


_CLASSES = {INPUT: "input", REAL: "real"}


def write_page(report: Report, heads: Mapping[str, str], measured: "Sequence[Measured]", path: Path) -> None:
    """Write the page.

    Args:
        report: what report.json holds.
        heads: headings of the metrics.
        measured: exams, with what was measured.
        path: the page to write.

    Raises:
        LeganError: the place cannot be written.
    """
    several = len(measured) > 1
    sections = [_section("Results", _table(report, heads) + _list(explanations(report)))]
    for one in measured:
        suffix = f": {one.evaluation_set.name}" if several else ""
        sections.append(_section(f"Samples{suffix}", _samples(one)))
        sections.append(_section(f"Quality score against metrics, models{suffix}", _models(report, heads, one)))
        sections.append(_section(f"Quality score against metrics, images{suffix}", _images(report, heads, one)))
        if one.evaluation_set.attributes:
            sections.append(_section(f"By attribute{suffix}", _breakdown(report, heads, one)))
    data = ", ".join(f"{one.evaluation_set.name} ({len(one.evaluation_set)} images)" for one in measured)
    names = ", ".join(dict.fromkeys(row["name"] for row in report["models"]))
    page = Template(asset("evaluate.html").read_text(encoding="utf-8")).substitute(
        lead=escape(f"{names} on {data}, seed {report['settings']['seed']}."),
        sections="".join(sections),
        footer=escape(f"Made by legan {__version__}. Quality is a model's guess of how natural people find a face, 0 to 10."),
    )
    write_atomic(path, page.encode())


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(report: Report, heads: Mapping[str, str]) -> str:
    names, winners = shown_metrics(report), best(report["models"])
    arrows = {True: "↑", False: "↓"}
    several = len({row["data"] for row in ordered(report)}) > 1
    head = "".join(f"<th>{escape(heads[name])}&nbsp;{arrows[METRICS[name].more_is_better]}</th>" for name in names)
    rows = []
    for row in ordered(report):
        cells = []
        for name in names:
            value = cell(row, name, interval=False)
            bounds = cell(row, name).removeprefix(value).strip()
            text = f"<strong>{value}</strong>" if is_best(report, row, name, winners) else value
            cells.append(f"<td>{text}" + (f"<small>{bounds}</small>" if bounds else "") + "</td>")
        kind = ' class="reference"' if row in report["references"] else ""
        data = f"<td>{escape(row['data'])}</td>" if several else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(row["name"])}</th>{data}<td>{row["n"]}</td>{"".join(cells)}</tr>')
    first = f"<th>model</th>{'<th>data</th>' if several else ''}<th>n</th>"
    return f'<div class="wide"><table><tr>{first}{head}</tr>{"".join(rows)}</table></div>'


def _samples(one: "Measured") -> str:
    """A row a question: the source, what was asked, each model's image, the truth."""
    evaluation_set, shown = (
        one.evaluation_set,
        {c.name: arrays["shown"] for c, arrays in zip(one.candidates, one.arrays, strict=True)},
    )
    models = [candidate.name for candidate in one.candidates if candidate.is_model]
    n = len(shown[INPUT])
    knows = evaluation_set.truth[:n] >= 0
    truths = evaluation_set.library.images(np.maximum(evaluation_set.truth[:n], 0))
    heads = [
        "input",
        *(["asked for"] if evaluation_set.target is not None else []),
        *models,
        *(["truth"] if knows.any() else []),
    ]
    rows = []
    for k in range(n):
        cells = [_image(shown[INPUT][k], evaluation_set.names[k])]
        if evaluation_set.target is not None:
            cells.append(f"<td>{_wish(*evaluation_set.target[k])}</td>")
        cells += [_image(shown[name][k], f"{name}, {evaluation_set.names[k]}") for name in models]
        if knows.any():
            cells.append(_image(truths[k], f"truth, {evaluation_set.names[k]}") if knows[k] else "<td>-</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table class="samples"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _wish(expression: int, lighting: int) -> str:
    light = LIGHTINGS[lighting]
    angle = (
        "room light"
        if light.azimuth is None
        else f"light {light.azimuth:g}°" + (f", {light.elevation:g}° up" if (light.elevation or 0) > 10 else "")
    )
    return f"{EXPRESSIONS[expression]}<br>{angle}"


def _image(image: np.ndarray, name: str) -> str:
    side = image.shape[0]
    data = base64.b64encode(encode_photo(Image.fromarray(image), "WEBP", quality=88)).decode()
    words = f'width="{side}" height="{side}" alt="{escape(name, quote=True)}" title="{escape(name, quote=True)}" loading="lazy"'
    return f'<td><img src="data:image/webp;base64,{data}" {words}></td>'


def _models(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """Each model's mean quality against each of its metrics; two models have no correlation to speak of."""
    rows = [row for row in report["models"] if row["data"] == one.evaluation_set.name]
    if len(rows) < 2:
        return "<p>Needs at least two models.</p>"
    found = {entry["metric"]: entry for entry in report["correlations"]["models"] if entry["data"] == one.evaluation_set.name}
    charts = []
    for name in METRICS:
        known = [(i, row) for i, row in enumerate(rows) if row["metrics"][name]["value"] is not None]
        if name == "quality" or not known:
            continue
        series = [
            Series(row["name"], [row["metrics"][name]["value"]], [row["metrics"]["quality"]["value"]], i, is_named=True)
            for i, row in known
        ]
        charts.append(_figure(scatter(series, heads[name], "quality score"), _in_words(found[name])))
    return f'<div class="charts">{"".join(charts)}</div>'


def _images(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """Quality against each figure of an image, a colour a model."""
    models = [(c, arrays) for c, arrays in zip(one.candidates, one.arrays, strict=True) if c.is_model]
    found = {(e["name"], e["metric"]): e for e in report["correlations"]["images"] if e["data"] == one.evaluation_set.name}
    charts = []
    for figure in FIGURES[:-1]:
        series, words = [], []
        for i, (candidate, arrays) in enumerate(models):
            known = np.isfinite(arrays[figure])
            series.append(Series(candidate.name, arrays[figure][known].tolist(), arrays["quality"][known].tolist(), i))
            if known.any():
                words.append(f"{_key(candidate, i)}: {_in_words(found[candidate.name, figure])}")
        if words:
            charts.append(_figure(scatter(series, heads[figure], "quality score"), "<br>".join(words)))
    return f'<div class="charts">{"".join(charts)}</div>'


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"


def _key(candidate: Candidate, colour: int) -> str:
    return f'<span class="key c{colour % N_COLOURS}"></span>{escape(candidate.name)}'


def _in_words(correlation: Mapping[str, Any]) -> str:
    if correlation["pearson"] is None:
        return f"too few for a correlation (n = {correlation['n']})"
    return f"r = {correlation['pearson']:.2f}, ρ = {correlation['spearman']:.2f} (n = {correlation['n']})"


def _breakdown(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """A table for each attribute: values down, figures and models across."""
    rows = [row for row in report["breakdown"] if row["data"] == one.evaluation_set.name]
    names = [candidate.name for candidate in one.candidates if candidate.name != REAL]
    blocks: list[str] = []
    for attribute in one.evaluation_set.attributes:
        of_attribute = [row for row in rows if row["attribute"] == attribute]
        values = dict.fromkeys(row["value"] for row in of_attribute)
        entry = {(row["value"], row["name"]): row for row in of_attribute}
        figures = [name for name in FIGURES if any(row["metrics"][name] is not None for row in of_attribute)]
        first = "".join(f'<th class="group" colspan="{len(names)}">{escape(heads[name])}</th>' for name in figures)
        second = "".join(f"<th>{escape(_CLASSES.get(name, name))}</th>" for _ in figures for name in names)
        body = ""
        for value in values:
            cells = "".join(_mean(entry[value, name]["metrics"][figure], figure) for figure in figures for name in names)
            body += f'<tr><th scope="row">{escape(str(value))}</th><td>{entry[value, names[0]]["n"]}</td>{cells}</tr>'
        table = f'<table><tr><th rowspan="2">{escape(attribute)}</th><th rowspan="2">n</th>{first}</tr><tr>{second}</tr>{body}</table>'
        is_open = "" if blocks else " open"
        blocks.append(f'<details{is_open}><summary>{escape(attribute)}</summary><div class="wide">{table}</div></details>')
    return "".join(blocks)


def _mean(value: float | None, figure: str) -> str:
    return f"<td>{'-' if value is None else f'{value:.{METRICS[figure].digits}f}'}</td>"
