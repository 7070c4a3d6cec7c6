"""Tables, learning curves and ROC plots of what run.py left, and the results for programs.

    python experiments/recognition/report.py --runs runs/recognition --out experiments/recognition/results

Writes `verification.json` and `expression.json`: `{"rows": [{"training", "seeds", "measures": {NAME: {"mean", "std"}}}]}`, the standard
deviation over seeds (n - 1; null for one), `photos.json` alike; `paired.json`, paired t-tests over the seeds of each training with
synthetic images against one without; `roc-*.png`, `curves-*.png`; `tables.md`, means as `tables.tex`. Only seeds that all trainings have
are counted.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from legan.core.files import atomic_write, make_folder, write_atomic
from legan.evaluation.verification import plot_rocs
from legan.metrics.verification import roc

TRAININGS = ("original", "repeated", "augmented", "classical", "together", "unfiltered")
# What synthetic images change: the training with them, and the one without.
TESTED = (
    ("augmented", "repeated"),
    ("together", "classical"),
    ("unfiltered", "repeated"),
    ("augmented", "original"),
    ("together", "original"),
)
Results = dict[str, dict[int, dict[str, float]]]  # training, seed, measure


def main() -> None:
    """Read the command line and write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    make_folder(options.out)
    tables, latex_tables, paired = [], [], {}
    for what in ("verification", "photos", "expression"):
        results = read(options.runs / what)
        if not results:
            continue
        rows = [summary(training, results[training]) for training in results]
        write_atomic(options.out / f"{what}.json", json.dumps({"rows": rows}, indent=2).encode())
        paired[what] = [
            {"training": training, "base": base, "measures": compare(results, training, base)}
            for training, base in TESTED
            if training in results and base in results
        ]
        reference = options.runs / what / "dlib" / "result.json"
        outside = json.loads(reference.read_text())["measures"] if reference.exists() else {}
        tables.append(table(what, rows, paired[what], outside))
        latex_tables.append(latex(what, means(rows, outside)))
        curves(what, options.runs / what, results, options.out)
        if what != "expression":
            rocs(what, options.runs / what, list(results), options.out)
    write_atomic(options.out / "paired.json", json.dumps(paired, indent=2).encode())
    text = "\n\n".join(tables) + "\n"
    write_atomic(options.out / "tables.md", text.encode())
    write_atomic(options.out / "tables.tex", "\n".join(latex_tables).encode())
    print(text)


def read(folder: Path) -> Results:
    """Results by training and seed, of the seeds that all trainings found have."""
    found: Results = {}
    for training in TRAININGS:
        for path in sorted(folder.glob(f"{training}-*/result.json")):
            result = json.loads(path.read_text())
            found.setdefault(training, {})[result["seed"]] = result["measures"]
    common = set.intersection(*(set(seeds) for seeds in found.values())) if found else set()
    return {training: {seed: seeds[seed] for seed in sorted(common)} for training, seeds in found.items()}


def summary(training: str, seeds: dict[int, dict[str, float]]) -> dict[str, Any]:
    """One row: mean and standard deviation over the seeds of each measure."""
    measures = {}
    for name in next(iter(seeds.values())):
        values = [seed[name] for seed in seeds.values()]
        std = round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else None
        measures[name] = {"mean": round(float(np.mean(values)), 5), "std": std}
    return {"training": training, "seeds": len(seeds), "measures": measures}


def compare(results: Results, training: str, base: str) -> dict[str, dict[str, float | None]]:
    """Of each measure: mean difference of two trainings, its 95% interval over the seeds, and p of the paired t-test."""
    found = {}
    for name in next(iter(results[base].values())):
        both = np.array([[results[side][seed][name] for seed in results[base]] for side in (training, base)])
        differences = both[0] - both[1]
        tested = stats.ttest_rel(*both) if len(differences) > 1 and differences.std() > 0 else None
        low, high = tested.confidence_interval() if tested is not None else (math.nan, math.nan)
        values = {"difference": differences.mean(), "low": low, "high": high, "p": tested.pvalue if tested else math.nan}
        found[name] = {key: None if math.isnan(value) else round(float(value), 5) for key, value in values.items()}
    return found


