"""Makes Q hard to fool: its score of an image that was moved within a few grey levels shall be the teacher's of the image as it was.

    python experiments/quality/robust.py crops --rated LAGO2022 --london LONDON --portraits PORTRAITS --work SCRATCH \\
        [--early EDITOR ...] --out PACK
    python experiments/quality/robust.py pool  --pack PACK --data SET [--data SET ...] --out pool.npy [--n 60000] [--workers 2]
    python experiments/quality/robust.py train --pack PACK --pool pool.npy --teacher NAME --out RUN [--images 60000]
    python experiments/quality/robust.py measure --rated LAGO2022 --pack PACK RUN [RUN ...]
    python experiments/quality/robust.py world   --rated LAGO2022 --work SCRATCH WEIGHTS

A teacher is the packaged Q's body with a head of `features.py`, from the scratch folder of `features_data.py`: `all` learned from all
rated images, `fold-K` from all but a fifth of them, `without-SOURCE` from all but those of a source. A student starts as its teacher
and all of it learns (adversarial training, Madry et al., ICLR 2018): it sees a crop moved along or against its gradient from a random
place, and is to score it as the teacher does the crop at rest. How far a crop may move is drawn from 0 to a little over the bound of
`attack.py`.

`crops` writes the teachers and the crops of rated images, photographs and edits; `pool` draws images of them and of data sets (train
splits; test people of London and portraits are left out), half of them with a fault; `train` mirrors, shifts, scales and tones them,
without the rated images that its teacher did not see, and writes `quality.safetensors` and, as `scores.npz`, its scores of all rated
images. What people said of those is what `measure` compares with; `world` gives the ladders and the order of means of `features.py`,
of weights whose body wrote SCRATCH (`features_data.py --body WEIGHTS`). No rating is in PACK; it holds the rated images and what was
learned from ratings. Runs on a GPU where there is one.
"""

import argparse
import copy
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from features import CANDIDATES, DATA, KNOWN_FAULTS, LICENCE, Material, ladder_table, within, world_table
from features_data import Crop, crops_of, cut, made_from
from torch import Tensor, nn

from legan.core.device import autocast, mixed_dtype
from legan.core.files import make_folder
from legan.core.images import to_network
from legan.core.weights import PACKAGED
from legan.data.degradations import DEGRADATIONS, STRENGTHS, degrade
from legan.data.manifest import read_manifest, read_pixels
from legan.data.public.lago2022 import read_generators, read_lago2022
from legan.data.ratings import image_labels
from legan.faces.landmarks import locate_in_crop
from legan.metrics.agreement import bootstrap
from legan.models.quality import SQUASH, TOP_SCORE, FeatureQuality, jittered, load_quality_net
from legan.train.quality_features import BATCH_SIZE, Head, config_metadata, save_features, stratified

GREY = 2 / 255  # a grey level, of networks' -1 to 1
BOUND = 2 * GREY
UP = 0.7  # share of the crops that are moved to a better score, the others to a worse one
N_FOLDS = 5
N_PER_SET = 4000  # images of a data set
FAULTS = [*DEGRADATIONS, "cut", "ghost"]
STEP = 0.75  # of the bound, a step
WEAKER = "agrees less with people than the packaged Q does, most of all within a source"


# What is learned from: teachers and crops.


def write_crops(words: argparse.Namespace) -> None:
    """Write PACK: crops as WebP, those of rated images losslessly, and a head for each teacher."""
    make_folder(words.out)
    rated = crops_of(words.rated / "images", "rated")
    photos = crops_of(words.london, "london") + crops_of(words.portraits, "portraits")
    photos = [crop for crop in photos if not crop.is_test]
    rows, images = made_from(photos, photos[:1], [], words.early)
    made = [Crop("made", row[2], image, False) for row, image in zip(rows, images, strict=True) if row[0] == "train"]
    groups = {"rated": rated, "photos": photos, "made": made}
    files = {
        name: np.array([_encoded(crop.image, lossless=name == "rated") for crop in crops], object)
        for name, crops in groups.items()
    }
    np.savez(words.out / "crops.npz", names=np.array([crop.name for crop in rated]), **files)

    material = Material(words.rated, words.work)
    if list(material.names) != [crop.name for crop in rated]:
        raise SystemExit(f"error: {words.work} holds statistics of other images: run features_data.py again")
    for name, seen in teachers(material.source).items():
        head = material.fit(seen, CANDIDATES[0])
        half = {
            field: values.astype(np.float16) for field, values in head._asdict().items() if field in ("directions", "centres")
        }
        n_ladders = int((material.steps["split"] == "train").sum()) // len(STRENGTHS)
        facts = config_metadata(head, replace(CANDIDATES[0], n_ladders=n_ladders))
        np.savez(words.out / f"{name}.npz", seen=seen, facts=json.dumps(facts), **{**head._asdict(), **half})


