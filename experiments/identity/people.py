"""How well the packaged identity network tells people apart on photographs, beside dlib's, and the thresholds of `legan match`.

    python experiments/identity/people.py --data data/relit --data data/portraits-relit --data data/portraits-reexpressed \
        --strangers ../ratings/lago2022/images --world face_recognition-1.3.0/tests/test_images [--edits]

Prints the tables of README.md. People are of the split `val`, whom the network did not learn from.

- One photo of a person against up to 11 others of the person (photo, relit, re-expressed, and with `--edits` the packaged editor's edits)
  and against as many crops of other people. Accuracy is over ten folds, each judged at the threshold that is best on the others.
- Agreement: Spearman correlation of the match score with dlib's distance (its sign turned), over all pairs of a photo and another crop.
- Thresholds: up to `N_OF_PERSON` crops a person, and one of each of the `--strangers`, who are all different; every pair. `same` is the
  score that 1 in 1000 pairs of two people reaches, `different` the one that 50 in 1000 reach. `--into FILE` writes them into the weights.
- The world: images whose name begins with a person's, as `obama2.jpg`.
"""

import argparse
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr

from legan.core.images import to_network
from legan.core.listing import images_in_folder
from legan.core.weights import load_weights, save_weights
from legan.data.faces import LabelledFaces
from legan.editing.editor import load_editor
from legan.faces.align import prepare
from legan.faces.embeddings import Embedding, load_embedding, model_path
from legan.metrics.verification import Pairs, all_pairs, score_pairs, verification_figures
from legan.models.face_resnet import read_dlib

FARS = (1e-3, 1e-2)
N_OF_PERSON = 6
SAME_RATE, DIFFERENT_RATE = 1e-3, 5e-2
N_JUDGED = 12  # crops a person, photos first, for accuracy and agreement
EDITS = (("surprise", None), (None, "03"))  # expression and lighting


