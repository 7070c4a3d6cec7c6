"""Weights of Q on held-out images: correlations by kind of image beside the noise ceiling, and ladders of degradations.

    python experiments/quality/measure.py --data SET --ratings ratings.csv [--out DIR] [WEIGHTS ...]

Without weights, the packaged ones. The split is `test` (people and settings of synthesis unseen); ladders have five strengths, and
`monotone` is the share of them whose scores fall from each to the next. Intervals: 95%, bootstrap over images. With `--out`, a JSON
file for each weights file too.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import torch
from compare import by_kind, falls, scores_of

from legan.core.weights import packaged
from legan.data.manifest import image_names, read_manifest
from legan.data.rated import RatedImages
from legan.data.ratings import clean, image_labels, is_simulated, read_ratings, with_splits
from legan.metrics.agreement import figures


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ratings", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("weights", nargs="*", type=Path)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    ratings = clean(read_ratings(words.ratings), images=list(image_names(read_manifest(words.data)))).ratings
    who = "SIMULATED raters" if is_simulated(ratings) else "raters"
    test = RatedImages([words.data], with_splits(image_labels(ratings), words.data), "test")
    for weights in words.weights or [packaged("quality")]:
        scores = scores_of(weights, test)
        kinds, ladders = by_kind(scores, test, ratings), falls(scores, test)
        print(f"\n{weights.stem}: {len(test)} test images, labels by {who}; {figures(scores, test.mean)}\n")
        print(f"{pd.DataFrame(kinds).to_string(index=False)}\n\n{pd.DataFrame(ladders).to_string(index=False)}")
        if words.out:
            words.out.mkdir(parents=True, exist_ok=True)
            found = {"who": who, "n": len(test), "kinds": kinds, "falls": ladders}
            (words.out / f"{weights.stem}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