def teachers(source: np.ndarray) -> dict[str, np.ndarray]:
    """Which rated images (n,) each teacher may see, by the sources of the images."""
    fold = stratified(source, N_FOLDS, 0)
    return {
        "all": np.ones(len(source), bool),
        **{f"fold-{k}": fold != k for k in range(N_FOLDS)},
        **{f"without-{name}": source != name for name in sorted(set(source))},
    }


def _encoded(image: np.ndarray, lossless: bool) -> bytes:
    # OpenCV writes WebP losslessly above 100.
    return cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 95])[1].tobytes()


def read_crops(pack: Path) -> dict[str, np.ndarray]:
    """Crops of PACK by group, each (n, 128, 128, 3) uint8."""
    files = np.load(pack / "crops.npz", allow_pickle=True)
    return {
        name: np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for data in files[name]])
        for name in ("rated", "photos", "made")
    }


def read_teacher(pack: Path, name: str) -> tuple[FeatureQuality, np.ndarray, dict[str, Any]]:
    """A teacher, which rated images (n,) it saw, and what its weights say about themselves."""
    file = np.load(pack / f"{name}.npz")
    body, _ = load_quality_net(PACKAGED)
    assert isinstance(body, FeatureQuality)
    return Head(*(file[field] for field in Head._fields)).network(body.features), file["seen"], json.loads(str(file["facts"]))


# The pool.


def write_pool(words: argparse.Namespace) -> None:
    """Write images (n, 128, 128, 3) uint8, and beside them the number of the rated image that each is made of, -1 for others."""
    sources = list(read_crops(words.pack).values())
    for folder in words.data:
        frame = read_manifest(folder)
        rows: list[dict[str, Any]] = frame[frame["split"] == "train"].to_dict("records")  # type: ignore[assignment]
        some = np.random.default_rng(0).permutation(len(rows))[:N_PER_SET]
        sources.append(np.stack([read_pixels(folder, rows[i]) for i in some]))
    parts = np.array_split(np.arange(words.n), 8 * words.workers)
    global _SOURCES
    _SOURCES = sources  # what forked workers see without a copy
    pool = np.lib.format.open_memmap(words.out, "w+", np.uint8, (words.n, *sources[0].shape[1:]))
    rated: list[int] = []
    with ProcessPoolExecutor(words.workers, torch.multiprocessing.get_context("fork")) as workers:
        for part, (images, drawn) in zip(parts, workers.map(_draw, [(words.seed, part) for part in parts]), strict=True):
            pool[part] = images
            rated += drawn
    pool.flush()
    np.save(words.out.with_suffix(".rated.npy"), np.array(rated))


_SOURCES: list[np.ndarray] = []


