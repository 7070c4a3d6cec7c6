"""Measures landmarks and alignment on the London photos (../shared/london, never shipped) and on a set of rendered crops.

    python experiments/landmarks/measure.py --london ../shared/london --crops data/rendered [--weights FILE] [--people all]

Measured on the validation people, which no training sees: of the people sorted by id every fifth. Prints the tables of README.md.
Distances are pixels of the 512-pixel photos, whose pupils are 115 pixels apart.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from legan.core.geometry import transform
from legan.data.manifest import read_manifest
from legan.faces.align import alignment
from legan.faces.detect import find_boxes
from legan.faces.landmarks import LandmarkNet, load_landmark_net, locate, packaged_net

# iBUG point -> hand-placed point of the London set, and -> MediaPipe point.
EYES = {36: 18, 39: 22, 42: 23, 45: 27}
MOUTH = {48: 87, 54: 93, 51: 90, 57: 106}
MEDIAPIPE_EYES = {36: 33, 39: 133, 42: 362, 45: 263}
MEDIAPIPE_MOUTH = {48: 61, 54: 291, 51: 0, 57: 17}
PARTS = {"eye corners": (EYES, MEDIAPIPE_EYES), "mouth": (MOUTH, MEDIAPIPE_MOUTH)}


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--london", type=Path, default=Path("../shared/london"))
    parser.add_argument("--crops", type=Path, help="a data set of rendered crops")
    parser.add_argument("--weights", type=Path, help="by default the packaged ones")
    parser.add_argument("--people", choices=("validation", "all"), default="validation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = load_landmark_net(options.weights) if options.weights else packaged_net()
    truth = np.load(options.london / "landmarks.npz")
    hand = dict(zip((str(name) for name in truth["neutral_files"]), truth["webmorph"].astype(float), strict=True))
    chosen = sorted(hand) if options.people == "all" else sorted(hand)[4::5]
    neutral, smiling = chosen, [name.replace("neutral", "smile") for name in chosen]
    mediapipe = dict(zip((str(name) for name in truth["files"]), truth["mediapipe"][..., :2].astype(float), strict=True))

    print("| photos | truth | points | passes | n | mean | median | 95% | largest | offset taken out |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for n_passes in (1, 2, 3):
        found = find_all(options.london, neutral, net, n_passes)
        print_errors("neutral", "hand", n_passes, found, hand, 0)
    print_errors("neutral", "MediaPipe", n_passes, found, mediapipe, 1)
    print_errors("smile", "MediaPipe", 2, find_all(options.london, smiling, net, 2), mediapipe, 1)

    found = find_all(options.london, neutral, net, 2)
    print_alignment(found, hand, options.crops)
    print_time(options.london / neutral[0], net)


def find_all(folder: Path, names: list[str], net: LandmarkNet, n_passes: int) -> dict[str, np.ndarray]:
    """Landmarks (68, 2) of the largest face of each photo; photos without one are left out. `all` keeps the number asked for."""
    found = {}
    for name in names:
        pixels = np.asarray(Image.open(folder / name).convert("RGB"))
        boxes = sorted(find_boxes(pixels), key=lambda box: box[0][2] - box[0][0])
        if boxes:
            found[name] = locate(pixels, boxes[-1][0], net, n_passes)
    missing = sorted(set(names) - set(found))
    if missing:
        print(f"no face found in {', '.join(missing)}")
    return found


def print_errors(photos: str, by: str, n_passes: int, found: dict, truth: dict, which: int) -> None:
    """One row for eye corners, one for the mouth."""
    for part, tables in PARTS.items():
        table = tables[which]
        offsets = np.array([points[list(table)] - truth[name][list(table.values())] for name, points in found.items()])
        error = np.linalg.norm(offsets, axis=2)
        rest = np.linalg.norm(offsets - offsets.mean(axis=0), axis=2)
        numbers = (error.mean(), np.median(error), np.percentile(error, 95), error.max(), rest.mean())
        cells = " | ".join(f"{number:.1f}" for number in numbers)
        print(f"| {photos} | {by} | {part} | {n_passes} | {len(found)} | {cells} |")


def print_alignment(found: dict, hand: dict, crops: Path | None) -> None:
    """Where eyes and mouth stand in aligned photos (by their hand-placed points) and in rendered crops (by the true points)."""
    print("\n| crops | n | eyes, x | eyes, y | eye distance | eyes' slope, degrees | mouth corners, y |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    placed = np.array([transform(alignment(points), hand[name]) for name, points in found.items()])
    print_places("London, neutral, aligned", placed[:, [18, 22]], placed[:, [23, 27]], placed[:, [87, 93]])
    if crops is None:
        return
    rows = read_manifest(crops).drop_duplicates(["identity", "expression"])
    for expression in ("neutral", "smile", "surprise", "scream"):
        true = np.stack(rows[rows["expression"] == expression]["landmarks"].to_list()).reshape(-1, 68, 2)
        print_places(f"rendered, {expression}, as they are", true[:, [36, 39]], true[:, [42, 45]], true[:, [48, 54]])
        own = np.array([transform(alignment(points), points) for points in true])
        print_places(f"rendered, {expression}, aligned", own[:, [36, 39]], own[:, [42, 45]], own[:, [48, 54]])


def print_places(name: str, left: np.ndarray, right: np.ndarray, mouth: np.ndarray) -> None:
    """One row: mean and standard deviation over faces, pixels at 128. Each argument: (n, 2 points, 2)."""
    left, right, mouth = left.mean(axis=1), right.mean(axis=1), mouth.mean(axis=1)
    middle, across = (left + right) / 2, right - left
    distance, slope = np.hypot(*across.T), np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    columns = (middle[:, 0], middle[:, 1], distance, slope, mouth[:, 1])
    cells = " | ".join(f"{column.mean():.1f} ± {column.std():.1f}" for column in columns)
    print(f"| {name} | {len(left)} | {cells} |")


def print_time(path: Path, net: LandmarkNet) -> None:
    """Processor time of one 512-pixel photo on one core: the least of ten, since other work only adds to it."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    box = find_boxes(pixels)[0][0]
    for name, run in (("detection", lambda: find_boxes(pixels)), ("landmarks", lambda: locate(pixels, box, net))):
        seconds = []
        for _ in range(10):
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
        print(f"\n{name}: {1000 * min(seconds):.0f} ms (median {1000 * np.median(seconds):.0f})")


if __name__ == "__main__":
    main()
