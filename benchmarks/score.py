"""Speed of scoring with Q, preset `lite`: crops a second from tensors, aligned 128-pixel files, and 512-pixel photos with detection.

    python benchmarks/score.py [--threads 2] [--seconds 3] [--what crops files photos]

Each speed stands beside a reference measured in the same run, so that machines, and a machine with other work on it, can be compared:
a bare convolution for the tensors, decoding alone for the files, and dlib's detector alone for the photos. The network's weights are
random: they do not change its speed. Photos are packaged faces enlarged on a plain background.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from legan.core.images import load_photo
from legan.core.weights import asset
from legan.faces.align import prepare_many
from legan.faces.detect import find_boxes
from legan.models.quality import PRESETS, QualityModel
from legan.quality.scorer import QualityScorer, score_files

AIMS = {"crops": 1500, "files": 600, "photos": 25}  # on two free cores


class Speed(NamedTuple):
    """Things a second, and things a second of processor time, which other work on the machine changes less."""

    wall: float
    processor: float


def speed(work: Callable[[], int], seconds: float) -> Speed:
    """`work` does some things and returns how many; repeated for about `seconds`, after once to warm up."""
    work()
    n, start, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        n += work()
    return Speed(n / (time.perf_counter() - start), n / (time.process_time() - processor))


def convolutions() -> Callable[[], int]:
    """A 4x4 stride-2 convolution of the network's second layer, float32: the yardstick for the tensors."""
    layer, x = torch.nn.Conv2d(16, 32, 4, 2, 1), torch.randn(128, 16, 64, 64)

    @torch.inference_mode()
    def work() -> int:
        layer(x)
        return len(x)

    return work


def faces() -> list[Image.Image]:
    """The packaged crops."""
    return [Image.open(path).convert("RGB") for path in sorted(asset("faces").glob("*.png"))]


def write_files(folder: Path, n: int) -> list[Path]:
    """Aligned 128-pixel files."""
    paths, images = [], faces()
    for i in range(n):
        paths.append(folder / f"crop{i:04d}.png")
        images[i % len(images)].save(paths[-1])
    return paths


def write_photos(folder: Path, n: int) -> list[Path]:
    """Photos of 512 x 512 pixels with one face each."""
    paths, images = [], faces()
    for i in range(n):
        photo = Image.new("RGB", (512, 512), (120, 125, 130))
        photo.paste(images[i % len(images)].resize((320, 320), Image.Resampling.BICUBIC), (96, 96))
        paths.append(folder / f"photo{i:04d}.jpg")
        photo.save(paths[-1], quality=92)
    return paths


def measure(scorer: QualityScorer, what: str, seconds: float, folder: Path) -> tuple[Speed, Speed, str]:
    """Speed, speed of the reference, and what the reference is."""
    if what == "crops":
        crops = np.random.default_rng(0).integers(0, 255, (256, scorer.size, scorer.size, 3), np.uint8)
        return (
            speed(lambda: len(scorer.predict_crops(crops).score), seconds),
            speed(convolutions(), seconds / 2),
            "bare float32 convolutions",
        )
    if what == "files":
        paths = write_files(folder, 256)
        return (
            speed(lambda: sum(map(len, score_files(scorer, paths))), seconds),
            speed(lambda: sum(load_photo(path).image.width > 0 for path in paths), seconds / 2),
            "decoding alone, one thread",
        )
    paths = write_photos(folder, 16)
    n_found = sum(one.crop is not None for one in prepare_many(paths))
    assert n_found == len(paths), f"faces found in {n_found} of {len(paths)} photos"
    pixels = [np.asarray(Image.open(path)) for path in paths]
    return (
        speed(lambda: sum(map(len, score_files(scorer, paths))), seconds),
        speed(lambda: len([find_boxes(array) for array in pixels]), seconds / 2),
        "dlib's detector alone, one thread",
    )


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--what", nargs="+", choices=list(AIMS), default=list(AIMS))
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    scorer = QualityScorer(QualityModel(PRESETS["lite"]), {}, "random")
    for what in words.what:
        with tempfile.TemporaryDirectory() as folder:
            reached, reference, name = measure(scorer, what, words.seconds, Path(folder))
        print(
            f"{what}: {reached.wall:,.0f} a second, {reached.processor:,.0f} a processor second (aim {AIMS[what]:,} a second on two free "
            f"cores); {reached.wall / reference.wall:.2f} of {reference.wall:,.0f}, {name}; {words.threads} threads, {scorer.dtype}"
        )


if __name__ == "__main__":
    main()
