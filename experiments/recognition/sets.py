"""Training sets as poor as photos from the web: each person mostly neutral, under few lights; and what augmentation makes of them.

    python experiments/recognition/sets.py --people data/people --photos data/portraits-relit --photos data/relit --out data/recognition \
        [--workers 2]

`verification/`: of each rendered person five images, four neutral and a smile, under four lights out of six near the front.
`expression/`: the same lights; neutral and smile are frequent, squint and scream less so, surprise and disgust rare, each image drawn
by the rates in `RATES`. `photos/`, for verification: the photos alone, one or two of each person, of the sets `--photos`. Each in two
folders: `original`, and `augmented`, what passes Q and the match score; with `--unfiltered` a third, the same requests, all accepted.
People of the split val keep their variety, for learning curves. Run again, it continues.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from legan.augmentation import augment
from legan.core.errors import LeganError
from legan.core.files import make_folder
from legan.data.manifest import COLUMNS, MANIFEST, read_bytes, read_manifest, write_manifest
from legan.data.shards import ShardWriter
from legan.requests import AugmentationRequest

LIGHTS = ("00", "05", "06", "07", "08", "09")  # room light, and flashes within 30 degrees of the front
N_LIGHTS = 4  # of a person in expression recognition
N_NEUTRAL, N_SMILES = 4, 1  # of a person in verification
# Chance that a person has an image of an expression under one of the person's lights.
RATES = {"neutral": 0.75, "smile": 1.0, "squint": 0.2, "scream": 0.1, "surprise": 0.1, "disgust": 0.04}
N_HELD_OUT = 24  # images of each person of the split val
MADE = ("surprise", "squint", "disgust", "scream")  # new expressions for verification


def main() -> None:
    """Read the command line and make the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="rendered set whose training people the editor never saw")
    parser.add_argument("--photos", type=Path, action="append", default=[], help="relit set; its photos; may be repeated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n-people", type=int, default=10_000, help="training people to take")
    parser.add_argument("--ratio", type=float, default=1.0, help="synthetic images for each original one")
    parser.add_argument("--min-quality", type=float, default=3.5)
    parser.add_argument("--min-match", type=float, default=0.7)
    parser.add_argument("--unfiltered", action="store_true", help="also what all requests give")
    parser.add_argument("--weights", type=Path, help="of the editor, instead of the packaged ones")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bounds: dict[str, tuple[float | None, float | None]] = {"augmented": (options.min_quality, options.min_match)}
    if options.unfiltered:
        bounds["unfiltered"] = (None, None)
    rendered = rows_of(options.people)
    people = sorted({row["identity"] for row in rendered if row["split"] == "train"})[: options.n_people]
    rendered = [row for row in rendered if row["split"] == "val" or row["identity"] in people]
    photos = [row for folder in options.photos for row in rows_of(folder)]
    for what, rows, choose in (
        ("verification", rendered, verification_rows),
        ("expression", rendered, expression_rows),
        ("photos", photos, photo_rows),
    ):
        if not rows:
            continue
        folder = options.out / what
        if not (folder / "original" / MANIFEST).exists():
            write_set(choose(rows, np.random.default_rng([options.seed, len(what)])), folder / "original")
        names = () if what == "expression" else tuple(f"{label}={label}" for label in MADE)
        for name, (min_quality, min_match) in bounds.items():
            request = AugmentationRequest("both", options.ratio, min_quality, min_match, names, options.seed, options.weights)
            done = augment(folder / "original", folder / name, request, options.workers)
            print(f"{what}/{name}: {json.dumps(done.as_json() | {'manifest': MANIFEST})}", flush=True)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """A manifest's rows of training and validation people, each with the folder that it lies in."""
    frame = read_manifest(folder)
    frame = frame[frame["split"].isin(["train", "val"])]
    return [row | {"folder": folder} for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]


def by_person(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by identity, in order."""
    people: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        people.setdefault(row["identity"], []).append(row)
    return dict(sorted(people.items()))


def spread(own: list[dict[str, Any]], random: np.random.Generator) -> list[dict[str, Any]]:
    """Held-out images of a person, of all lights and expressions."""
    return [own[i] for i in sorted(random.choice(len(own), min(N_HELD_OUT, len(own)), replace=False))]


def verification_rows(rows: Iterable[dict[str, Any]], random: np.random.Generator) -> list[dict[str, Any]]:
    """Five images of each training person."""
    chosen = []
    for own in by_person(rows).values():
        if own[0]["split"] != "train":
            chosen += spread(own, random)
            continue
        lights = random.permutation(LIGHTS)
        at = {(row["expression"], row["lighting"]): row for row in own}
        chosen += [at["neutral", light] for light in lights[:N_NEUTRAL]] + [at["smile", light] for light in lights[:N_SMILES]]
    return chosen


def expression_rows(rows: Iterable[dict[str, Any]], random: np.random.Generator) -> list[dict[str, Any]]:
    """Images of each training person by the rates."""
    chosen = []
    for own in by_person(rows).values():
        if own[0]["split"] != "train":
            chosen += spread(own, random)
            continue
        lights = random.permutation(LIGHTS)[:N_LIGHTS]
        at = {(row["expression"], row["lighting"]): row for row in own}
        chosen += [at[name, light] for name, rate in RATES.items() for light in lights if random.random() < rate]
    return chosen


def photo_rows(rows: Iterable[dict[str, Any]], random: np.random.Generator) -> list[dict[str, Any]]:
    """The photos of each training person, as they were taken."""
    chosen = []
    for own in by_person(rows).values():
        chosen += spread(own, random) if own[0]["split"] != "train" else [row for row in own if row["domain"] == "photo"]
    return chosen


def write_set(rows: list[dict[str, Any]], out: Path) -> None:
    """Copy the images of some rows to a data set folder of their own, a shard a person."""
    if out.exists():
        shutil.rmtree(out)  # of a run that was stopped
    make_folder(out / "shards")
    written = []
    for identity, own in by_person(rows).items():
        path = out / "shards" / f"{identity}.tar"
        with ShardWriter(path) as writer:
            for row in own:
                data, key = read_bytes(row["folder"], row), f"{row['expression']}-{row['lighting'] or 'own'}.png"
                offset, n_bytes = writer.add(key, data)
                place = {"path": f"shards/{path.name}", "key": key, "offset": offset, "n_bytes": n_bytes}
                written.append({name: row[name] for name in COLUMNS} | place | {"sha256": hashlib.sha256(data).hexdigest()})
    write_manifest(written, out)


if __name__ == "__main__":
    try:
        main()
    except LeganError as error:
        sys.exit(f"error: {error}")
