"""Trains a second Q, a judge of what was learned with the packaged one: another body, other ladders of faults, the same people.

    python experiments/quality/judge.py --source LAGO2022 --out runs/judge [--body efficientnet-lite2] [--seed 1]

Writes `quality.safetensors` and `curve.csv` (as `legan train quality --preset features`, whose command it is) into the folder. Weights and
images stay there: the authors of the ratings state no licence.
"""

import argparse
from pathlib import Path

from people import make_set

from legan.core.files import make_folder
from legan.data.public.lago2022 import read_lago2022
from legan.data.ratings import image_labels, write_table
from legan.models.efficientnet import VARIANTS
from legan.train.quality_features import train_features


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--body", choices=VARIANTS, default=VARIANTS[-1])
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    data = make_set(words.source, make_folder(words.out) / "set")
    labels = image_labels(read_lago2022(words.source).ratings).assign(split="train")
    labels["name"] = labels["name"].str.removesuffix(".jpg") + ".png"
    labels = labels[[(data / name).exists() for name in labels["name"]]]
    write_table(labels[["name", "mean", "std", "split"]], words.out / "labels.csv")
    print(train_features([data], words.out / "labels.csv", words.out, [f'body="{words.body}"', f"seed={words.seed}"]))


if __name__ == "__main__":
    main()
