"""Q on features, trained on people: chosen and measured by nested cross-validation, on ladders, on the world; and its weights.

    python experiments/quality/features.py --rated LAGO2022 --work SCRATCH [--body BODY] [--source-variance 0.002] \\
        [--out quality.safetensors] [--json results/features.json]

Reads what `features_data.py` left in the scratch folder; `--body` as there. Ten folds are drawn within each source, `--repeats` times;
every image is scored by a head that saw neither it nor a ladder made of it; the widths of `CANDIDATES` are chosen by three inner folds.
Beside the pooled Pearson correlation stand the one within sources (each centred on its mean), the one of a source that was left out of
training altogether, and what the mean of the image's source says without looking at it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from features_data import reader

from legan.data.degradations import STRENGTHS
from legan.data.public.lago2022 import read_generators, read_lago2022
from legan.data.ratings import image_labels
from legan.metrics.agreement import bootstrap
from legan.train.quality_features import (
    FeatureTrainingConfig,
    Head,
    Known,
    config_metadata,
    fit_head,
    learning_curve,
    save_features,
    stratified,
)

SOURCE_VARIANCE = 0.002
CANDIDATES = tuple(FeatureTrainingConfig(width=width, source_variance=SOURCE_VARIANCE) for width in (0.3, 0.5))
# Looked at with all rated images in sight, for ladders and the world: how hard the ladders of a fault are, where photographs lie, how far
# below them what is made from them, the variances of these rows, and (CANDIDATES) that of the sources' random intercepts.
FAULT_WEIGHT = {"eyes": 0.6, "colour": 1.25, "jpeg": 7.0}
PHOTO_SCORE, PHOTO_NOISE, MADE_NOISE = 5.5, 5.0, 4.0
BELOW = {"relit": 0.7, "reexpressed": 0.8, "edit": 1.5, "early": 2.2}
LICENCE = "CC-BY-NC-4.0"
DATA = (
    "Ratings of 202 faces by 600 people (Lago et al. 2022, doi 10.1109/MSP.2021.3120982; no licence stated); the faces are FFHQ "
    "photographs (Creative Commons, some non-commercial) and outputs of NVIDIA's ProGAN, StyleGAN and StyleGAN2; ladders of faults on "
    "them, on the Face Research Lab London Set (CC BY 4.0) and on official portraits of public officials (US Government works, public "
    "domain)"
)
KNOWN_FAULTS = (
    "agrees with people about sources of images more than within a source",
    "trained on 202 images: ages, skins and poses that are rare in FFHQ are rare in it",
)


class Material:
    """Everything that `features_data.py` wrote, with people's ratings."""

    def __init__(self, rated: Path, work: Path) -> None:
        files = {name: np.load(work / f"{name}.npz") for name in ("rated", "mirrored", "photos", "made", "ladders", "hard")}
        self.names = files["rated"]["rows"]
        labels = image_labels(read_lago2022(rated).ratings).set_index("name").loc[self.names]
        self.mean, self.std = labels["mean"].to_numpy(), labels["std"].to_numpy()
        self.source = read_generators(rated).loc[self.names].to_numpy()
        self.views = files["rated"]["f"], files["mirrored"]["f"]
        self.photos, self.photo_rows = files["photos"]["f"], files["photos"]["rows"]
        self.photo_is_test = self.photo_rows[:, 2] == "True"
        self.made = files["made"]["f"]
        self.made_rows = pd.DataFrame(files["made"]["rows"], columns=["split", "source", "name", "kind"])
        rows = np.concatenate([files["ladders"]["rows"], files["hard"]["rows"]])
        self.ladder_rows = pd.DataFrame(rows, columns=["split", "source", "name", "fault", "strength"])
        self.ladder_rows["strength"] = self.ladder_rows["strength"].astype(float)
        self.ladders = np.concatenate([files["ladders"]["f"], files["hard"]["f"]])
        self.steps = self._steps()

    def _steps(self) -> pd.DataFrame:
        """Rows of the images before and after each step of each ladder."""
        rows, found = self.ladder_rows, []
        key = rows["source"] + rows["name"]
        clean = {name: index for index, name in key[rows["fault"] == "none"].items()}
        for (name, fault), ladder in rows[rows["fault"] != "none"].groupby([key, "fault"], sort=False):
            numbers = [clean[name], *ladder.sort_values("strength").index]
            first = rows.loc[numbers[1]]
            found += [(a, b, fault, first["split"], first["source"], first["name"]) for a, b in pairwise(numbers)]
        return pd.DataFrame(found, columns=["before", "after", "fault", "split", "source", "name"])

    def fit(self, seen: np.ndarray, config: FeatureTrainingConfig) -> Head:
        """A head that may see these rated images (n,) bool, training photographs, and what is made of both."""
        allowed = set(self.names[seen])
        steps = self.steps[
            (self.steps["split"] == "train") & ((self.steps["source"] != "rated") | self.steps["name"].isin(allowed))
        ]
        weight = steps["fault"].map(lambda fault: FAULT_WEIGHT.get(fault, 1.0)).to_numpy()
        photos = self.photos[~self.photo_is_test]
        rows = (self.made_rows["split"] == "train").to_numpy()
        below = self.made_rows["kind"][rows].map(lambda kind: BELOW[kind.split("-")[0]]).to_numpy()
        known = Known(
            np.concatenate([view[seen] for view in self.views]),
            np.tile(self.mean[seen], 2),
            np.tile(self.std[seen], 2),
            [(self.ladders[steps["before"]], self.ladders[steps["after"]], weight)],
            [
                (photos, np.full(len(photos), PHOTO_SCORE), PHOTO_NOISE),
                (self.made[rows], PHOTO_SCORE - below, MADE_NOISE),
            ],
            np.tile(self.source[seen], 2),
        )
        return fit_head(known, config)


