"""Q against people: five-fold cross-validation on the human ratings of lago2022, zero-shot and fine-tuned.

    python experiments/quality/people.py --source LAGO2022_FOLDER --work SCRATCH_FOLDER [--init quality.safetensors] [--steps 150]

Trains one network a fold from scratch and, with --init, one that starts from those weights; --init alone is the zero-shot score.
Folds are drawn within each generator. Every image is scored by the network that did not see it. Writes `people.json` into the
scratch folder and prints it as a table. The same command again continues. The images and the weights trained on them stay in
the scratch folder: the authors of the ratings state no licence.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from legan.core.listing import find_images
from legan.data.manifest import write_manifest
from legan.data.public.lago2022 import HUMAN_ORDER, read_generators, read_lago2022
from legan.data.ratings import image_labels, write_table
from legan.faces.align import prepare_many
from legan.metrics.agreement import agreement, bootstrap
from legan.quality.scorer import load_quality
from legan.train.quality import WEIGHTS
from legan.train.recipes import RECIPES

N_FOLDS = 5


def make_set(source: Path, folder: Path) -> Path:
    """Align the images and write them as a data set; does nothing where it is done."""
    if (folder / "manifest.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    generators, rows = read_generators(source), []
    for one in prepare_many(find_images([source / "images"]), faces="detect"):
        if one.crop is None or one.path is None:
            print(f"left out: {one.path}: {one.reason}")
            continue
        Image.fromarray(one.crop).save(folder / f"{one.path.stem}.png")
        generator = generators[one.path.name]
        rows.append(
            {
                "path": f"{one.path.stem}.png", "key": "", "identity": one.path.stem, "expression": "", "lighting": "",
                "domain": "photo" if generator == "photo" else "generated", "split": "test", "source": "lago2022",
                "licence": "none stated", "sha256": "", "kind": generator,
            }
        )  # fmt: skip
    write_manifest(rows, folder, {"kind": "string"})
    return folder


def draw_folds(generators: pd.Series, seed: int) -> np.ndarray:
    """Fold (n,) of each image: equally many of each generator in each."""
    random, fold = np.random.default_rng(seed), np.zeros(len(generators), int)
    for name in sorted(set(generators)):
        rows = np.flatnonzero(generators == name)
        fold[rows] = (random.permutation(len(rows)) + random.integers(N_FOLDS)) % N_FOLDS
    return fold


def out_of_fold(
    labels: pd.DataFrame, fold: np.ndarray, crops: np.ndarray, work: Path, settings: list[str], init: Path | None
) -> np.ndarray:
    """Scores (n,) of images by networks that did not see them."""
    scores = np.full(len(labels), np.nan)
    for k in range(N_FOLDS):
        held_out = fold == k
        path = work / f"labels_{k}.csv"
        write_table(labels.assign(split=np.where(held_out, "val", "train"))[["name", "mean", "std", "split"]], path)
        run = work / f"{'tuned' if init else 'scratch'}_{k}"
        RECIPES["quality"].train("lite", [work / "set"], run, settings, init=init, labels=path)
        scores[held_out] = load_quality(run / WEIGHTS, precision="fp32").predict_crops(crops[held_out]).score
    return scores


def results(scores: np.ndarray, means: np.ndarray, generators: np.ndarray) -> dict[str, Any]:
    """Correlations with bootstrap intervals, and mean score by generator, most natural first."""
    by_generator = pd.Series(scores).groupby(generators).mean().sort_values(ascending=False)
    return {
        "pearson": str(bootstrap("pearson", scores, means)),
        "spearman": str(bootstrap("spearman", scores, means)),
        "order": {name: round(value, 2) for name, value in by_generator.items()},
    }


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("settings", nargs="*", help="settings of the trainings, such as loss=l2")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    data = make_set(words.source, words.work / "set")

    ratings = read_lago2022(words.source).ratings
    labels = image_labels(ratings)
    labels["generator"] = read_generators(words.source)[labels["name"]].to_numpy()
    labels["name"] = labels["name"].str.removesuffix(".jpg") + ".png"
    labels = labels[[(data / name).exists() for name in labels["name"]]].reset_index(drop=True)
    crops = np.stack([np.asarray(Image.open(data / name)) for name in labels["name"]])
    fold = draw_folds(labels["generator"], words.seed)
    means, generators = labels["mean"].to_numpy(), labels["generator"].to_numpy()

    settings = [
        "data.batch_size=32", f"loop.n_steps={words.steps}", "loop.sample_every=100000",
        "optimizer.warmup_steps=20", "optimizer.ema_decay=0.97",
        f"loop.seed={words.seed}", *words.settings,
    ]  # fmt: skip
    people = labels.groupby("generator")["mean"].mean().loc[list(HUMAN_ORDER)].round(2).to_dict()
    found: dict[str, Any] = {"n_images": len(labels), "people": people, "ceiling": round(agreement(ratings).ceiling, 3)}
    found["from scratch, five folds"] = results(out_of_fold(labels, fold, crops, words.work, settings, None), means, generators)
    if words.init:
        zero_shot = load_quality(words.init, precision="fp32").predict_crops(crops).score.numpy()
        found["zero-shot"] = results(zero_shot, means, generators)
        tuned = out_of_fold(labels, fold, crops, words.work, [*settings, "optimizer.lr=3e-4"], words.init)
        found["fine-tuned, five folds"] = results(tuned, means, generators)
    (words.work / "people.json").write_text(json.dumps(found, indent=1))
    print(f"{len(labels)} images, noise ceiling of the means {found['ceiling']}; people: {people}")
    for name, row in found.items():
        if isinstance(row, dict) and "pearson" in row:
            print(f"| {name} | {row['pearson']} | {row['spearman']} | {row['order']} |")


if __name__ == "__main__":
    main()
