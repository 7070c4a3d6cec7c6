"""Q on held-out images, and the rating losses compared: the table of losses over seeds, and of the best one by kind of image.

    python experiments/quality/compare.py --data SET --ratings ratings.csv --work RUNS [--losses margin,l2] [--seeds 0,1,2] [settings ...]

Trains one network for each loss and seed on the split `train`, measures on `test` (people and settings of synthesis unseen): Pearson,
Spearman and mean error against the rating means, beside the noise ceiling of those means, all together and by kind; then how many
ladders of five strengths of a degradation have scores that fall step by step (in the table of losses as `falling`, the mean over the
kinds of degradation). The same command again continues. Ratings by simulated raters are called simulated in what it prints.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from legan.data.manifest import image_names, read_manifest
from legan.data.rated import RatedImages
from legan.data.ratings import clean, image_labels, is_simulated, read_ratings, with_splits, write_table
from legan.metrics.agreement import agreement, bootstrap, figures
from legan.quality.scorer import load_quality
from legan.train.quality import WEIGHTS
from legan.train.recipes import RECIPES

MIN_IMAGES = 20  # of a kind, to tell a correlation
LADDER = (0.2, 0.4, 0.6, 0.8, 1.0)


def scores_of(weights: Path, images: RatedImages) -> np.ndarray:
    """Scores (n,) of images."""
    scorer = load_quality(weights, precision="fp32")
    parts = np.array_split(images.images, range(256, len(images), 256))
    return np.concatenate([scorer.predict_crops(part).score.numpy() for part in parts])


def by_kind(scores: np.ndarray, images: RatedImages, ratings: pd.DataFrame) -> list[dict[str, Any]]:
    """One line for all images and one a kind: correlations with intervals beside the ceiling."""
    rows = []
    for kind in ["all", *sorted(set(images.kinds))]:
        chosen = np.ones(len(images), bool) if kind == "all" else images.kinds == kind
        if chosen.sum() < MIN_IMAGES:
            continue
        told = agreement(ratings[ratings["image"].isin(images.names[chosen])])
        pair = scores[chosen], images.mean[chosen]
        row = {"kind": kind, "n": int(chosen.sum()), "ceiling": round(told.ceiling, 3)}
        rows.append({**row, **{name: str(bootstrap(name, *pair, n_resamples=1000)) for name in ("pearson", "spearman")}})
    return rows


def falls(scores: np.ndarray, images: RatedImages) -> list[dict[str, Any]]:
    """Share of complete ladders, by degradation, whose scores fall from each strength to the next, and over the whole ladder."""
    rows = images.rows.assign(score=scores)
    if "degradation" not in rows:
        return []
    ladders = rows[rows["degradation"] != "none"].assign(strength=rows["strength"].round(2))
    found = []
    for degradation, group in ladders.groupby("degradation"):
        table = group.pivot_table(index="reference", columns="strength", values="score").reindex(columns=LADDER).dropna()
        if len(table):
            steps = np.diff(table.to_numpy(), axis=1)
            found.append(
                {
                    "degradation": degradation, "n": len(table), "monotone": round(float((steps < 0).all(1).mean()), 3),
                    "falls overall": round(float((table[1.0] < table[0.2]).mean()), 3),
                }
            )  # fmt: skip
    return found


def main() -> None:
    """Read the command line, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ratings", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--losses", default="margin,l2,squared-hinge,nll")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("settings", nargs="*", help="settings of the trainings, such as loop.n_steps=1000")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    words.work.mkdir(parents=True, exist_ok=True)
    names = list(image_names(read_manifest(words.data)))
    ratings = clean(read_ratings(words.ratings), images=names).ratings
    who = "SIMULATED raters" if is_simulated(ratings) else "raters"
    labels = with_splits(image_labels(ratings), words.data)
    path = write_table(labels, words.work / "labels.csv")

    table, test = [], None
    for loss in words.losses.split(","):
        for seed in map(int, words.seeds.split(",")):
            run = words.work / f"{loss}-{seed}"
            RECIPES["quality"].train(
                "lite", [words.data], run, [f"loss={loss}", f"loop.seed={seed}", *words.settings], labels=path
            )
            test = test or RatedImages([words.data], labels, "test")
            scores = scores_of(run / WEIGHTS, test)
            falling = float(np.mean([ladder["monotone"] for ladder in falls(scores, test)]))
            table.append({"loss": loss, "seed": seed, **figures(scores, test.mean), "falling": falling})
    assert test is not None
    frame = pd.DataFrame(table)
    summary = frame.groupby("loss")[["pearson", "spearman", "mae", "falling"]].agg(["mean", "std"]).round(4)
    best = frame.groupby("loss")["pearson"].mean().idxmax()
    first = words.work / f"{best}-{words.seeds.split(',')[0]}" / WEIGHTS
    scores = scores_of(first, test)
    kinds, ladders = by_kind(scores, test, ratings), falls(scores, test)
    (words.work / "compare.json").write_text(
        json.dumps({"who": who, "runs": table, "kinds": kinds, "falls": ladders}, indent=1)
    )
    print(
        f"{len(test)} test images, labels by {who}\n\n{summary}\n\n{best}, first seed:\n{pd.DataFrame(kinds).to_string(index=False)}"
    )
    print(f"\nladders of five strengths\n{pd.DataFrame(ladders).to_string(index=False)}")


if __name__ == "__main__":
    main()
