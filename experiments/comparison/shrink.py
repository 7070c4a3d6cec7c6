"""Writes a data set of smaller crops: each image of a set at another size, with its row of the manifest.

    python experiments/comparison/shrink.py data/rendered data/rendered-64 --size 64

Areas are averaged (OpenCV's INTER_AREA), which does not alias. Landmarks go along, mattes do not.
"""

import argparse
import sys
from pathlib import Path

import cv2

from legan.core.errors import LeganError
from legan.core.files import make_folder
from legan.core.images import png_bytes
from legan.data.manifest import COLUMNS, read_manifest, read_pixels, write_manifest
from legan.data.shards import SHARDS, ShardWriter


def shrink(source: Path, out: Path, size: int) -> int:
    """Write the set `out` of crops of `size` pixels and return the number of images."""
    frame, rows = read_manifest(source), []
    make_folder(out / SHARDS)
    for path, group in frame.groupby("path", sort=False):
        with ShardWriter(out / SHARDS / Path(str(path)).name) as shard:
            for row in group.to_dict("records"):
                image = read_pixels(source, row)
                scale = size / image.shape[0]
                small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
                facts = {name: row[name] for name in COLUMNS}
                for name in ("alignment", "landmarks"):
                    facts[name] = None if row[name] is None else [scale * float(value) for value in row[name]]
                shard.add_image(row["key"], png_bytes(small), facts)
            rows += shard.rows
    write_manifest(rows, out)
    return len(rows)


def main() -> int:
    """Read the command line and write the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=64)
    words = parser.parse_args()
    print(f"{shrink(words.source, words.out, words.size)} images")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LeganError as error:
        sys.exit(f"error: {error}")
