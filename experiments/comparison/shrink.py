"""Writes a data set of smaller crops: each image of a set at another size, with its row of the manifest.

    python experiments/comparison/shrink.py data/rendered data/rendered-64 --size 64 [--workers 12]
    python experiments/comparison/shrink.py packs/1/turned packs/2/turned data/turned-64

Several sets become one; an image that more than one of them has goes in once. Areas are averaged (OpenCV's INTER_AREA), which does not
alias. Landmarks go along, mattes do not.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pandas as pd

from legan.core.errors import LeganError
from legan.core.files import make_folder
from legan.core.images import png_bytes
from legan.data.manifest import COLUMNS, read_manifest, read_pixels, write_manifest
from legan.data.shards import SHARDS, ShardWriter

AT_MOST = 500  # images of a shard: what a process takes at once


def shrink(sources: Sequence[Path], out: Path, size: int, n_workers: int = 1) -> int:
    """Write the set `out` of crops of `size` pixels and return the number of images."""
    frames = [read_manifest(source).assign(set=number) for number, source in enumerate(sources)]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates(["path", "key"])
    make_folder(out / SHARDS)
    jobs = []
    for (number, path), group in frame.groupby(["set", "path"], sort=False):
        name = f"{number + 1}-{Path(path).stem}" if len(sources) > 1 else Path(path).stem
        starts = range(0, len(group), AT_MOST)
        for start in starts:
            shard = out / SHARDS / (f"{name}-{start // AT_MOST:03d}.tar" if len(starts) > 1 else f"{name}.tar")
            jobs.append((shard, sources[number], group.iloc[start : start + AT_MOST].to_dict("records")))
    work = partial(_write_shard, size=size)
    if n_workers == 1:
        made = list(map(work, jobs))
    else:
        with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
            made = list(pool.map(work, jobs))
    rows = [row for part in made for row in part]
    write_manifest(rows, out)
    return len(rows)


def _write_shard(job: tuple[Path, Path, list[dict[str, Any]]], size: int) -> list[dict[str, Any]]:
    place, source, rows = job
    cv2.setNumThreads(1)
    with ShardWriter(place) as shard:
        for row in rows:
            image = read_pixels(source, row)
            scale = size / image.shape[0]
            small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
            facts = {name: row[name] for name in COLUMNS}
            for name in ("alignment", "landmarks"):
                has_numbers = not isinstance(row[name], (float, type(None)))  # NaN of sets read together
                facts[name] = [scale * float(value) for value in row[name]] if has_numbers else None
            shard.add_image(str(Path(row["key"]).with_suffix(".png")), png_bytes(small), facts)
    return shard.rows


def main() -> int:
    """Read the command line and write the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    words = parser.parse_args()
    print(f"{shrink(words.source, words.out, words.size, words.workers)} images")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LeganError as error:
        sys.exit(f"error: {error}")
