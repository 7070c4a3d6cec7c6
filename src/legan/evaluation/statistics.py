"""Metrics of each candidate with intervals, by attribute, and their correlation with the quality score."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from legan.evaluation.evaluators import IMAGE_METRICS, Arrays, Evaluators
from legan.evaluation.measure import INPUT, REAL, Candidate
from legan.evaluation.tasks import EvaluationSet
from legan.metrics.agreement import Interval, pearson, spearman
from legan.metrics.distributions import DISTANCES
from legan.metrics.intervals import distance_interval, mean_interval

PREFERENCE = "preference"
LEAST_CHANGE = 2.0  # mean levels of 256: saving as JPEG changes less


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Args:
        label: its heading.
        more_is_better: or less.
        digits: behind the point.
        network: that it depends on, a key of `Evaluators.provenance`.
        bounds: of its values and of their intervals.
    """

    label: str
    more_is_better: bool
    digits: int
    network: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)


METRICS = {
    "edited": Metric("edit seen", True, 3, "edits", (0, 1)),
    "fid": Metric("FID", False, 2, "fid", (0, math.inf)),
    "kid": Metric("KID", False, 4, "fid"),
    "precision": Metric("precision", True, 3, "fid", (0, 1)),
    "recall": Metric("recall", True, 3, "fid", (0, 1)),
    "lpips": Metric("LPIPS", False, 3, "lpips"),
    "ssim": Metric("SSIM", True, 3),
    "psnr": Metric("PSNR", True, 2),
    "match": Metric("match", True, 3, "match"),
    "quality": Metric("quality", True, 3, "quality"),
    PREFERENCE: Metric("preferred", True, 3),
}


def labels(networks: Mapping[str, Mapping[str, Any]], simulated_raters: bool = False) -> dict[str, str]:
    """Headings of the metrics; FID and LPIPS name the network wherever it is not the published one."""
    fid, lpips = networks["fid"]["name"], networks["lpips"]["name"]
    heads = {name: metric.label for name, metric in METRICS.items()}
    if fid != "inception":
        heads |= {name: f"{METRICS[name].label} ({fid})" for name in DISTANCES}
    heads["lpips"] = f"LPIPS ({lpips})" if lpips in ("alex", "vgg") else f"layer distance ({lpips})"
    heads["match"] = f"match ({networks['match']['name']})"
    if simulated_raters:
        heads[PREFERENCE] += " (simulated raters)"
    return heads


def row(
    evaluation_set: EvaluationSet,
    candidate: Candidate,
    arrays: Arrays,
    reference: np.ndarray,
    evaluators: Evaluators,
    n_resamples: int,
) -> dict[str, Any]:
    """Return a candidate's entry of the report: name, data, n, metrics."""
    people = evaluation_set.library.person
    shown = people[evaluation_set.real if candidate.name == REAL else evaluation_set.source]
    networks = {name: facts.get("name", "") for name, facts in evaluators.provenance.items()}
    metrics: dict[str, dict[str, Any]] = {}
    # Distances of distributions; inputs that are themselves the reference have none.
    compares = candidate.name != INPUT or evaluation_set.has_own_reference
    for name, distance in DISTANCES.items():
        interval = (
            distance_interval(
                distance,
                reference,
                arrays["features"],
                people[evaluation_set.reference],
                shown,
                n_resamples=min(n_resamples, 100),
            )
            if compares
            else None
        )
        metrics[name] = {
            **_entry(within(interval, METRICS[name].bounds), len(shown) if interval else 0),
            "network": networks["fid"],
        }
    # Means over images.
    for name in IMAGE_METRICS:
        mean = mean_interval(arrays[name], shown, n_resamples)
        metrics[name] = _entry(mean, int(np.isfinite(arrays[name]).sum()))
        if METRICS[name].network in networks:
            metrics[name]["network"] = networks[METRICS[name].network]
    metrics[PREFERENCE] = _entry(None, 0)
    return {"name": candidate.name, "data": evaluation_set.name, "n": len(shown), "metrics": metrics}


def is_edited(row: Mapping[str, Any], arrays: Arrays, inputs: Arrays) -> bool:
    """Return whether a model edits at all: its images differ from the inputs, and the targets are recognised more often than in them.

    Args:
        row: the model's entry of the report.
        arrays, inputs: measured on it, and on the inputs.
    """
    if arrays["change"].mean() < LEAST_CHANGE:
        return False
    entry, nothing = row["metrics"]["edited"], _mean(inputs["edited"])
    if entry["value"] is None or nothing is None:
        return True  # unknown
    return (entry["value"] if entry["low"] is None else entry["low"]) > nothing


def within(interval: Interval | None, bounds: tuple[float, float]) -> Interval | None:
    """Return an interval clipped to `bounds`: the spread of half samples round a value near a bound reaches beyond it."""
    return interval and replace(
        interval, low=float(np.maximum(interval.low, bounds[0])), high=float(np.minimum(interval.high, bounds[1]))
    )


def _entry(interval: Interval | None, n: int) -> dict[str, Any]:
    if interval is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {**{key: number(getattr(interval, key)) for key in ("value", "low", "high")}, "n": n}


def number(value: float) -> float | None:
    """Six significant digits, in which batches and processes do not differ; None for infinity and NaN, which JSON does not have."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def breakdown(evaluation_set: EvaluationSet, name: str, arrays: Arrays) -> list[dict[str, Any]]:
    """Return means for each value of each attribute: name, data, attribute, value, n, metrics."""
    rows = []
    for attribute, values in evaluation_set.attributes.items():
        for value in dict.fromkeys(sorted(values.tolist())):
            chosen = values == value
            means = {metric: _mean(arrays[metric][chosen]) for metric in IMAGE_METRICS}
            facts = {"name": name, "data": evaluation_set.name, "attribute": attribute, "value": value}
            rows.append({**facts, "n": int(chosen.sum()), "metrics": means})
    return rows


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return number(float(known.mean())) if len(known) else None


def correlations_of_images(evaluation_set: EvaluationSet, name: str, arrays: Arrays) -> list[dict[str, Any]]:
    """Return the correlation of the quality score with each other metric over one model's images."""
    rows = []
    for metric in IMAGE_METRICS[:-1]:
        known = np.isfinite(arrays[metric])
        facts = {"name": name, "data": evaluation_set.name, "metric": metric}
        rows.append({**facts, **_correlation(arrays["quality"][known], arrays[metric][known])})
    return rows


def correlations_of_models(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the correlation of the mean quality score with each other metric over the models of each data set."""
    correlations = []
    for data, of_data in itertools.groupby(rows, lambda row: row["data"]):
        entries = [row["metrics"] for row in of_data]
        for metric in METRICS:
            if metric == "quality":
                continue
            known = [entry for entry in entries if entry[metric]["value"] is not None]
            scores, values = (np.array([entry[key]["value"] for entry in known]) for key in ("quality", metric))
            correlations.append({"data": data, "metric": metric, **_correlation(scores, values)})
    return correlations


def _correlation(scores: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    return {"n": len(scores), "pearson": number(pearson(scores, values)), "spearman": number(spearman(scores, values))}
