"""Contact sheet of relit photos: one row a photo, the photo itself first (never shipped: the photos are other people's).

python experiments/relight/sheet.py data/london sheet.png --lightings 00,01,04,07,10,13,16,19 --photos 001,023
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from legan.data.manifest import EVEN_LIGHT, read_bytes, read_manifest


def main() -> None:
    """Read the arguments and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lightings", default="00,01,03,05,07,09,11,13,14,16,18,19")
    parser.add_argument("--photos", help="beginnings of names; by default all")
    options = parser.parse_args()
    frame = read_manifest(options.data)
    frame["photo"] = frame["key"].str.rsplit("_", n=1).str[0]
    beginnings = tuple(options.photos.split(",")) if options.photos else ("",)
    rows = []
    for name, crops in frame[frame["photo"].str.startswith(beginnings)].groupby("photo"):
        by_lighting = crops.set_index("lighting")
        chosen = [by_lighting.loc[lighting].to_dict() for lighting in (EVEN_LIGHT, *options.lightings.split(","))]
        images = [Image.open(io.BytesIO(read_bytes(options.data, row))).convert("RGB") for row in chosen]
        rows.append(np.concatenate([np.asarray(image) for image in images], axis=1))
        print(name, f"confidence {by_lighting['confidence'].max():.2f}")
    Image.fromarray(np.concatenate(rows)).save(options.out)


if __name__ == "__main__":
    main()
