"""What Q on features is trained and measured on: statistics of rated images, ladders of faults, photographs and images made from them.

    python experiments/quality/features_data.py --rated LAGO2022 --london LONDON --portraits PORTRAITS --relit SET [--relit SET ...] \\
        --early EDITOR [--early EDITOR ...] --work SCRATCH [--body BODY]

Writes `rated.npz`, `mirrored.npz`, `photos.npz`, `ladders.npz`, `hard.npz` and `made.npz` into the scratch folder: statistics
(`f`) of crops, by the body in the precision that is fast here, and what each row is. London people: every fifth of the sorted ids is
measured only. Portraits: every second file, from 380 on measured only. `--relit` takes folders of `legan relight` and `legan reexpress`,
`--early` editors of early snapshots. Nothing of the rated images or the ratings leaves the scratch folder. `--body` is a Q whose body reads
them, such as `robust.py` makes; without it ImageNet's does.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.device import mixed_dtype
from legan.core.errors import WeightsError
from legan.core.images import from_network, to_network
from legan.data.degradations import DEGRADATIONS, STRENGTHS, degrade
from legan.data.manifest import read_manifest, read_pixels
from legan.faces.align import prepare_many
from legan.faces.landmarks import locate_in_crop
from legan.models.editors import load_networks
from legan.models.efficientnet import load_efficientnet
from legan.models.quality import FeatureQuality, FeatureQualityConfig, load_quality_net
from legan.train.quality_features import statistics_of

DTYPE = mixed_dtype("auto", torch.device("cpu")) or torch.float32
N_RELIT = {"test": 100, "train": 120}  # images of a set of `--relit`


class Crop(NamedTuple):
    """A face crop, where it comes from, and whether it only measures."""

    source: str
    name: str
    image: np.ndarray
    is_test: bool


def reader(body: Path | None) -> FeatureQuality:
    """A network that reads statistics: by ImageNet's body, or by that of another Q on features."""
    if body:
        net, _ = load_quality_net(body)
        if not isinstance(net, FeatureQuality):
            raise WeightsError(f"{body} is no Q on features: give weights written by `legan train quality --preset features`")
        return net
    net = FeatureQuality(FeatureQualityConfig(eyes=True))
    net.features = load_efficientnet()
    return net.eval().requires_grad_(False)


