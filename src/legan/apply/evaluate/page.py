"""The page of an evaluation, in one file that opens from disk: table, samples side by side, quality against metrics, breakdown."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from legan import __version__
from legan.apply.evaluate.charts import N_COLOURS, Series, scatter
from legan.apply.evaluate.figures import METRICS
from legan.apply.evaluate.measures import FIGURES, INPUT, REAL, Contestant
from legan.apply.evaluate.report import Report, best, cell, explanations, is_best, ordered, shown_metrics
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.files import write_atomic
from legan.core.images import encode_photo
from legan.core.weights import asset

if TYPE_CHECKING:
    from legan.apply.evaluate.build import Measured

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
        suffix = f": {one.exam.name}" if several else ""
        sections.append(_section(f"Samples{suffix}", _samples(one)))
        sections.append(_section(f"Quality score against metrics, models{suffix}", _models(report, heads, one)))
        sections.append(_section(f"Quality score against metrics, pictures{suffix}", _pictures(report, heads, one)))
        if one.exam.attributes:
            sections.append(_section(f"By attribute{suffix}", _breakdown(report, heads, one)))
    data = ", ".join(f"{one.exam.name} ({len(one.exam)} pictures)" for one in measured)
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
    """A row a question: the source, what was asked, each model's picture, the truth."""
    exam, shown = one.exam, {c.name: arrays["shown"] for c, arrays in zip(one.contestants, one.arrays, strict=True)}
    models = [contestant.name for contestant in one.contestants if contestant.is_model]
    n = len(shown[INPUT])
    knows = exam.truth[:n] >= 0
    truths = exam.library.images(np.maximum(exam.truth[:n], 0))
    heads = ["input", *(["asked for"] if exam.target is not None else []), *models, *(["truth"] if knows.any() else [])]
    rows = []
    for k in range(n):
        cells = [_picture(shown[INPUT][k], exam.names[k])]
        if exam.target is not None:
            cells.append(f"<td>{_wish(*exam.target[k])}</td>")
        cells += [_picture(shown[name][k], f"{name}, {exam.names[k]}") for name in models]
        if knows.any():
            cells.append(_picture(truths[k], f"truth, {exam.names[k]}") if knows[k] else "<td>-</td>")
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


def _picture(picture: np.ndarray, name: str) -> str:
    side = picture.shape[0]
    data = base64.b64encode(encode_photo(Image.fromarray(picture), "WEBP", quality=88)).decode()
    words = f'width="{side}" height="{side}" alt="{escape(name, quote=True)}" title="{escape(name, quote=True)}" loading="lazy"'
    return f'<td><img src="data:image/webp;base64,{data}" {words}></td>'


def _models(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """Each model's mean quality against each of its metrics; two models have no correlation to speak of."""
    rows = [row for row in report["models"] if row["data"] == one.exam.name]
    if len(rows) < 2:
        return "<p>Needs at least two models.</p>"
    found = {entry["metric"]: entry for entry in report["correlations"]["models"] if entry["data"] == one.exam.name}
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


def _pictures(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """Quality against each figure of a picture, a colour a model."""
    models = [(c, arrays) for c, arrays in zip(one.contestants, one.arrays, strict=True) if c.is_model]
    found = {(e["name"], e["metric"]): e for e in report["correlations"]["images"] if e["data"] == one.exam.name}
    charts = []
    for figure in FIGURES[:-1]:
        series, words = [], []
        for i, (contestant, arrays) in enumerate(models):
            known = np.isfinite(arrays[figure])
            series.append(Series(contestant.name, arrays[figure][known].tolist(), arrays["quality"][known].tolist(), i))
            if known.any():
                words.append(f"{_key(contestant, i)}: {_in_words(found[contestant.name, figure])}")
        if words:
            charts.append(_figure(scatter(series, heads[figure], "quality score"), "<br>".join(words)))
    return f'<div class="charts">{"".join(charts)}</div>'


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"


def _key(contestant: Contestant, colour: int) -> str:
    return f'<span class="key c{colour % N_COLOURS}"></span>{escape(contestant.name)}'


def _in_words(correlation: Mapping[str, Any]) -> str:
    if correlation["pearson"] is None:
        return f"too few for a correlation (n = {correlation['n']})"
    return f"r = {correlation['pearson']:.2f}, ρ = {correlation['spearman']:.2f} (n = {correlation['n']})"


def _breakdown(report: Report, heads: Mapping[str, str], one: "Measured") -> str:
    """A table for each attribute: values down, figures and models across."""
    rows = [row for row in report["breakdown"] if row["data"] == one.exam.name]
    names = [contestant.name for contestant in one.contestants if contestant.name != REAL]
    blocks: list[str] = []
    for attribute in one.exam.attributes:
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