def within(scores: np.ndarray, means: np.ndarray, source: np.ndarray) -> float:
    """Correlation of scores and means, each less the mean of its source."""
    centred = [
        np.concatenate([values[source == s] - values[source == s].mean() for s in sorted(set(source))])
        for values in (scores, means)
    ]
    return float(np.corrcoef(np.stack(centred))[0, 1])


def nested(material: Material, candidates: Sequence[FeatureTrainingConfig], seed: int) -> tuple[np.ndarray, list[int]]:
    """Scores (n,) of images by heads that did not see them, and which candidate was chosen in each fold."""
    fold, scores, chosen = stratified(material.source, 10, seed), np.zeros(len(material.mean)), []
    for k in range(10):
        seen = fold != k
        best = 0
        if len(candidates) > 1:
            inner = np.where(seen, stratified(material.source, 3, seed + 100), -1)
            found = []
            for config in candidates:
                guess = np.zeros(len(scores))
                for j in range(3):
                    guess[inner == j] = material.fit(seen & (inner != j), config).scores(material.views[0][inner == j])
                found.append(np.corrcoef(guess[seen], material.mean[seen])[0, 1])
            best = int(np.argmax(found))
        chosen.append(best)
        scores[~seen] = material.fit(seen, replace(candidates[best], seed=seed)).scores(material.views[0][~seen])
    return scores, chosen


def source_means(material: Material, seed: int) -> np.ndarray:
    """The mean of the image's source over the images that are seen: what can be said without looking."""
    fold = stratified(material.source, 10, seed)
    return np.array(
        [material.mean[(fold != k) & (material.source == s)].mean() for k, s in zip(fold, material.source, strict=True)]
    )


def ladder_table(material: Material, head: Head) -> dict[str, float]:
    """Share of the test ladders of each fault whose scores fall at every step."""
    rows = material.ladder_rows.assign(score=head.scores(material.ladders))
    rows = rows[(rows["split"] == "test") & (rows["fault"] != "none")]
    found = {}
    for fault, group in rows.groupby("fault"):
        scores = group.pivot_table(index=["source", "name"], columns="strength", values="score").to_numpy()
        found[str(fault)] = float((np.diff(scores, axis=1) < 0).all(1).mean())
    return found