def crops_of(folder: Path, source: str, every: int = 1) -> list[Crop]:
    """Aligned crops of a folder's photographs."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))[::every]
    found = [
        (one.path.name, one.crop)
        for one in prepare_many(paths, faces="detect", n_threads=1)
        if one.path and one.crop is not None
    ]
    tested = set(sorted({name[:3] for name, _ in found})[::5])
    is_test = {"london": lambda name: name[:3] in tested, "portraits": lambda name: int(name[:3]) >= 380}.get(
        source, lambda name: False
    )
    return [Crop(source, name, crop, is_test(name)) for name, crop in found]


def cut(image: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """A face cut by the border, what is missing smeared, black, mirrored or grey: from an eighth to more than half of the side."""
    random = np.random.default_rng([seed, 77])
    side, n, mode = random.integers(3), int(128 * (0.08 + 0.5 * strength)), random.integers(4)
    x = (image if side == 0 else (image[:, ::-1] if side == 1 else image.transpose(1, 0, 2)[::-1])).copy()
    if mode == 0:
        x[:, :n] = x[:, n : n + 1]
    elif mode == 1:
        x[:, :n] = 0
    elif mode == 2:
        x[:, :n] = x[:, n : 2 * n][:, ::-1] if 2 * n <= 128 else np.concatenate([x[:, n:][:, ::-1]] * 3, 1)[:, :n]
    else:
        x[:, :n] = random.integers(60, 255)
    return np.ascontiguousarray(x if side == 0 else (x[:, ::-1] if side == 1 else x[::-1].transpose(1, 0, 2)))


def ladders(
    train: list[Crop], rated: list[Crop], test: list[Crop]
) -> tuple[list[tuple[str, str, str, str, float]], list[np.ndarray]]:
    """Ladders: all ten faults on test crops, five on each of 110 photographs and 60 rated images. A ghost is a blend with another face."""
    random = np.random.default_rng(0)
    train = [train[i] for i in random.permutation(len(train))[:110]]
    rated = [rated[i] for i in random.permutation(len(rated))[:60]]
    names, rows, images = list(DEGRADATIONS), [], []
    for split, crops in (("test", test), ("train", train + rated)):
        for index, crop in enumerate(crops):
            points = locate_in_crop(crop.image)
            faults = [*names, "cut", "ghost"]
            if split == "train":
                faults = list(random.choice([*names, "cut", "ghost", "eyes", "jpeg"], 5, replace=False))
            other, seed = crops[(index + 1) % len(crops)].image, int(random.integers(2**31))
            rows.append((split, crop.source, crop.name, "none", 0.0))
            images.append(crop.image)
            for fault in dict.fromkeys(faults):
                for strength in STRENGTHS:
                    if fault == "cut":
                        made = cut(crop.image, strength, seed)
                    elif fault == "ghost":
                        made = (crop.image * (1 - 0.5 * strength) + other * 0.5 * strength + 0.5).astype(np.uint8)
                    else:
                        made = degrade(str(fault), crop.image, points, strength, seed)
                    rows.append((split, crop.source, crop.name, str(fault), strength))
                    images.append(made)
    return rows, images


def hard_ladders(train: list[Crop]) -> tuple[list[tuple[str, str, str, str, float]], list[np.ndarray]]:
    """More ladders of what is hardest to see: eyes on 130 photographs, JPEG on a third of them."""
    random, rows, images = np.random.default_rng(9), [], []
    for index in random.permutation(len(train))[:130]:
        crop = train[index]
        points = locate_in_crop(crop.image)
        rows.append(("train", crop.source, f"{crop.name}#2", "none", 0.0))
        images.append(crop.image)
        for fault in ("eyes",) if random.random() < 0.65 else ("eyes", "jpeg"):
            seed = int(random.integers(2**31))
            for strength in STRENGTHS:
                rows.append(("train", crop.source, f"{crop.name}#2", fault, strength))
                images.append(degrade(fault, crop.image, points, strength, seed))
    return rows, images


def made_from(
    photos: list[Crop], test: list[Crop], relit: list[Path], early: list[Path]
) -> tuple[list[tuple[str, str, str, str]], list[np.ndarray]]:
    """Edits by the packaged editor and by early snapshots of 60 training photographs and the test crops; relit and re-expressed ones."""
    random = np.random.default_rng(5)
    train = [crop for crop in photos if not crop.is_test]
    train = [train[i] for i in random.permutation(len(train))[:60]]
    rows, images = [], []
    names = [name if isinstance(name, str) else name.name for name in EXPRESSIONS]
    for split, crops in (("test", test), ("train", train)):
        x = to_network(np.stack([crop.image for crop in crops]))
        for kind, weights in (("edit", None), *((f"early-{i}", path) for i, path in enumerate(early))):
            networks = load_networks(weights)
            for turn in range(3 if kind == "edit" else 2):
                expressions = [names[int(random.integers(1, 6))] for _ in crops]
                lights = [LIGHTING_NAMES[int(random.integers(20))] for _ in crops]
                for i, crop in enumerate(crops):
                    light = lights[i] if turn or kind != "edit" else "00"
                    codes = networks.target_codes(x[i : i + 1], expressions[i], light)
                    images.append(from_network(networks.translate(x[i : i + 1], codes).image)[0])
                    rows.append((split, crop.source, crop.name, kind))
    for folder in relit:
        frame = read_manifest(folder)
        frame = frame[frame["domain"].isin(["relit", "reexpressed"])]
        for split, manifest_split in (("test", "val"), ("train", "train")):
            some = frame[frame["split"] == manifest_split]
            some = some.sample(min(len(some), N_RELIT[split]), random_state=1)
            records: list[dict[str, Any]] = some.to_dict("records")  # type: ignore[assignment]
            for row in records:
                images.append(read_pixels(folder, row))
                rows.append((split, folder.name, row["identity"], row["domain"]))
    return rows, images


def main() -> None:
    """Read the command line, make the images, write their statistics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rated", "london", "portraits", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("relit", "early"):
        parser.add_argument(f"--{name}", type=Path, action="append", default=[])
    parser.add_argument("--body", type=Path)
    words = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    words.work.mkdir(parents=True, exist_ok=True)
    net = reader(words.body)
    net.features.to(DTYPE)

    def write(name: str, rows: list, images: list[np.ndarray]) -> None:
        np.savez(words.work / f"{name}.npz", rows=np.array(rows), f=statistics_of(net, np.stack(images), DTYPE))

    rated = crops_of(words.rated / "images", "rated")
    photos = crops_of(words.london, "london") + crops_of(words.portraits, "portraits", every=2)
    tested = [crop for crop in photos if crop.is_test]
    test = [crop for crop in tested if crop.source == "london"][::2] + [crop for crop in tested if crop.source == "portraits"][
        :24
    ]
    train = [crop for crop in photos if not crop.is_test]
    write("rated", [crop.name for crop in rated], [crop.image for crop in rated])
    write("mirrored", [crop.name for crop in rated], [crop.image[:, ::-1] for crop in rated])
    write("photos", [(crop.source, crop.name, crop.is_test) for crop in photos], [crop.image for crop in photos])
    write("made", *made_from(photos, test, words.relit, words.early))
    write("ladders", *ladders(train, rated, test))
    write("hard", *hard_ladders(train))


if __name__ == "__main__":
    main()
