"""Evaluates the models that train.py left in a folder, along their training and at its end: do the paper's orderings hold?

    python experiments/comparison/report.py --runs runs/comparison --data data/rendered:test --data data/relit:val --out OUT

The models are compared after equal numbers of images, the most that all of them have a snapshot of (`--images` names fewer). OUT
gets what `legan evaluate` writes (`report.json`, tables, `images.csv`, `report.html`), `curves.csv` with the figures of every
snapshot until then on fewer edits, `curves.png`, `copies.csv` (SSIM of each snapshot's reconstruction of an image under the image's own
condition, on held-out people; StarGAN v2's with the mean style of that condition) and `orderings.md`. Run again, it continues.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

matplotlib.use("Agg")  # draws to files, needs no screen
import matplotlib.pyplot as plt

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import DataError, LeganError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.images import to_network, to_unit
from legan.data.faces import FaceDataset
from legan.evaluation.benchmark import evaluate
from legan.evaluation.evaluators import IMAGE_METRICS
from legan.evaluation.measure import INPUT
from legan.evaluation.statistics import METRICS, labels
from legan.metrics.agreement import Interval
from legan.metrics.images import ssim
from legan.metrics.intervals import mean_interval
from legan.models.editors import Codes, load_networks
from legan.requests import EvaluationNetworks, EvaluationRequest

MODELS = ("stargan", "stargan-qual", "starganv2", "legan", "legan-noqual", "stargan-official")
DRAWN = ("fid", "lpips", "ssim", "match", "quality")
# With the quality loss, and without it.
PAIRS = (("stargan-qual", "stargan"), ("legan", "legan-noqual"))


def snapshots(runs: Path, names: Sequence[str]) -> dict[int, dict[str, Path]]:
    """The models' snapshots, by images seen; at least one number of images is common to all."""
    found = {name: {int(path.stem.split("_")[1]): path for path in (runs / name / "snapshots").glob("*")} for name in names}
    if not names or not set.intersection(*map(set, found.values())):
        raise DataError(f"{runs} holds no snapshot that all of {', '.join(names)} have: train them with train.py first")
    seen = sorted(set.union(*map(set, found.values())))
    return {n_images: {name: found[name][n_images] for name in names if n_images in found[name]} for n_images in seen}


def measure(models: Mapping[str, Path], words: argparse.Namespace, n: int, n_resamples: int, out: Path) -> dict[str, Any]:
    """Evaluate weights files by name; return the report."""
    editors = tuple(f"{name}={path}" for name, path in models.items())
    request = EvaluationRequest(tuple(words.data), editors, n=n, n_resamples=n_resamples)
    return evaluate(request, out, EvaluationNetworks(identity=words.identity, quality=words.quality), n_workers=words.workers)


