"""Train and measure: every training of verification and of expression recognition, with several seeds.

    python experiments/recognition/run.py --sets data/recognition --renders data/rendered --london data/relit \
        --portraits data/portraits-relit --reexpressed data/reexpressed --out runs/recognition

Trainings: `original`; `augmented`, with the synthetic images that passed; `unfiltered`, with all; `repeated`, the original images for as
many steps as augmented ones take; `classical`, the same with random changes of place, light, tone and sharpness; `together`, the
augmented set with the classical changes. An epoch is an epoch: `original` takes `--steps`, the others `1 + ratio` times as many. `photos`
is verification, too, learned from photographs. Tested on people whom neither the classifier nor the editor saw: the
split test of the renders, under all lights and expressions, and for verification the London people and portraits of the split val.
London has two expressions only: `--reexpressed` adds, for expression recognition, photos of the same people that `legan reexpress` warped
to all six. Each (training, seed) leaves `result.json` and `scores.npz` in its own folder; run again, it continues where it was. `report.py`
makes the tables.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from legan.core.errors import LeganError
from legan.core.files import atomic_write, make_folder, write_atomic
from legan.data.faces import LabelledFaces
from legan.evaluation.expression import ExpressionClassifier, expression_figures
from legan.faces.embeddings import load_embedding
from legan.metrics.verification import Pairs, draw_pairs, score_pairs, verification_figures
from legan.train.expression import WEIGHTS as EXPRESSION_WEIGHTS
from legan.train.identity import WEIGHTS as IDENTITY_WEIGHTS
from legan.train.recipes import RECIPES

TRAININGS = ("original", "repeated", "augmented", "classical", "together", "unfiltered")
SETS = {"augmented": "augmented", "together": "augmented", "unfiltered": "unfiltered"}  # the others train on the original set
CHANGED = ("classical", "together")
WHAT = ("verification", "expression", "photos")
FARS = (1e-3, 1e-2)
N_PAIRS = 6000
# Small networks, so that a training takes minutes on one core.
NETWORK = "network.widths=[12, 24, 48, 48, 32]"
N_TEST_IMAGES = 40  # of each person


class Tested(NamedTuple):
    """Test images of one kind, and for verification pairs of them."""

    crops: np.ndarray
    label: np.ndarray
    pairs: Pairs


def main() -> None:
    """Read the command line; train and measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, required=True, help="folder that sets.py wrote")
    parser.add_argument("--renders", type=Path, required=True, help="rendered set whose split test is tested on")
    parser.add_argument("--london", type=Path, required=True, help="London photos and relit photos, split val")
    parser.add_argument("--portraits", type=Path, help="portraits and relit ones, split val")
    parser.add_argument("--reexpressed", type=Path, help="what `legan reexpress` made of London, split val")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS[:-1]), help="all but the last")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150, help="of `original`; the others take as many for each epoch")
    parser.add_argument("--ratio", type=float, default=1.0, help="as given to sets.py")
    parser.add_argument("--batch", type=int, default=48)
    options = parser.parse_args()
    torch.set_num_threads(1)
    both = {"render": test_images(options.renders, "test"), "london": test_images(options.london, "val")}
    of_expression, of_verification = dict(both), dict(both)
    if options.reexpressed is not None:
        of_expression["reexpressed"] = test_images(options.reexpressed, "val")
    if options.portraits is not None:
        of_verification["portraits"] = test_images(options.portraits, "val")
    for seed in options.seeds:  # seeds outermost: a run that is stopped has whole seeds
        for what in options.what:
            for training in options.trainings:
                one(what, training, seed, options, of_expression if what == "expression" else of_verification)
    for what in {"verification", "photos"} & set(options.what):
        reference(options.out / what / "dlib", of_verification)


