"""The report of an evaluation as files: report.json, and its table as Markdown, LaTeX and CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from legan.apply.evaluate.figures import METRICS, PREFERENCE, labels
from legan.core.cells import escaped
from legan.core.errors import DataError, nearest
from legan.core.files import write_atomic
from legan.core.plain import parse_json

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
        f"n pictures a row, seed {settings['seed']}; 95% intervals over people; best model in bold.",
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
