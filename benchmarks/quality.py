"""Speed of the packaged Q beside TOPIQ's network, in turns: face crops a second, and a second of processor time.

    pip install --no-deps pyiqa timm facexlib einops && pip install torchvision     # pyiqa's own list asks for far more
    python benchmarks/quality.py [--threads 2] [--seconds 3] [--rounds 3]

TOPIQ (Chen et al., IEEE Transactions on Image Processing, 2024) as pyiqa makes `topiq_nr` and `topiq_nr-face`: CFANet on ResNet-50, with
random weights, which do not change its speed. `topiq_nr-face` reads faces of 512 pixels, `topiq_nr` images as they are: 384 pixels here,
the least of what it was trained on. Q reads aligned crops of 128 pixels, in the precision that `legan score` takes on the machine;
TOPIQ's rows are float32, as pyiqa runs it, and bfloat16 where that is fast.
"""

import argparse
import contextlib
from collections.abc import Callable

import numpy as np
import torch
from pyiqa.archs.topiq_arch import CFANet
from score import Speed, speed

from legan.core.device import mixed_dtype
from legan.quality.scorer import load_quality

N = 8  # images at once
SIDES = {"topiq_nr-face": 512, "topiq_nr": 384}


def of_q() -> Callable[[], int]:
    """Scores of tensors by the packaged Q."""
    scorer = load_quality()
    crops = np.random.default_rng(0).integers(0, 256, (N, 128, 128, 3), np.uint8)

    def work() -> int:
        scorer.predict_crops(crops)
        return N

    return work


def of_topiq(side: int, dtype: torch.dtype | None) -> Callable[[], int]:
    """Scores of images of `side` pixels by TOPIQ's network."""
    net = CFANet(use_ref=False, pretrained=False, backbone_pretrain=False).eval()
    x = torch.rand(N, 3, side, side)

    @torch.inference_mode()
    def work() -> int:
        with torch.autocast("cpu", dtype) if dtype else contextlib.nullcontext():
            net(x)
        return N

    return work


def main() -> None:
    """Read the command line, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    works = {"Q, packaged": of_q()}
    for name, side in SIDES.items():
        for dtype in dict.fromkeys((None, mixed_dtype("auto", torch.device("cpu")))):
            works[f"{name}, {'bfloat16' if dtype else 'float32'}"] = of_topiq(side, dtype)
    rounds = [{name: speed(work, words.seconds) for name, work in works.items()} for _ in range(words.rounds)]
    middle = {name: Speed(*np.median([[one[name].wall, one[name].processor] for one in rounds], axis=0)) for name in works}
    print("| network | images/s | images/s of processor time | Q is so many times as fast |\n| --- | --- | --- | --- |")
    for name, found in middle.items():
        times = middle["Q, packaged"].processor / found.processor
        print(f"| {name} | {found.wall:.1f} | {found.processor:.1f} | {times:.1f} |")


if __name__ == "__main__":
    main()
