"""Which features agree with people about how natural a face looks: the distance of a rated image from photographs against its mean rating.

    python experiments/feature-network/people.py --rated LAGO2022 --photos FOLDER [--photos FOLDER ...]

A Gaussian is fitted to the features of the photographs' crops (Ledoit and Wolf's covariance, after whitening); a rated image's distance is
that of Mahalanobis. Printed: the rank correlation of minus this distance with the mean rating, over all images and within their sources
(each less its mean), with 95% bootstrap intervals over images; and the Fréchet distance of each generator's images from the photographs
among the rated images, which are as many, beside its mean rating. Nothing of the rated images or the ratings is kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.covariance import LedoitWolf

from legan.core.images import resized, to_network
from legan.data.public.lago2022 import read_generators, read_lago2022
from legan.data.ratings import image_labels
from legan.evaluation.evaluators import load_fid_network, pooled
from legan.faces.align import prepare_many
from legan.metrics.distributions import frechet_distance
from legan.models.quality import load_quality_net

N_RESAMPLES = 2000


def crops_of(folder: Path) -> tuple[list[str], np.ndarray]:
    """Names and aligned crops (n, 128, 128, 3) of a folder's images; those without a face are left out."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    found = [one for one in prepare_many(paths, faces="detect", n_threads=1) if one.path and one.crop is not None]
    return [one.path.name for one in found if one.path], np.stack([one.crop for one in found])


@torch.inference_mode()
def candidates(images: np.ndarray) -> dict[str, np.ndarray]:
    """Features (n, d) of crops by name."""
    lightcnn, body = load_fid_network("lightcnn"), load_quality_net()[0].features.float()
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(images), 16):
        x = to_network(images[start : start + 16])
        found.setdefault("lightcnn, all layers", []).append(lightcnn.features(x).numpy())
        for size in (128, 224):
            means = [pooled(stage) for stage in body(resized(x, size))]
            for name, chosen in (("all stages", means), ("stages 2 to 6", means[1:6]), ("last stage", means[-1:])):
                found.setdefault(f"efficientnet-lite0 at {size}, {name}", []).append(torch.cat(chosen, 1).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def distances(features: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """Distances (n,) of Mahalanobis from the photographs."""
    mean, std = photos.mean(0), photos.std(0) + 1e-6
    fitted = LedoitWolf().fit((photos - mean) / std)
    return np.sqrt(fitted.mahalanobis((features - mean) / std))


def centred(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Values less the mean of their source."""
    return values - np.array([values[source == s].mean() for s in source])


def spearman(a: np.ndarray, b: np.ndarray, random: np.random.Generator) -> str:
    """Rank correlation with its 95% interval."""

    def correlation(rows: np.ndarray) -> float:
        return float(np.corrcoef(rankdata(a[rows]), rankdata(b[rows]))[0, 1])

    draws = [correlation(random.integers(len(a), size=len(a))) for _ in range(N_RESAMPLES)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{correlation(np.arange(len(a))):.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rated", type=Path, required=True)
    parser.add_argument("--photos", type=Path, action="append", required=True)
    words = parser.parse_args()
    torch.set_num_threads(1)
    names, rated = crops_of(words.rated / "images")
    means = image_labels(read_lago2022(words.rated).ratings).set_index("name").loc[names]["mean"].to_numpy()
    source = read_generators(words.rated).loc[names].to_numpy()
    photos = candidates(np.concatenate([crops_of(folder)[1] for folder in words.photos]))
    generators = sorted(set(source) - {"photo"}, key=lambda s: -means[source == s].mean())
    print(f"rated: {len(names)}; photographs: {len(next(iter(photos.values())))}")
    print(f"mean ratings: {json.dumps({s: round(float(means[source == s].mean()), 2) for s in ['photo', *generators]})}")
    print(f"| features | all | within a source | {' | '.join(f'Fréchet, {s}' for s in generators)} |")
    print("| --- " * (3 + len(generators)) + "|")
    for name, features in candidates(rated).items():
        random, near = np.random.default_rng(0), -distances(features, photos[name])
        std, near_by = photos[name].std(0) + 1e-6, features[source == "photo"]
        away = [f"{frechet_distance(near_by / std, features[source == s] / std):.1f}" for s in generators]
        row = [spearman(near, means, random), spearman(centred(near, source), centred(means, source), random), *away]
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