class Crops:
    """Crops uint8 (n, 128, 128, 3), who each shows, and whether it is an unedited photo."""

    def __init__(self, images: np.ndarray, person: np.ndarray, is_photo: np.ndarray) -> None:
        self.images, self.person, self.is_photo = images, person, is_photo

    def with_edits(self) -> "Crops":
        """These and the packaged editor's edits of the photos."""
        editor, photos = load_editor(), self.images[self.is_photo]
        x = torch.from_numpy(photos).permute(0, 3, 1, 2) / 255
        made = [editor(part, expression, lighting) for expression, lighting in EDITS for part in x.split(8)]
        edits = (torch.cat(made).permute(0, 2, 3, 1) * 255).round().byte().numpy()
        person = np.tile(self.person[self.is_photo], len(EDITS))
        parts = ((self.images, edits), (self.person, person), (self.is_photo, np.zeros(len(edits), bool)))
        return Crops(*(np.concatenate(part) for part in parts))


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="data set folder; may be repeated")
    parser.add_argument("--strangers", type=Path, help="folder of images of as many people")
    parser.add_argument("--world", type=Path, help="folder of images named by person")
    parser.add_argument("--identity", action="append", help="embedding, as in `legan match`; may be repeated")
    parser.add_argument("--edits", action="store_true", help="the packaged editor's edits of the photos too")
    parser.add_argument("--into", type=Path, help="weights file that is given the thresholds of the first embedding")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    embeddings = [embedding_of(name) for name in options.identity or ["packaged", "lightcnn", "dlib"]]

    print("| people of | photos, crops | pairs of one, of two | embedding | accuracy | AUC | TAR at FAR 0.001 | agreement |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    whole = LabelledFaces(options.data, "val", memory_gb=0.0)
    sources = np.array([whole.of_folder("source", index)[0] for index in range(len(options.data))])[whole.folder]
    for source in sorted(set(sources)):
        chosen = some_of_each(whole, np.flatnonzero(sources == source), N_JUDGED, options.seed)
        crops = Crops(whole.images(chosen), whole.person[chosen], whole.domain[chosen] == "photo")
        verify(source, crops.with_edits() if options.edits else crops, embeddings, options.seed)

    print(
        "\n| embedding | same from | different below | of pairs of two people: same, unsure, different | of one | n of two, of one |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    chosen = some_of_each(whole, np.arange(len(whole)), N_OF_PERSON, options.seed)
    images, person = whole.images(chosen), whole.person[chosen]
    if options.strangers:
        faces = faces_of(images_in_folder(options.strangers))
        images = np.concatenate([images, np.stack([crop for _, crop in faces])])
        person = np.concatenate([person, person.max() + 1 + np.arange(len(faces))])
    pairs = all_pairs(person)
    found = [thresholds(embedding, images, pairs) for embedding in embeddings]
    if options.into:
        tensors, metadata = load_weights(options.into)
        save_weights(options.into, tensors, metadata | {"thresholds": found[0]}, half=True)

    if options.world:
        print(
            "\n| embedding | pairs of one person: lowest, mean | pairs of two: mean, highest | n | answers, of one and of two |"
        )
        print("| --- | --- | --- | --- | --- |")
        for embedding, bounds in zip(embeddings, found, strict=True):
            world(embedding, bounds, faces_of(images_in_folder(options.world)))


def verify(source: str, crops: Crops, embeddings: Sequence[Embedding], seed: int) -> None:
    """Print the rows of one source: photos against other crops."""
    first, second = np.nonzero(crops.is_photo[:, None] & ~np.eye(len(crops.person), dtype=bool))
    pairs = Pairs(first, second, crops.person[first] == crops.person[second])
    random = np.random.default_rng(seed)
    n_same = int(pairs.same.sum())
    others = random.choice(np.flatnonzero(~pairs.same), n_same, replace=False)
    judged = random.permutation(np.concatenate([np.flatnonzero(pairs.same), others]))
    by_dlib = vectors(embedding_of("dlib"), crops.images, raw=True)
    distance = np.linalg.norm(by_dlib[first] - by_dlib[second], axis=1)
    for embedding in embeddings:
        scores = score_pairs(vectors(embedding, crops.images), pairs)
        figures = verification_figures(scores[judged], pairs.same[judged], FARS)
        strict = verification_figures(scores, pairs.same, FARS)
        agreement = spearmanr(scores, -distance).statistic
        print(
            f"| {source} ({len(np.unique(crops.person))}) | {crops.is_photo.sum()}, {len(crops.person)} | {n_same}, "
            f"{(~pairs.same).sum()} | {embedding.name} | {figures.accuracy:.4f} | {strict.auc:.4f} | {strict.tar[1e-3]:.3f} | "
            f"{agreement:.3f} |",
            flush=True,
        )


def thresholds(embedding: Embedding, images: np.ndarray, pairs: Pairs) -> dict[str, float | int]:
    """Choose the thresholds of an embedding, print its row."""
    scores = score_pairs(vectors(embedding, images), pairs)
    two, one = scores[~pairs.same], scores[pairs.same]
    same, different = (round(float(np.quantile(two, 1 - rate)), 3) for rate in (SAME_RATE, DIFFERENT_RATE))
    shares = [shares_of(values, same, different) for values in (two, one)]
    words = [", ".join(f"{100 * share:.2f}%" for share in part) for part in shares]
    print(f"| {embedding.name} | {same} | {different} | {words[0]} | {words[1]} | {len(two)}, {len(one)} |", flush=True)
    return {
        "same": same,
        "different": different,
        "two_called_same": shares[0][0],
        "two_called_different": shares[0][2],
        "one_called_same": shares[1][0],
        "one_called_different": shares[1][2],
        "n_two": len(two),
        "n_one": len(one),
    }


def shares_of(scores: np.ndarray, same: float, different: float) -> tuple[float, float, float]:
    """Shares of scores that are called same, unsure, different."""
    is_same, is_different = (scores >= same).mean(), (scores < different).mean()
    return round(float(is_same), 5), round(float(1 - is_same - is_different), 5), round(float(is_different), 5)


def world(embedding: Embedding, bounds: dict[str, float | int], faces: Sequence[tuple[Path, np.ndarray]]) -> None:
    """Print the row of an embedding on images named by person; others (`32bit.png`, a copy) are left out."""
    named = [(found[0], crop) for path, crop in faces if (found := re.match(r"[a-z]+", path.stem))]
    people = np.array([name for name, _ in named])
    pairs = all_pairs(people)
    scores = score_pairs(vectors(embedding, np.stack([crop for _, crop in named])), pairs)
    one, two = scores[pairs.same], scores[~pairs.same]
    answers = [
        "/".join(f"{share * len(part):.0f}" for share in shares_of(part, bounds["same"], bounds["different"]))
        for part in (one, two)
    ]
    print(
        f"| {embedding.name} | {one.min():.3f}, {one.mean():.3f} | {two.mean():.3f}, {two.max():.3f} | {len(one)}, {len(two)} | "
        f"{answers[0]}; {answers[1]} |"
    )


@lru_cache
def embedding_of(name: str) -> Embedding:
    """As `load_embedding`, but dlib's network in torch, which is faster; tests hold the two against each other."""
    if name != "dlib":
        return load_embedding(name)
    net = read_dlib(model_path())

    @torch.inference_mode()
    def run(x: torch.Tensor) -> np.ndarray:
        return net(x).numpy()

    return Embedding("dlib", run)


def some_of_each(faces: LabelledFaces, members: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Indices of up to n of each person's crops, photos first."""
    random, chosen = np.random.default_rng(seed), []
    for person in np.unique(faces.person[members]):
        own = random.permutation(members[faces.person[members] == person])
        chosen += sorted(own, key=lambda index: faces.domain[index] != "photo")[:n]
    return np.array(chosen)


def faces_of(paths: Sequence[Path]) -> list[tuple[Path, np.ndarray]]:
    """The largest face of each image that has one."""
    return [(path, found) for path in paths if (found := prepare(path).crop) is not None]


def vectors(embedding: Embedding, images: np.ndarray, raw: bool = False) -> np.ndarray:
    """Embeddings (n, d) of crops, unit vectors or, `raw`, as the network gives them."""
    if raw:
        return np.concatenate(
            [embedding.network(to_network(part)) for part in np.array_split(images, max(1, len(images) // 32))]
        )
    return embedding.embed([Image.fromarray(image) for image in images])


if __name__ == "__main__":
    main()