def _draw(task: tuple[int, np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Draw images of the sources in equal shares, half of them with a fault."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images, rated = [], []
    for number in task[1]:
        random = np.random.default_rng([task[0], number])
        source = int(random.integers(len(_SOURCES)))
        index = int(random.integers(len(_SOURCES[source])))
        crop = _SOURCES[source][index]
        if random.random() < 0.5:
            other = _SOURCES[source][random.integers(len(_SOURCES[source]))] if source else crop
            crop = faulty(crop, other, str(random.choice(FAULTS)), float(random.uniform(0.1, 1)), int(random.integers(2**31)))
        images.append(crop)
        rated.append(index if source == 0 else -1)
    return np.stack(images), rated


def faulty(crop: np.ndarray, other: np.ndarray, fault: str, strength: float, seed: int) -> np.ndarray:
    """A crop with a fault of `features_data.py`; a ghost is one of `other`."""
    if fault == "cut":
        return cut(crop, strength, seed)
    if fault == "ghost":
        return (crop * (1 - 0.5 * strength) + other * 0.5 * strength + 0.5).astype(np.uint8)
    return degrade(fault, crop, locate_in_crop(crop), strength, seed)


# The training.


def judge(net: FeatureQuality, x: Tensor) -> Tensor:
    """Score, before it is squashed so that the flat ends of the scale do not hide a slope, and spread: (B, 2)."""
    with autocast(mixed_dtype("auto", x.device), x.device):
        score, spread = net.predict(x)
    return torch.stack([torch.logit(score / TOP_SCORE, eps=1e-6) / SQUASH, spread], 1)


def fooled(net: FeatureQuality, x: Tensor, bound: Tensor, direction: Tensor, n_steps: int) -> Tensor:
    """Crops (B, 3, H, W) moved within `bound` (B, 1, 1, 1) along the sign of the score's gradient times `direction` (B, 1, 1, 1)."""
    net.requires_grad_(False)
    moved = (x + bound * (2 * torch.rand_like(x) - 1)).clamp(-1, 1)
    for _ in range(n_steps):
        moved.requires_grad_(True)
        (gradient,) = torch.autograd.grad(judge(net, moved)[:, 0].sum(), moved)
        moved = moved.detach() + STEP * bound * direction * gradient.sign()
        moved = (x + torch.maximum(torch.minimum(moved - x, bound), -bound)).clamp(-1, 1)
    net.requires_grad_(True)
    return moved


def varied(pool: Tensor, rows: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] of a pool (n, H, W, 3) uint8: mirrored, toned, shifted, scaled and blurred at random."""
    x = pool[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
    x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
    tone = 0.1 * torch.randn(len(x), 1, 1, 1, device=x.device) + 0.03 * torch.randn(len(x), 3, 1, 1, device=x.device)
    return jittered((x + 1) * tone.exp() - 1).clamp(-1, 1)


def train(words: argparse.Namespace) -> None:
    """Teach a student; prints and writes it every 250 steps, and at the end."""
    torch.manual_seed(words.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher, seen, facts = read_teacher(words.pack, words.teacher)
    teacher = teacher.to(device, memory_format=torch.channels_last)
    student = copy.deepcopy(teacher)
    student.weights, student.bias = nn.Parameter(student.weights), nn.Parameter(student.bias)
    is_seen = np.append(seen, True)[np.load(words.pool.with_suffix(".rated.npy"))]  # the last for -1, images that nobody rated
    pool = torch.from_numpy(np.load(words.pool, mmap_mode="r")[is_seen]).to(device)
    names = ("teacher", "images", "batch_size", "rate", "bound", "steps", "seed")
    facts |= {
        "adversarial": {name: getattr(words, name) for name in names}, "data": DATA, "licence": LICENCE,
        "known_faults": [*KNOWN_FAULTS, WEAKER],
    }  # fmt: skip
    out = make_folder(words.out) / "quality.safetensors"
    optimizer = torch.optim.Adam(student.parameters(), words.rate)
    n_steps = words.images // words.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, words.rate, n_steps, pct_start=0.05)
    start, sums = time.perf_counter(), torch.zeros(2, device=device)
    for step in range(n_steps):
        x = varied(pool, torch.randint(len(pool), (words.batch_size,), device=device))
        bound = words.bound * BOUND * torch.rand(len(x), 1, 1, 1, device=device)
        direction = torch.where(torch.rand(len(x), 1, 1, 1, device=device) < UP, 1.0, -1.0)
        with torch.no_grad():
            wanted = judge(teacher, x)
        error = judge(student, fooled(student, x, bound, direction, words.steps)) - wanted
        nn.functional.huber_loss(error, torch.zeros_like(error), delta=2.0).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        off = error.detach()[:, 0]
        sums += torch.stack([off.square().mean(), (off * direction.flatten()).mean()])
        if (n := step + 1) % words.every == 0 or n == n_steps:
            count = (n - 1) % words.every + 1
            rate, (square, moved) = n * words.batch_size / (time.perf_counter() - start), (sums / count).tolist()
            print(f"{n} of {n_steps}: squared error {square:.3f}, moved by {moved:+.3f}, {rate:.1f} images/s", flush=True)
            sums.zero_()
            still = copy.deepcopy(student).to("cpu", memory_format=torch.contiguous_format).requires_grad_(False)
            save_features(out, still, facts)
    rated = to_network(read_crops(words.pack)["rated"])
    with torch.inference_mode():
        scores = [torch.cat([net(x.to(device)).cpu() for x in rated.split(BATCH_SIZE)]).numpy() for net in (student, teacher)]
    np.savez(words.out / "scores.npz", student=scores[0], teacher=scores[1], seen=seen, name=words.teacher)


# What people said of images that neither teacher nor student saw.


def measure(words: argparse.Namespace) -> None:
    """Print agreement with people on images that were left out, of students and of their teachers: folds together, sources one by one."""
    names = np.load(words.pack / "crops.npz", allow_pickle=True)["names"]
    mean = image_labels(read_lago2022(words.rated).ratings).set_index("name").loc[names]["mean"].to_numpy()
    source = read_generators(words.rated).loc[names].to_numpy()
    found: dict[str, Any] = {}
    scores = {name: np.full(len(mean), np.nan) for name in ("teacher", "student")}
    for run in words.runs:
        file = np.load(run / "scores.npz")
        name, unseen = str(file["name"]), ~file["seen"]
        for kind, of_all in scores.items():
            if name.startswith("fold"):
                of_all[unseen] = file[kind][unseen]
            elif unseen.any():
                found.setdefault(name, {})[kind] = float(np.corrcoef(file[kind][unseen], mean[unseen])[0, 1])
    for kind, values in scores.items():
        known = np.isfinite(values)
        if known.any():
            found[f"folds, {kind}"] = {
                "pearson": str(bootstrap("pearson", values[known], mean[known])),
                "within": within(values[known], mean[known], source[known]), "n": int(known.sum()),
            }  # fmt: skip
    print(json.dumps(found, indent=1))


def world(words: argparse.Namespace) -> None:
    """Print ladders and the order of means by weights as they are."""
    net, _ = load_quality_net(words.weights)
    head = Head(*(getattr(net, field).numpy() for field in Head._fields))
    material = Material(words.rated, words.work)
    print(json.dumps({"ladders": ladder_table(material, head), "world": world_table(material, head)}, indent=1))


def main() -> None:
    """Read the command line, and do what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("crops", help="teachers and crops")
    for name in ("rated", "london", "portraits", "work", "out"):
        packing.add_argument(f"--{name}", type=Path, required=True)
    packing.add_argument("--early", type=Path, action="append", default=[], help="editors of early snapshots")
    packing.set_defaults(run=write_crops)
    drawing = verbs.add_parser("pool", help="images to learn from")
    for name in ("pack", "out"):
        drawing.add_argument(f"--{name}", type=Path, required=True)
    drawing.add_argument("--data", type=Path, action="append", default=[])
    drawing.add_argument("--n", type=int, default=60_000)
    drawing.add_argument("--workers", type=int, default=2)
    drawing.add_argument("--seed", type=int, default=0)
    drawing.set_defaults(run=write_pool)
    training = verbs.add_parser("train", help="one student")
    for name in ("pack", "pool", "out"):
        training.add_argument(f"--{name}", type=Path, required=True)
    training.add_argument("--teacher", default="all")
    training.add_argument("--images", type=int, default=60_000)
    training.add_argument("--batch-size", type=int, default=32)
    training.add_argument("--rate", type=float, default=1e-4)
    training.add_argument(
        "--bound", type=float, default=1.25, help="the furthest that a crop is moved, in times of two grey levels"
    )
    training.add_argument("--steps", type=int, default=2, help="steps of the gradient")
    training.add_argument("--every", type=int, default=250, help="steps between two lines and writings")
    training.add_argument("--seed", type=int, default=0)
    training.set_defaults(run=train)
    measuring = verbs.add_parser("measure", help="agreement on what was left out")
    for name in ("rated", "pack"):
        measuring.add_argument(f"--{name}", type=Path, required=True)
    measuring.add_argument("runs", type=Path, nargs="+")
    measuring.set_defaults(run=measure)
    ordering = verbs.add_parser("world", help="ladders and the order of means")
    ordering.add_argument("--rated", type=Path, required=True)
    ordering.add_argument("--work", type=Path, required=True)
    ordering.add_argument("weights", type=Path)
    ordering.set_defaults(run=world)
    words = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    words.run(words)


if __name__ == "__main__":
    main()