def copy_ssim(path: Path, data: Sequence[str], n: int, seed: int = 0) -> dict[str, float]:
    """Mean SSIM between images of each data set, DIR:SPLIT, and their edits to the condition that they have already."""
    networks, found = load_networks(path), {}
    for folder, _, split in (word.rpartition(":") for word in data):
        faces = FaceDataset([Path(folder)], split, size=networks.size, memory_gb=0)
        known = np.flatnonzero(faces.lighting >= 0)
        rows = np.sort(np.random.default_rng(seed).permutation(known)[:n])
        parts = []
        for some in np.array_split(rows, max(1, len(rows) // 16)):
            x = to_network(faces.images(some))
            own = Codes(F.one_hot(torch.from_numpy(faces.expression[some]).long(), len(EXPRESSIONS)).float(),
                        F.one_hot(torch.from_numpy(faces.lighting[some]).long(), len(LIGHTINGS)).float())  # fmt: skip
            parts.append(np.asarray(ssim(to_unit(networks.translate(x, own).image.clamp(-1, 1)), to_unit(x))))
        found[f"{Path(folder).name}/{split}"] = float(np.concatenate(parts).mean())
    return found


def figures_of(report: Mapping[str, Any], n_images: int) -> list[tuple[str, int, str, float]]:
    """Rows of curves.csv: model (`input` is doing nothing), images, data/metric, value."""
    rows = [*report["models"], *(row for row in report["references"] if row["name"] == INPUT)]
    return [
        (row["name"], n_images, f"{row['data']}/{metric}", row["metrics"][metric]["value"])
        for row in rows
        for metric in DRAWN
        if row["metrics"][metric]["value"] is not None
    ]


def draw(curves: pd.DataFrame, heads: Mapping[str, str], out: Path) -> None:
    """Write a panel for each data set and metric: points of models and seeds, lines through their means; doing nothing is dashed."""
    data = sorted({figure.rpartition("/")[0] for figure in curves["figure"]})
    fig, axes = plt.subplots(len(data), len(DRAWN), figsize=(4.2 * len(DRAWN), 3.4 * len(data)), squeeze=False)
    for row, folder in zip(axes, data, strict=True):
        for axis, metric in zip(row, DRAWN, strict=True):
            for model, rows in curves[curves["figure"] == f"{folder}/{metric}"].groupby("model", sort=False):
                if model == INPUT:
                    axis.axhline(rows["value"].iloc[0], color="grey", linestyle="--", label="doing nothing")
                else:
                    mean = rows.groupby("images")["value"].mean()
                    (line,) = axis.plot(mean.index, mean, label=model)
                    axis.plot(rows["images"], rows["value"], ".", color=line.get_color())
            better = "more is better" if METRICS[metric].more_is_better else "less is better"
            axis.set_title(f"{heads[metric]}, {better}", fontsize="medium")
            axis.set_xlabel(f"images seen ({folder})")
    axes[0][0].legend(fontsize="small")
    fig.tight_layout()
    fig.savefig(out, dpi=80)
    plt.close(fig)


def differences(images: pd.DataFrame, data: str, model: str, other: str) -> dict[str, Interval | None]:
    """Mean difference of each figure over the same edits, with 95% intervals by resampling people."""
    rows = images[images["data"] == data].set_index("number")
    a, b = (rows[rows["model"] == name] for name in (model, other))
    people = a["source"].str.split("/").str[0].to_numpy()
    return {figure: mean_interval((a[figure] - b[figure]).to_numpy(), people) for figure in IMAGE_METRICS}


def orderings(report: Mapping[str, Any], images: pd.DataFrame, n_images: int) -> str:
    """Say in Markdown which model is best by each metric, what the quality loss changed, and how the quality score agrees."""
    heads = labels(report["networks"])
    lines = [
        f"Each model after {n_images:,} images.",
        "",
        "Models from best to worst:",
        "",
        "| data | metric | order |",
        "| --- | --- | --- |",
    ]
    data = list(dict.fromkeys(row["data"] for row in report["models"]))
    for folder in data:
        for name, metric in METRICS.items():
            known = {row["name"]: row["metrics"][name]["value"] for row in report["models"] if row["data"] == folder}
            known = {model: value for model, value in known.items() if value is not None}
            order = sorted(known, key=known.__getitem__, reverse=metric.more_is_better)
            if order:
                told = ", ".join(f"{model} {known[model]:.{metric.digits}f}" for model in order)
                lines.append(f"| {folder} | {heads[name]} | {told} |")
    names = {row["name"] for row in report["models"]}
    lines += ["", "What the quality loss changes: mean difference over the same edits, 95% interval over people.", ""]
    lines += [
        "| data | models | " + " | ".join(heads[name] for name in IMAGE_METRICS) + " |",
        "| --- " * (2 + len(IMAGE_METRICS)) + "|",
    ]
    for folder in data:
        for model, other in (pair for pair in PAIRS if names.issuperset(pair)):
            found = differences(images, folder, model, other)
            lines.append(f"| {folder} | {model} - {other} | " + " | ".join(map(_interval, found.values())) + " |")
    lines += [
        "",
        "How the mean quality score goes with the other metrics over the models:",
        "",
        "| data | metric | n | Pearson | Spearman |",
    ]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in report["correlations"]["models"]:
        if row["pearson"] is not None:
            lines.append(
                f"| {row['data']} | {heads[row['metric']]} | {row['n']} | {row['pearson']:.2f} | {row['spearman']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _interval(found: Interval | None) -> str:
    return "" if found is None or not np.isfinite(found.value) else f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def main() -> None:
    """Read the command line, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", action="append", required=True, help="DIR:SPLIT; may be repeated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, help="images seen; the most that all models have by default")
    parser.add_argument("--only", choices=MODELS, action="append", help="may be repeated")
    parser.add_argument("--n", type=int, default=1000, help="edits of each data set")
    parser.add_argument("--n-curves", type=int, default=200, help="the same along the training")
    parser.add_argument(
        "--quality", type=Path, help="weights of Q, such as one that no training has seen; the packaged ones by default"
    )
    parser.add_argument(
        "--identity",
        default="packaged",
        help="network of the match score: dlib was in no training, the packaged one in LEGAN's",
    )
    parser.add_argument("--workers", type=int, default=1)
    words = parser.parse_args()
    try:
        names = words.only or [name for name in MODELS if (words.runs / name / "snapshots").exists()]
        found = snapshots(words.runs, names)
        common = [seen for seen, models in found.items() if len(models) == len(names)]
        n_images = words.images or max(common)
        if n_images not in common:
            raise DataError(
                f"not all models have a snapshot after {n_images} images: choose from {', '.join(map(str, common))}"
            )
        rows, along = [], make_folder(words.out / "cache" / "along")
        for seen, models in found.items():
            if seen <= n_images:
                print(f"{seen} of {n_images} images", file=sys.stderr, flush=True)
                rows += figures_of(measure(models, words, words.n_curves, 0, along), seen)
        report = measure(found[n_images], words, words.n, 1000, words.out)
        copies = [
            (name, seen, data, value)
            for seen, models in found.items()
            if seen <= n_images
            for name, path in models.items()
            for data, value in copy_ssim(path, words.data, words.n_curves).items()
        ]
    except LeganError as error:
        sys.exit(f"error: {error}")
    curves = pd.DataFrame(rows, columns=["model", "images", "figure", "value"])
    write_atomic(words.out / "curves.csv", curves.to_csv(index=False).encode())
    table = pd.DataFrame(copies, columns=["model", "images", "data", "ssim"])
    write_atomic(words.out / "copies.csv", table.to_csv(index=False, float_format="%.4f").encode())
    draw(curves, labels(report["networks"]), words.out / "curves.png")
    text = orderings(report, pd.read_csv(words.out / "images.csv"), n_images)
    write_atomic(words.out / "orderings.md", text.encode())
    write_atomic(words.out / "weights.json", (json.dumps(_checksums(found[n_images]), indent=2) + "\n").encode())
    print(text)


def _checksums(models: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each model's snapshot, by name."""
    return {name: sha256_of(path) for name, path in models.items()}


if __name__ == "__main__":
    main()
