"""Makes broad smiles sources that an editor learns to leave, and never a truth that it learns to make.

    python experiments/default-editor/sources.py data/broad data/relit --source "London, broad smiles" --out data/broad-london

A face has one truth under a condition. Where it has two, a modest smile in one set and a broad one in another, an editor learns
their mean: lips with a grey smear of teeth. So of the folders, a set of `legan reexpress --broad-smiles` and that of `legan relight`, OUT
gets two: `sources` with the broad smiles, and `truths` with all else of the same takes, which a training names with a weight of 0:

    legan train legan ... --data data/broad-london/sources --data data/broad-london/truths --set 'data.weights=[...,0.1,0]'

`--source` must be another name than that of the sets, so that these takes do not join those of the modest smiles. Shards are linked.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd

from legan.core.errors import DataError
from legan.core.files import make_folder
from legan.data.manifest import MATTE_COLUMNS, read_manifest, write_manifest


def rows_of(frame: pd.DataFrame, source: str, prefix: str) -> list[dict[str, Any]]:
    """Rows of a manifest under another source, their shards under a prefix."""
    records: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    for row in records:
        row |= {"source": source, "path": row["path"].replace("shards/", f"shards/{prefix}")}
        row |= {name: None if pd.isna(row[name]) else int(row[name]) for name in MATTE_COLUMNS}
        row |= {name: row[name] if row[name] is None else row[name].tolist() for name in ("alignment", "landmarks")}
    return records


def write_set(parts: list[tuple[Path, pd.DataFrame]], source: str, out: Path) -> int:
    """Write a set of rows of others, whose shards are linked; returns the number of images."""
    make_folder(out / "shards")
    rows: list[dict[str, Any]] = []
    for number, (folder, frame) in enumerate(parts):
        for name in sorted(set(frame["path"])):
            os.link(folder / name, out / name.replace("shards/", f"shards/{number}-"))
        rows += rows_of(frame, source, f"{number}-")
    write_manifest(rows, out, MATTE_COLUMNS)
    return len(rows)


def main() -> None:
    """Read the command line, write both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    frames = {folder: read_manifest(folder) for folder in words.sets}
    everything = pd.concat(frames.values())
    if words.source in set(everything["source"]):
        raise DataError(f"the takes would join those of '{words.source}': give --source another name")
    is_broad = {
        folder: (frame["expression"] == "smile") & (frame["domain"] == "reexpressed") for folder, frame in frames.items()
    }
    takes = {tuple(take) for folder, frame in frames.items() for take in frame["alignment"][is_broad[folder]]}
    of_takes = {folder: frame["alignment"].map(lambda take: tuple(take) in takes) for folder, frame in frames.items()}
    n = write_set([(f, frame[is_broad[f]]) for f, frame in frames.items()], words.source, words.out / "sources")
    m = write_set([(f, frame[of_takes[f] & ~is_broad[f]]) for f, frame in frames.items()], words.source, words.out / "truths")
    print(f"{words.out}: {len(takes)} takes, {n} images in sources, {m} in truths")


if __name__ == "__main__":
    main()
