"""Makes Q hard to fool: its score of an image that was moved within a few grey levels shall be the teacher's of the image as it was.

    python experiments/quality/robust.py --rated LAGO2022 --london LONDON --portraits PORTRAITS [--data SET ...] --out RUN

Two Qs are made. The teacher: the packaged Q's body, and a head that learned from four fifths of the rated images, ladders of faults made
of them, and nothing else. The student starts as the teacher, and all of it learns (adversarial training, Madry et al., ICLR 2018, with the
one step from a random place of Wong et al., ICLR 2020): it sees a crop moved along or against its gradient and is to score it as
the teacher does the crop at rest. How far a crop may move is drawn from 0 to a little over the bound of `attack.py`. The crops are
those of the rated images that were seen, of photographs and of data sets (train splits; test people of London and portraits are left
out), mirrored, shifted, scaled and toned, half of them with a fault. The fifth of the rated images that is left out was seen by
neither: agreement with people is measured on it.

RUN gets `teacher.safetensors`, `quality.safetensors` (the student, written anew every 100 steps) and `held-out.json`.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from features import LICENCE, within
from features_data import crops_of
from torch import Tensor, nn

from legan.core.config import config_to_dict
from legan.core.device import autocast, mixed_dtype
from legan.core.files import make_folder, write_atomic
from legan.core.images import to_network
from legan.core.weights import PACKAGED
from legan.data.degradations import DEGRADATIONS, degrade
from legan.data.manifest import read_manifest, read_pixels
from legan.data.public.lago2022 import read_generators, read_lago2022
from legan.data.ratings import image_labels
from legan.faces.landmarks import locate_in_crop
from legan.metrics.agreement import bootstrap
from legan.models.quality import MODEL, SQUASH, TOP_SCORE, FeatureQuality, jittered, load_quality_net
from legan.train.export import provenance
from legan.train.quality_features import (
    BATCH_SIZE,
    FeatureTrainingConfig,
    Known,
    fit_head,
    ladders_of,
    save_features,
    stratified,
    two_views,
)

GREY = 2 / 255  # a grey level, of networks' -1 to 1
BOUND = 2 * GREY
UP = 0.7  # share of the crops that are moved to a better score, the others to a worse one
N_LADDERS, N_PER_SET = 120, 4000  # ladders of the teacher; images of a data set


class Rated:
    """The rated images (n, 128, 128, 3), what people said of them, and which are left out."""

    def __init__(self, folder: Path) -> None:
        crops = crops_of(folder / "images", "rated")
        names = [crop.name for crop in crops]
        labels = image_labels(read_lago2022(folder).ratings).set_index("name").loc[names]
        self.images = np.stack([crop.image for crop in crops])
        self.mean, self.std = labels["mean"].to_numpy(), labels["std"].to_numpy()
        self.source = read_generators(folder).loc[names].to_numpy()
        self.held_out = stratified(self.source, 5, 0) == 0


def teacher_of(rated: Rated, config: FeatureTrainingConfig) -> FeatureQuality:
    """The packaged body with a head that saw the rated images that are not left out."""
    reader, _ = load_quality_net(PACKAGED)
    assert isinstance(reader, FeatureQuality)
    dtype, seen = torch.bfloat16, ~rated.held_out
    reader.features.to(dtype)
    views = two_views(reader, rated.images[seen], dtype)
    before, after, _ = ladders_of(reader, rated.images[seen], config.n_ladders, tuple(DEGRADATIONS), dtype, config.seed)
    falls = [(before, after, np.ones(len(before)))]
    means, spreads = np.tile(rated.mean[seen], 2), np.tile(rated.std[seen], 2)
    return fit_head(Known(np.concatenate(views), means, spreads, falls), config).network(reader.features.float())


def crops(photos: Mapping[str, Path], sets: list[Path], random: np.random.Generator) -> list[np.ndarray]:
    """Training crops of photographs, by the names that `crops_of` knows test people of, and of data sets: each (n, 128, 128, 3) uint8."""
    found = [np.stack([crop.image for crop in crops_of(folder, name) if not crop.is_test]) for name, folder in photos.items()]
    for folder in sets:
        frame = read_manifest(folder)
        rows: list[dict[str, Any]] = frame[frame["split"] == "train"].to_dict("records")  # type: ignore[assignment]
        found.append(np.stack([read_pixels(folder, rows[i]) for i in random.permutation(len(rows))[:N_PER_SET]]))
    return found


def batch(sources: list[np.ndarray], n: int, random: np.random.Generator) -> Tensor:
    """Draw crops (n, 3, 128, 128) in [-1, 1] of the sources in equal shares, varied."""
    names, drawn = list(DEGRADATIONS), []
    for _ in range(n):
        images = sources[random.integers(len(sources))]
        crop = images[random.integers(len(images))]
        if random.random() < 0.5:
            fault = names[random.integers(len(names))]
            crop = degrade(fault, crop, locate_in_crop(crop), random.uniform(0.1, 1), int(random.integers(2**31)))
        drawn.append(crop[:, ::-1] if random.random() < 0.5 else crop)
    gain = torch.from_numpy(np.exp(random.normal(0, 0.1, (n, 1, 1, 1)) + random.normal(0, 0.03, (n, 3, 1, 1)))).float()
    x = (to_network(np.stack(drawn)) + 1) * gain - 1
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    return jittered(x, lambda *size, **options: torch.rand(*size, generator=generator, **options)).clamp(-1, 1)


def judge(net: FeatureQuality, x: Tensor) -> Tensor:
    """Score, before it is squashed so that the flat ends of the scale do not hide a slope, and spread: (B, 2)."""
    with autocast(mixed_dtype("auto", x.device), x.device):
        score, spread = net.predict(x)
    return torch.stack([torch.logit(score / TOP_SCORE, eps=1e-6) / SQUASH, spread], 1)


def fooled(net: FeatureQuality, x: Tensor, bound: Tensor, direction: Tensor) -> Tensor:
    """Crops (B, 3, H, W) moved within `bound` (B, 1, 1, 1) along the sign of the score's gradient times `direction` (B, 1, 1, 1)."""
    net.requires_grad_(False)
    moved = (x + bound * (2 * torch.rand_like(x) - 1)).clamp(-1, 1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(judge(net, moved)[:, 0].sum(), moved)
    moved = moved.detach() + 1.25 * bound * direction * gradient.sign()
    net.requires_grad_(True)
    return (x + torch.maximum(torch.minimum(moved - x, bound), -bound)).clamp(-1, 1)


def train(
    student: FeatureQuality,
    teacher: FeatureQuality,
    sources: list[np.ndarray],
    random: np.random.Generator,
    words: argparse.Namespace,
    save: Callable[[], None],
) -> None:
    """Teach the student; prints every 100 steps and saves."""
    student.weights, student.bias = nn.Parameter(student.weights), nn.Parameter(student.bias)
    optimizer = torch.optim.Adam(student.parameters(), words.rate)
    n_steps = words.images // words.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, words.rate, n_steps, pct_start=0.05)
    start, sums = time.perf_counter(), np.zeros(3)
    for step in range(n_steps):
        x = batch(sources, words.batch_size, random)
        bound = words.bound * BOUND * torch.from_numpy(random.uniform(0, 1, (len(x), 1, 1, 1))).float()
        direction = torch.from_numpy(np.where(random.random((len(x), 1, 1, 1)) < UP, 1.0, -1.0)).float()
        with torch.no_grad():
            wanted = judge(teacher, x)
        error = judge(student, fooled(student, x, bound, direction)) - wanted
        nn.functional.huber_loss(error, torch.zeros_like(error), delta=2.0).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        off = error.detach()[:, 0]
        sums += float(off.square().mean()), float((off * direction.flatten()).mean()), 1
        if (step + 1) % 100 == 0 or step + 1 == n_steps:
            rate = (step + 1) * words.batch_size / (time.perf_counter() - start)
            error_of = f"squared error {sums[0] / sums[2]:.3f}, moved by {sums[1] / sums[2]:+.3f}"
            print(f"{step + 1} of {n_steps}: {error_of}, {rate:.1f} images/s", flush=True)
            sums[:] = 0
            save()


def agreement_of(path: Path, rated: Rated) -> dict[str, Any]:
    """How far a Q agrees with people on the images that are left out."""
    net, _ = load_quality_net(path)
    with torch.inference_mode():
        scores = torch.cat([net(part) for part in to_network(rated.images[rated.held_out]).split(BATCH_SIZE)]).numpy()
    mean, source = rated.mean[rated.held_out], rated.source[rated.held_out]
    return {"pearson": str(bootstrap("pearson", scores, mean)), "within": within(scores, mean, source), "n": len(mean)}


def main() -> None:
    """Read the command line, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rated", "london", "portraits"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument(
        "--bound", type=float, default=1.25, help="the furthest that a crop is moved, in times of two grey levels"
    )
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(words.seed)
    random = np.random.default_rng(words.seed)
    rated, config = Rated(words.rated), FeatureTrainingConfig(n_ladders=N_LADDERS, seed=words.seed)
    teacher = teacher_of(rated, config).to(memory_format=torch.channels_last)
    student = copy.deepcopy(teacher)
    facts = {
        "model": MODEL, "network": config_to_dict(teacher.config), "training": {"preset": "features", **config_to_dict(config)},
        "adversarial": {name: getattr(words, name) for name in ("images", "batch_size", "rate", "bound", "seed")},
        "licence": LICENCE, **provenance(),
    }  # fmt: skip
    files = {name: make_folder(words.out) / f"{name}.safetensors" for name in ("teacher", "quality")}
    save_features(files["teacher"], teacher, facts)
    sources = [
        rated.images[~rated.held_out],
        *crops({"london": words.london, "portraits": words.portraits}, words.data, random),
    ]
    train(student, teacher, sources, random, words, lambda: save_features(files["quality"], student, facts))
    found = json.dumps({name: agreement_of(path, rated) for name, path in files.items()}, indent=1)
    print(found)
    write_atomic(words.out / "held-out.json", (found + "\n").encode())


if __name__ == "__main__":
    main()