def world_table(material: Material, head: Head, seed: int = 0) -> list[dict[str, Any]]:
    """Mean score of each kind of image of test people, with 95% bootstrap intervals over images."""
    random, scores = np.random.default_rng(seed), head.scores(material.photos)
    groups = {
        f"photographs, {s}": scores[material.photo_is_test & (material.photo_rows[:, 0] == s)] for s in ("london", "portraits")
    }
    made = material.made_rows.assign(score=head.scores(material.made))
    for kind, group in made[made["split"] == "test"].groupby("kind"):
        groups[str(kind)] = group["score"].to_numpy()
    ladders = material.ladder_rows.assign(score=head.scores(material.ladders))
    heavy = ladders[(ladders["split"] == "test") & (ladders["strength"] == 1.0)]
    groups["a blend of two faces"] = heavy[heavy["fault"] == "ghost"]["score"].to_numpy()
    groups["half a face and padding"] = heavy[heavy["fault"] == "cut"]["score"].to_numpy()
    groups["eight faults, strength 1"] = heavy[~heavy["fault"].isin(["ghost", "cut"])]["score"].to_numpy()
    found = []
    for name, values in groups.items():
        means = random.choice(values, (2000, len(values))).mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        found.append(
            {
                "kind": name,
                "n": len(values),
                "mean": round(float(values.mean()), 2),
                "low": round(float(low), 2),
                "high": round(float(high), 2),
            }
        )
    return sorted(found, key=lambda row: -row["mean"])


def main() -> None:
    """Read the command line, choose, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rated", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--body", type=Path)
    parser.add_argument(
        "--source-variance", type=float, default=SOURCE_VARIANCE, help="of the sources' random intercepts, in points^2"
    )
    words = parser.parse_args()
    candidates = [replace(config, source_variance=words.source_variance) for config in CANDIDATES]
    material = Material(words.rated, words.work)
    everything = np.ones(len(material.mean), bool)

    found: dict[str, Any] = {"n": len(material.mean)}
    rows, counts = [], np.zeros(len(candidates), int)
    for seed in range(words.repeats):
        scores, chosen = nested(material, candidates, seed)
        counts += np.bincount(chosen, minlength=len(candidates))
        rows.append(
            {
                "pearson": str(bootstrap("pearson", scores, material.mean)),
                "within": within(scores, material.mean, material.source),
            }
        )
    blind = source_means(material, 0)
    best = candidates[int(counts.argmax())]
    left_out = {
        s: float(
            np.corrcoef(
                material.fit(material.source != s, best).scores(material.views[0][material.source == s]),
                material.mean[material.source == s],
            )[0, 1]
        )
        for s in sorted(set(material.source))
    }
    head = material.fit(everything, best)
    found |= {
        "repeats": rows,
        "chosen": counts.tolist(),
        "left out": left_out,
        "left out, mean": float(np.mean(list(left_out.values()))),
        "mean of the source": float(np.corrcoef(blind, material.mean)[0, 1]),
        "ladders": ladder_table(material, head),
        "world": world_table(material, head),
        "curve": learning_curve(lambda seen: material.fit(seen, best), material.views[0], material.mean, material.source, 0),
    }
    print(json.dumps(found, indent=1))
    if words.json:
        words.json.write_text(json.dumps(found, indent=1) + "\n")
    if words.out:
        n_ladders = int((material.steps["split"] == "train").sum()) // len(STRENGTHS)
        metadata = {
            **config_metadata(head, replace(best, n_ladders=n_ladders)),
            "data": DATA,
            "licence": LICENCE,
            "known_faults": list(KNOWN_FAULTS),
        }
        save_features(words.out, head.network(reader(words.body).features), metadata)


if __name__ == "__main__":
    main()
