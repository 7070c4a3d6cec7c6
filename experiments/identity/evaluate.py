"""How well identity embeddings tell held-out people apart: by domain, across lighting, across expression, on the same pairs.

    python experiments/identity/evaluate.py --data data/rendered --data data/london --london ../shared/london

Prints the tables of README.md. All pairs of the crops drawn are judged; the same seed draws the same crops.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from legan.core.conditions import EXPRESSIONS
from legan.data.faces import FaceDataset
from legan.faces.align import prepare
from legan.faces.embeddings import Embedding, load_embedding
from legan.metrics.verification import Pairs, all_pairs, auc, equal_error_rate, score_pairs, tar_at_far
from legan.models.lightcnn import INPUT_SIZE

FAR = 1e-2
NEUTRAL = EXPRESSIONS.index("neutral")


class Trial(NamedTuple):
    """Crops of one domain, as indices of the data set, and which pairs of them are judged."""

    domain: str
    what: str
    crops: np.ndarray
    pairs: Pairs


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="data set folder; may be repeated")
    parser.add_argument("--identity", action="append", help="embedding, as in `legan match`; may be repeated")
    parser.add_argument("--split", default="val")
    parser.add_argument("--n-crops", type=int, default=12, help="of each person in each trial")
    parser.add_argument("--london", type=Path, help="the folder of London photos, for neutral against smile")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    embeddings = [load_embedding(name) for name in options.identity or ["packaged", "dlib"]]
    faces = FaceDataset(options.data, options.split, (), INPUT_SIZE, memory_gb=0.0)
    trials = list(draw_trials(faces, options.n_crops, np.random.default_rng(options.seed)))

    print(f"split {options.split}, up to {options.n_crops} crops of each person, seed {options.seed}\n")
    print(f"| domain | pairs | people | crops | same / other pairs | embedding | AUC | TAR at FAR {FAR:g} | EER |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    vectors = [embed(embedding, faces, trials) for embedding in embeddings]
    for trial in trials:
        for embedding, found in zip(embeddings, vectors, strict=True):
            print_trial(trial, faces, embedding.name, found)
    if options.london:
        print_smiles(options.london, embeddings)
    for embedding in embeddings:
        print(f"\n{embedding.name}: " + ", ".join(f"{key} {value}" for key, value in embedding.provenance.items()))


def draw_trials(faces: FaceDataset, n_crops: int, random: np.random.Generator) -> Iterator[Trial]:
    """Three trials for each domain, where its crops allow: any pair, across lighting, across expression."""
    for domain in sorted(set(faces.domain)):
        own = np.flatnonzero(faces.domain == domain)
        yield from _trial(faces, domain, "any", draw(faces, own, n_crops, random), None)

        # Across lighting: neutral faces, both of a pair under different lights, whoever they show.
        neutral = draw(faces, own[faces.expression[own] == NEUTRAL], n_crops, random)
        yield from _trial(faces, domain, "across lighting", neutral, faces.lighting)

        # Across expression: one light, the one of which there are most crops, both of a pair with different expressions.
        lights, counts = np.unique(faces.lighting[own], return_counts=True)
        light = lights[counts.argmax()]
        lit = draw(faces, own[faces.lighting[own] == light], n_crops, random)
        yield from _trial(faces, domain, "across expression", lit, faces.expression)


def draw(faces: FaceDataset, members: np.ndarray, n_crops: int, random: np.random.Generator) -> np.ndarray:
    """Up to `n_crops` of each person's crops."""
    members = random.permutation(members)
    people = [members[faces.person[members] == person][:n_crops] for person in np.unique(faces.person[members])]
    return np.sort(np.concatenate(people)) if people else members


def _trial(faces: FaceDataset, domain: str, what: str, crops: np.ndarray, differing: np.ndarray | None) -> Iterator[Trial]:
    """The pairs of crops that differ in the condition `differing`; nothing where there are none of one kind."""
    pairs = all_pairs(faces.person[crops])
    if differing is not None:
        kept = differing[crops[pairs.first]] != differing[crops[pairs.second]]
        pairs = Pairs(*(side[kept] for side in pairs))
    if pairs.same.any() and not pairs.same.all():
        yield Trial(domain, what, crops, pairs)


def embed(embedding: Embedding, faces: FaceDataset, trials: list[Trial]) -> np.ndarray:
    """Unit vectors (n crops of the data set, d); rows of crops in no trial stay zero."""
    wanted = np.unique(np.concatenate([trial.crops for trial in trials]))
    found = embedding.embed([Image.fromarray(crop) for crop in faces.images(wanted)])
    vectors = np.zeros((len(faces), found.shape[1]), np.float32)
    vectors[wanted] = found
    return vectors


def print_trial(trial: Trial, faces: FaceDataset, name: str, vectors: np.ndarray) -> None:
    """One row."""
    same, scores = trial.pairs.same, score_pairs(vectors[trial.crops], trial.pairs)
    figures = auc(scores, same), tar_at_far(scores, same, FAR), equal_error_rate(scores, same)
    n_people = len(np.unique(faces.person[trial.crops]))
    counts = f"{n_people} | {len(trial.crops)} | {same.sum()} / {(~same).sum()}"
    print(f"| {trial.domain} | {trial.what} | {counts} | {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")


def print_smiles(folder: Path, embeddings: list[Embedding]) -> None:
    """For held-out people with a neutral and a smiling photo, ID_neutral.jpg and ID_smile.jpg: is the own smile nearer than another's?

    Faces are found, aligned and cut as any photo's. Every fifth person by id is held out, as in all uses of the London set.
    """
    people = sorted({path.name.split("_")[0] for path in folder.glob("*_neutral.jpg")})[4::5]
    crops = []
    for expression in ("neutral", "smile"):
        prepared = [prepare(folder / f"{person}_{expression}.jpg", faces="detect") for person in people]
        crops.append([one.crop for one in prepared])
    found = [i for i, pair in enumerate(zip(*crops, strict=True)) if all(crop is not None for crop in pair)]
    n = len(found)
    print(f"\nNeutral and smiling photos of {len(people)} held-out people; both faces found: {n}\n")
    print("| embedding | own nearer than another's smile | own nearest of all | smallest own score | largest other score |")
    print("| --- | --- | --- | --- | --- |")
    for embedding in embeddings:
        neutral, smile = (embedding.embed([Image.fromarray(side[i]) for i in found]) for side in crops)
        score, others = neutral @ smile.T, ~np.eye(n, dtype=bool)
        nearer = (np.diag(score)[:, None] > score)[others]
        nearest = (score.argmax(1) == np.arange(n)).mean()
        cells = f"{nearer.mean():.1%} of {nearer.size} | {nearest:.1%} | {np.diag(score).min():.3f} | {score[others].max():.3f}"
        print(f"| {embedding.name} | {cells} |")


if __name__ == "__main__":
    main()