def means(rows: list[dict[str, Any]], outside: dict[str, float]) -> list[list[str]]:
    """Mean ± std of each measure by training, beside them an `outside` network's value; a row of cells each, the heading first."""
    found = [["measure", *(row["training"] for row in rows), *(["dlib"] if outside else [])]]
    for name in rows[0]["measures"]:
        cells = [_told(**row["measures"][name]) for row in rows]
        found.append([name, *cells, *([f"{outside[name]:.4f}"] if outside else [])])
    return found


def _told(mean: float, std: float | None) -> str:
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def latex(what: str, cells: list[list[str]]) -> str:
    """The means as LaTeX (needs booktabs)."""
    head, *body = (" & ".join(row).replace("±", r"$\pm$").replace("_", r"\_") + r" \\" for row in cells)
    columns = "l" + "r" * (len(cells[0]) - 1)
    lines = [f"% {what}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def table(what: str, rows: list[dict[str, Any]], paired: list[dict[str, Any]], outside: dict[str, float]) -> str:
    """Mean ± std by training, then the differences of trainings with synthetic images to those without."""
    head, *cells = means(rows, outside)
    lines = [
        f"## {what}, {rows[0]['seeds']} seed{'s' * (rows[0]['seeds'] > 1)}",
        "",
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
    ]
    lines += [f"| {' | '.join(one)} |" for one in cells]
    for one in paired:
        lines += [
            "",
            f"{one['training']} - {one['base']}: mean difference, 95% interval and p of a paired t-test over seeds",
            "",
        ]
        lines += ["| measure | difference | interval | p |", "| --- | --- | --- | --- |"]
        for name, values in one["measures"].items():
            shown = {key: "-" if value is None else f"{value:+.4f}" for key, value in values.items()}
            p = "-" if values["p"] is None else f"{values['p']:.3f}"
            lines.append(f"| {name} | {shown['difference']} | {shown['low']} .. {shown['high']} | {p} |")
    return "\n".join(lines)


def curves(what: str, folder: Path, results: Results, out: Path) -> None:
    """Figures of held-out people over the steps: mean over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    key = {"verification": "val/render/auc", "photos": "val/relit/auc", "expression": "val/auc"}[what]
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for training, seeds in results.items():
        logs = [(folder / f"{training}-{seed}" / "run" / "log.jsonl").read_text().splitlines() for seed in seeds]
        points = [[(line["step"], line[key]) for line in map(json.loads, log) if key in line] for log in logs]
        values = np.array([[value for _, value in one] for one in points])
        axes.errorbar([step for step, _ in points[0]], values.mean(0), values.std(0), label=training, capsize=2)
    axes.set(xlabel="step", ylabel=f"{key}, held-out people", title=what)
    axes.legend(frameon=False)
    with atomic_write(out / f"curves-{what}.png") as file:
        FigureCanvasAgg(figure).print_png(file)


def rocs(what: str, folder: Path, trainings: list[str], out: Path) -> None:
    """ROC of each training, mean and band over the seeds, and dlib's, on each kind of test images."""
    found: dict[str, dict[str, list[Any]]] = {}
    for name in (*trainings, "dlib"):
        for path in sorted(folder.glob(f"{name}-*/scores.npz")) + sorted(folder.glob(f"{name}/scores.npz")):
            with np.load(path, allow_pickle=False) as scores:
                for kind in (key.removesuffix("_scores") for key in scores if key.endswith("_scores")):
                    one = roc(scores[f"{kind}_scores"], scores[f"{kind}_same"])
                    found.setdefault(kind, {}).setdefault(name, []).append(one)
    for kind, of_kind in found.items():
        title = f"verification of {kind} test people" + (", learned from photos" if what == "photos" else "")
        plot_rocs(of_kind, out / f"roc-{what}-{kind}.png", title, 1e-3)


if __name__ == "__main__":
    main()
