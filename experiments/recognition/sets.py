"""Training sets as poor as photos from the web: each person mostly neutral, under few lights; and what augmentation makes of them.

    python experiments/recognition/sets.py --people data/people --out data/recognition [--workers 2]

`verification/`: of each person five images, four neutral and a smile, under four lights out of six near the front.
`expression/`: the same lights; neutral and smile are frequent, squint and scream less so, surprise and disgust rare, each image drawn
by the rates in `RATES`. Each in three folders: `original`, `augmented` (what passes Q and the match score) and `unfiltered` (the same
requests, all accepted). People of the split val keep their variety, for learning curves. Run again, it continues.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from legan.augmentation import augment
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
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n-people", type=int, default=10_000, help="training people to take")
    parser.add_argument("--ratio", type=float, default=1.0, help="synthetic images for each original one")
    parser.add_argument("--min-quality", type=float, default=3.5)
    parser.add_argument("--min-match", type=float, default=0.7)
    parser.add_argument("--weights", type=Path, help="of the editor, instead of the packaged ones")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    frame = read_manifest(options.people)
    people = sorted(frame.loc[frame["split"] == "train", "identity"].unique())[: options.n_people]
    kept = frame[(frame["split"] == "val") | frame["identity"].isin(people)]
    rows = kept.astype(object).where(kept.notna(), None).to_dict("records")
    for what, choose in (("verification", verification_rows), ("expression", expression_rows)):
        folder = options.out / what
        if not (folder / "original" / MANIFEST).exists():
            chosen = choose(rows, np.random.default_rng([options.seed, len(what)]))
            write_set(options.people, chosen, folder / "original")
        names = tuple(f"{label}={label}" for label in MADE) if what == "verification" else ()
        bounds = {"augmented": (options.min_quality, options.min_match), "unfiltered": (None, None)}
        for name, (min_quality, min_match) in bounds.items():
            request = AugmentationRequest("both", options.ratio, min_quality, min_match, names, options.seed, options.weights)
            done = augment(folder / "original", folder / name, request, options.workers)
            print(f"{what}/{name}: {json.dumps(done.as_json() | {'manifest': MANIFEST})}", flush=True)


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


def write_set(source: Path, rows: list[dict[str, Any]], out: Path) -> None:
    """Copy the images of some rows to a data set folder of their own, a shard a person."""
    if out.exists():
        shutil.rmtree(out)  # of a run that was stopped
    make_folder(out / "shards")
    written = []
    for identity, own in by_person(rows).items():
        path = out / "shards" / f"{identity}.tar"
        with ShardWriter(path) as writer:
            for row in own:
                data, key = read_bytes(source, row), f"{row['expression']}-{row['lighting']}.png"
                offset, n_bytes = writer.add(key, data)
                place = {"path": f"shards/{path.name}", "key": key, "offset": offset, "n_bytes": n_bytes}
                written.append({name: row[name] for name in COLUMNS} | place | {"sha256": hashlib.sha256(data).hexdigest()})
    write_manifest(written, out)


if __name__ == "__main__":
    main()
