"""Trains a second Q, a judge of what was learned with the packaged one: another body, other ladders of faults, the same people.

    python experiments/quality/judge.py --source LAGO2022 --out runs/judge [--body efficientnet-lite2] [--seed 1] [--size 64]

With `--size`, the judge sees the rated images as faces of so many pixels, enlarged again as those that it will judge. Writes
`quality.safetensors` and `curve.csv` (as `legan train quality --preset features`, whose command it is) into the folder. Weights and images
stay there: the authors of the ratings state no licence.
"""

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from people import make_set
from PIL import Image

from legan.core.files import make_folder
from legan.core.images import resized
from legan.data.public.lago2022 import read_lago2022
from legan.data.ratings import image_labels, write_table
from legan.models.efficientnet import VARIANTS
from legan.train.quality_features import train_features


def coarser(crop: np.ndarray, size: int) -> np.ndarray:
    """Shrink a crop (S, S, 3) uint8 to (size, size) as shrink.py does, and enlarge it as Q does."""
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    x = resized(torch.from_numpy(small).permute(2, 0, 1)[None].float(), len(crop))
    return x[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--body", choices=VARIANTS, default=VARIANTS[-1])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, help="side in pixels of the faces that will be judged; as aligned by default")
    words = parser.parse_args()
    data = make_set(words.source, make_folder(words.out) / "set")
    if words.size is not None:
        whole, data = data, words.out / f"set-{words.size}"
        shutil.copytree(whole, data, dirs_exist_ok=True)
        for path in whole.glob("*.png"):
            Image.fromarray(coarser(np.array(Image.open(path)), words.size)).save(data / path.name)
    labels = image_labels(read_lago2022(words.source).ratings).assign(split="train")
    labels["name"] = labels["name"].str.removesuffix(".jpg") + ".png"
    labels = labels[[(data / name).exists() for name in labels["name"]]]
    write_table(labels[["name", "mean", "std", "split"]], words.out / "labels.csv")
    print(train_features([data], words.out / "labels.csv", words.out, [f'body="{words.body}"', f"seed={words.seed}"]))


if __name__ == "__main__":
    main()
