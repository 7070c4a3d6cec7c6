"""The fitted editor beside the packaged network, on photos at rest: expression seen, identity distance, refusals, time.

    python experiments/native/fitted.py --photos LONDON london.csv --photos PORTRAITS portraits.csv --judge judge.safetensors \
        [--limit 16 30] [--splits val] [--sheets FOLDER]

The CSV files have file, identity, expression and split; one photo at rest of each person of the splits, by default `val`, the first
`--limit` of a folder. The judge comes from experiments/default-editor/classifiers.py; without one, expressions are not judged. Measured on
aligned crops of 128 pixels; the distance is dlib's, photo to edit. "First" holds detection, fit and edit of a photo, "further" another edit
of it, in seconds of one processor (set OMP_NUM_THREADS=1), which other work on the machine lengthens little. Sheets show people: look at
them, keep them out of the repository.
"""

import argparse
import csv
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from legan import load_editor
from legan.core.conditions import EXPRESSIONS
from legan.core.errors import LeganError
from legan.core.files import make_folder
from legan.core.images import to_network
from legan.faces.embeddings import DlibEmbedder

sys.path.insert(0, str(Path(__file__).parent.parent / "default-editor"))
from classifiers import Judge

EDITORS = ("fitted", "packaged")
TARGETS = tuple(name for name in EXPRESSIONS if name != "neutral")


def photos_at_rest(folder: Path, table: Path, limit: int, splits: list[str]) -> list[Path]:
    """The first photo at rest of each person."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in splits and row["expression"] == "neutral"]
    return [folder / row["file"] for row in {row["identity"]: row for row in reversed(rows)}.values()][::-1][:limit]


def main() -> None:
    """Read the arguments, edit, measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs=2, action="append", required=True, metavar=("FOLDER", "CSV"))
    parser.add_argument("--limit", type=int, nargs="+", default=[16, 30], help="people of each folder")
    parser.add_argument("--splits", nargs="+", default=["val"])
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--no-distance", action="store_true", help="without dlib's distance (extra `identity`)")
    parser.add_argument("--sheets", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    judge, dlib = Judge(options.judge) if options.judge else None, None if options.no_distance else DlibEmbedder()
    print("| photos | editor | expression | n | refused | seen | dlib distance | first, CPU s | further, CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    reasons: Counter[str] = Counter()
    for (folder, table), limit in zip(options.photos, options.limit, strict=False):
        photos = photos_at_rest(folder, table, limit, options.splits)
        for name in EDITORS:
            editor = load_editor(name)
            seconds: dict[str, list[float]] = defaultdict(list)
            found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
            for number, photo in enumerate(photos):
                # Each photo starts with another expression, so that all have their share of first edits.
                order = np.roll(TARGETS, -number)
                start, subject = time.process_time(), None
                for k, target in enumerate(map(str, order)):
                    try:
                        subject = subject or editor.prepare(photo)
                        edit = next(editor.edit_subjects([subject], target))
                    except LeganError as error:
                        reasons[f"{name}: {str(error).split('fitted head: ')[-1].split(':')[0]}"] += 1
                        start = time.process_time()
                        continue
                    seconds[f"{target} {'first' if k == 0 else 'further'}"].append(time.process_time() - start)
                    found[target].append((np.asarray(edit.sources[0]), np.asarray(edit.crops[0])))
                    if options.sheets:
                        edit.save(make_folder(options.sheets) / f"{folder.name}_{photo.stem}_{name}_{target}.jpg")
                    start = time.process_time()
            for target in TARGETS:
                print(row_of(folder.name, name, target, len(photos), found[target], seconds, judge, dlib))
    print("\nRefusals: " + (", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items())) or "none"))


def row_of(
    photos: str,
    name: str,
    target: str,
    n: int,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    seconds: dict[str, list[float]],
    judge: Judge | None,
    dlib: DlibEmbedder | None,
) -> str:
    """One line of the table."""
    seen = distance = "-"
    if pairs:
        before, after = (np.stack(images) for images in zip(*pairs, strict=True))
        if dlib is not None:
            distance = f"{np.linalg.norm(dlib(before) - dlib(after), axis=1).mean():.2f}"
        if judge is not None:
            right = judge(to_network(after)).expression.argmax(1) == EXPRESSIONS.index(target)
            seen = f"{right.mean():.0%}"
    times = [f"{np.median(s):.2f}" if (s := seconds[f"{target} {kind}"]) else "-" for kind in ("first", "further")]
    return f"| {photos} | {name} | {target} | {n} | {n - len(pairs)} | {seen} | {distance} | {' | '.join(times)} |"


if __name__ == "__main__":
    main()
