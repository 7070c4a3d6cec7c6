"""Makes the body of Q hard to fool: its statistics of an image that was moved within a few grey levels shall be those of the image.

    python experiments/quality/robust.py --photos FOLDER [--photos FOLDER ...] [--data SET ...] --out body.safetensors [--images 30000]

Adversarial training without labels (FARE: Schlarmann et al., ICML 2024): the teacher is the body as ImageNet left it, on clean crops;
the student sees the crop moved so that its statistics are as far from the teacher's as a gradient step from a random place brings them
(Wong et al., ICLR 2020). How far a crop may move is drawn from 0 to a little over the bound, so that clean crops keep what they had. Each
crop is mirrored, shifted, scaled and toned at random, and a third of them carry a fault (`legan.data.degradations`); of each batch a
square part is seen, at the scale at which Q sees the whole, which is half the work. Test people (London: every fifth id,
portraits from 380 on) and the validation and test splits of data sets are left out, and so are rated images: no rating is
seen, so that a head may be fitted and measured on this body like on any other (`features_data.py --body`).
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from features_data import crops_of, reader
from torch import Tensor

from legan.core.device import autocast, mixed_dtype
from legan.core.geometry import CROP_SIZE
from legan.core.images import to_network
from legan.core.weights import save_weights
from legan.data.degradations import DEGRADATIONS, degrade
from legan.data.manifest import read_manifest, read_pixels
from legan.faces.landmarks import locate_in_crop
from legan.models.quality import FeatureQuality, FeatureQualityConfig, jittered
from legan.train.export import provenance

GREY = 2 / 255  # a grey level, of networks' -1 to 1
BOUND = 2 * GREY
N_PER_SET = 4000  # images of a data set


def crops(photos: list[Path], sets: list[Path], random: np.random.Generator) -> np.ndarray:
    """Training crops (n, 128, 128, 3) uint8."""
    found = []
    for folder in photos:
        found += [crop.image for crop in crops_of(folder, folder.name) if not crop.is_test]
    for folder in sets:
        frame = read_manifest(folder)
        rows = frame[frame["split"] == "train"].to_dict("records")
        found += [read_pixels(folder, rows[i]) for i in random.permutation(len(rows))[:N_PER_SET]]
    return np.stack(found)


def batch(images: np.ndarray, n: int, random: np.random.Generator) -> Tensor:
    """Draw crops (n, 3, 128, 128) in [-1, 1], varied."""
    names, drawn = list(DEGRADATIONS), []
    for i in random.integers(len(images), size=n):
        crop = images[i]
        if random.random() < 1 / 3:
            fault = names[random.integers(len(names))]
            crop = degrade(fault, crop, locate_in_crop(crop), random.uniform(0.1, 1), int(random.integers(2**31)))
        drawn.append(crop[:, ::-1] if random.random() < 0.5 else crop)
    gain = torch.from_numpy(np.exp(random.normal(0, 0.15, (n, 1, 1, 1)) + random.normal(0, 0.05, (n, 3, 1, 1)))).float()
    x = (to_network(np.stack(drawn)) + 1) * gain - 1
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    return jittered(x, lambda *size, **options: torch.rand(*size, generator=generator, **options)).clamp(-1, 1)


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--part", type=int, default=96, help="side of the part of the 128 pixels that is seen")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument(
        "--bound", type=float, default=1.25, help="the furthest that a crop is moved, in times of two grey levels"
    )
    parser.add_argument("--steps", type=int, default=1, help="gradient steps of the attack")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    random = np.random.default_rng(words.seed)
    torch.manual_seed(words.seed)
    images = crops(words.photos, words.data, random)
    enlarged = round(FeatureQualityConfig.enlarged * words.part / CROP_SIZE)
    teacher, student = (reader(None, enlarged).to(memory_format=torch.channels_last) for _ in range(2))
    student.features.requires_grad_(True)
    device = torch.device("cpu")
    dtype = mixed_dtype("auto", device)

    def draw() -> Tensor:
        top, left = random.integers(CROP_SIZE - words.part + 1, size=2)
        return batch(images, words.batch_size, random)[:, :, top : top + words.part, left : left + words.part]

    def read(net: FeatureQuality, x: Tensor) -> Tensor:
        with autocast(dtype, device):
            return net.statistics(x)

    with torch.no_grad():
        known = torch.cat([read(teacher, draw()) for _ in range(64)])
    deviation = known.std(0) + 1e-4

    def distance(statistics: Tensor, wanted: Tensor) -> Tensor:
        """In standard deviations of a statistic over images, squared: (B,)."""
        return ((statistics - wanted) / deviation).square().mean(1)

    optimizer = torch.optim.AdamW(student.features.parameters(), words.rate, weight_decay=1e-4)
    n_steps = words.images // words.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, words.rate, n_steps, pct_start=0.05)
    start, sums = time.perf_counter(), np.zeros(2)
    for step in range(n_steps):
        x = draw()
        bound = words.bound * BOUND * torch.from_numpy(random.uniform(0, 1, (len(x), 1, 1, 1))).float()
        with torch.no_grad():
            wanted = read(teacher, x)
        student.features.requires_grad_(False)
        moved = (x + bound * (2 * torch.rand_like(x) - 1)).clamp(-1, 1)
        for _ in range(words.steps):
            moved.requires_grad_(True)
            far = distance(read(student, moved), wanted)
            (gradient,) = torch.autograd.grad(far.sum(), moved)
            moved = moved.detach() + 1.25 / words.steps * bound * gradient.sign()
            moved = (x + torch.maximum(torch.minimum(moved - x, bound), -bound)).clamp(-1, 1)
        student.features.requires_grad_(True)
        far = distance(read(student, moved), wanted)
        far.mean().backward()
        torch.nn.utils.clip_grad_norm_(student.features.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        sums += float(far.detach().mean()), 1
        if (step + 1) % 100 == 0 or step + 1 == n_steps:
            rate = (step + 1) * words.batch_size / (time.perf_counter() - start)
            print(f"{step + 1} of {n_steps}: distance {sums[0] / sums[1]:.4f}, {rate:.1f} images/s", flush=True)
            sums[:] = 0
            save(student, words)
    save(student, words)


def save(net: FeatureQuality, words: argparse.Namespace) -> None:
    """Write the body."""
    training = {name: getattr(words, name) for name in ("images", "batch_size", "part", "rate", "bound", "steps", "seed")}
    facts = {"model": "quality-body", "body": net.config.body, "training": training}
    save_weights(
        words.out, {name: value.half() for name, value in net.features.state_dict().items()}, {**facts, **provenance()}
    )


if __name__ == "__main__":
    main()