def one(what: str, training: str, seed: int, options: argparse.Namespace, tests: dict[str, Tested]) -> None:
    """One training and its figures, unless they are there; figures on new test images of a training that is."""
    folder = options.out / what / f"{training}-{seed}"
    result = folder / "result.json"
    done = json.loads(result.read_text()) if result.exists() else {"measures": {}}
    if all(any(name.startswith(f"{kind} ") for name in done["measures"]) for kind in tests):
        return
    start = time.perf_counter()
    data = options.sets / what / SETS.get(training, "original")
    n_steps = options.steps if training == "original" else round(options.steps * (1 + options.ratio))
    loop = [f"loop.seed={seed}", f"loop.n_steps={n_steps}", f"loop.sample_every={max(1, n_steps // 6)}", "loop.log_every=25"]
    settings = [
        *loop,
        "loop.checkpoint_every=50",
        NETWORK,
        f"optimizer.warmup_steps={max(1, n_steps // 10)}",
        "optimizer.ema_decay=0.98",
    ]
    augment = 1.0 if training in CHANGED else 0.0
    if what != "expression":
        own = [f"data.augment={augment}", f"data.batch_size={options.batch}", f"margin.n_rise_steps={n_steps // 3}"]
        RECIPES["identity"].train("lite", [data], folder / "run", [*settings, *own])
        measures = verify(folder, str(folder / "run" / IDENTITY_WEIGHTS), tests)
    else:
        own = [f"data.augment={augment}", f"data.batch_size={options.batch}"]
        RECIPES["expression"].train("lite", [data], folder / "run", [*settings, *own])
        measures = recognize(ExpressionClassifier(folder / "run" / EXPRESSION_WEIGHTS), tests)
    facts = {"training": training, "seed": seed, "steps": n_steps, "seconds": round(time.perf_counter() - start, 1)}
    facts = {
        name: done.get(name, value) for name, value in facts.items()
    }  # the time of the training, not of measuring it again
    write_atomic(result, json.dumps({**facts, "measures": measures}, indent=2).encode())
    print(json.dumps({"what": what, **facts}), flush=True)


def reference(folder: Path, tests: dict[str, Tested]) -> None:
    """dlib's network, which learned from three million photos, on the same pairs."""
    if not (folder / "result.json").exists():
        make_folder(folder)
        measures = verify(folder, "dlib", tests)
        write_atomic(folder / "result.json", json.dumps({"training": "dlib", "measures": measures}, indent=2).encode())


def test_images(folder: Path, split: str) -> Tested:
    """Up to `N_TEST_IMAGES` images of each person, spread evenly, and pairs of them; the same for all trainings."""
    faces = LabelledFaces([folder], split, memory_gb=0.0)
    random = np.random.default_rng(0)
    chosen = np.concatenate(
        [random.permutation(np.flatnonzero(faces.person == person))[:N_TEST_IMAGES] for person in np.unique(faces.person)]
    )
    return Tested(faces.images(chosen), faces.label[chosen], draw_pairs(faces.person[chosen], N_PAIRS, random))


def verify(folder: Path, identity: str, tests: dict[str, Tested]) -> dict[str, float]:
    """Figures of an embedding on each kind of test images; the scores are kept for the ROC."""
    embedding, measures, kept = load_embedding(identity), {}, {}
    for kind, test in tests.items():
        vectors = embedding.embed([Image.fromarray(crop) for crop in test.crops])
        scores, same = score_pairs(vectors, test.pairs), test.pairs.same
        figures = verification_figures(scores, same, FARS)
        measures |= {f"{kind} AUC": figures.auc, f"{kind} accuracy": float(figures.accuracy or 0), f"{kind} EER": figures.eer}
        measures |= {f"{kind} TAR at FAR {far:g}": tar for far, tar in figures.tar.items()}
        kept |= {f"{kind}_scores": scores, f"{kind}_same": same}
    with atomic_write(folder / "scores.npz") as file:
        np.savez(file, **kept)  # type: ignore[arg-type]
    return measures


def recognize(classifier: ExpressionClassifier, tests: dict[str, Tested]) -> dict[str, float]:
    """AUC of each expression against the rest, their mean, and accuracy, on each kind of test images."""
    measures: dict[str, float] = {}
    for kind, test in tests.items():
        known: Sequence[Any] = np.isin(test.label, classifier.labels)
        figures = expression_figures(classifier.probabilities(test.crops[known]), test.label[known], classifier.labels)
        measures |= {f"{kind} {name} AUC": area for name, area in figures.auc.items() if area is not None}
        measures |= {f"{kind} mean AUC": float(figures.mean_auc or 0), f"{kind} accuracy": figures.accuracy}
    return measures


if __name__ == "__main__":
    try:
        main()
    except LeganError as error:
        sys.exit(f"error: {error}")
