"""Makes a data set of the London photos of the training people with their hand-placed landmarks, for `python -m tools.landmarks`.

    python experiments/landmarks/marked.py ../shared/london data/marked

The hand-placed points follow the 189-point template of WebMorph; the 68 iBUG points are taken from them, or lie between them. Of the
82 people, sorted by id, every fifth is left out: they are the validation people of every experiment.
"""

import argparse
import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np

from legan.data.manifest import write_manifest

# iBUG point -> the hand-placed points that it is the mean of; a point named twice counts double.
BETWEEN: dict[int, tuple[int, ...]] = {
    27: (51, 57), 28: (52, 58), 29: (53, 59), 30: (54, 60), 31: (64,), 32: (64, 180), 33: (55,), 34: (69, 181), 35: (69,),
    36: (18,), 37: (19, 19, 20), 38: (21, 21, 20), 39: (22,), 40: (30, 30, 29), 41: (28, 28, 29),
    42: (23,), 43: (24, 24, 25), 44: (26, 26, 25), 45: (27,), 46: (33, 33, 32), 47: (31, 31, 32),
    48: (87,), 49: (88,), 50: (89,), 51: (90,), 52: (91,), 53: (92,), 54: (93,),
    55: (108,), 56: (107,), 57: (106,), 58: (105,), 59: (104,),
    60: (87, 87, 87, 94), 61: (95,), 62: (96,), 63: (97,), 64: (93, 93, 93, 98), 65: (102,), 66: (101,), 67: (100,),
}  # fmt: skip
JAW = ((185, 110, 186, 111, 125, 126, 127, 128, 129), (129, 130, 131, 132, 133, 114, 188, 113, 187))
BROWS = (((71, 72, 73, 74, 75), (71, 83, 84, 76)), ((78, 79, 80, 81, 82), (77, 85, 86, 82)))  # upper and lower edge


def along(line: np.ndarray, n: int) -> np.ndarray:
    """`n` points (n, 2) at even distances along a line (k, 2), ends included."""
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    places = np.linspace(0, lengths[-1], n)
    return np.column_stack([np.interp(places, lengths, line[:, k]) for k in range(2)])


def ibug_points(marks: np.ndarray) -> np.ndarray:
    """The 68 points (68, 2) from the 189 hand-placed ones (189, 2)."""
    points = np.zeros((68, 2))
    points[:9], points[8:17] = (along(marks[list(half)], 9) for half in JAW)
    for brow, edges in enumerate(BROWS):
        points[17 + 5 * brow : 22 + 5 * brow] = np.mean([along(marks[list(edge)], 5) for edge in edges], axis=0)
    for number, marked in BETWEEN.items():
        points[number] = marks[list(marked)].mean(axis=0)
    return points


def is_validation(index: int) -> bool:
    """Whether the person with this place in the sorted list is kept from all training."""
    return index % 5 == 4


def main(london: Path, out: Path) -> None:
    """Copy the photos and write the manifest."""
    with open(london / "faces.csv", newline="") as file:
        people = sorted({row["identity"] for row in csv.DictReader(file)})
    marks = np.load(london / "landmarks.npz")
    out.mkdir(parents=True)
    rows = []
    for name, points in zip((str(name) for name in marks["neutral_files"]), marks["webmorph"], strict=True):
        person = name.split("_")[0]
        if is_validation(people.index(person)):
            continue
        shutil.copy(london / name, out / name)
        rows.append(
            {
                "path": name,
                "offset": None,
                "n_bytes": None,
                "key": name,
                "identity": f"london{person}",
                "expression": "neutral",
                "lighting": "00",
                "domain": "photo",
                "split": "train",
                "source": "Face Research Lab London Set",
                "licence": "CC-BY-4.0",
                "sha256": hashlib.sha256((out / name).read_bytes()).hexdigest(),
                "alignment": None,
                "landmarks": ibug_points(points).ravel().tolist(),
            }
        )
    print(f"{len(rows)} photos: {write_manifest(rows, out)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of the London set, with its landmarks")
    parser.add_argument("out", type=Path, help="the data set folder to write")
    words = parser.parse_args()
    main(words.photos, words.out)
