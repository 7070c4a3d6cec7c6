"""Write the packaged faces.

    legan render --identities 250 --seed 0 --workers 2 --out DIR
    python experiments/packaged-faces/make.py --data DIR [--out src/legan/assets/faces]
    python experiments/packaged-faces/make.py --photos LONDON

From DIR: the neutral, frontally lit crop of each test identity of a rendered set, byte for byte as rendered. From LONDON, the folder of
the Face Research Lab London Set with images of 512 pixels (NNN_neutral.jpg): the neutral photographs of four validation people, as JPEG
of quality 90, the attribution in XMP and EXIF.
"""

import argparse
from pathlib import Path

from PIL import ExifTags

from legan.core import metadata as exif
from legan.core import metadata as xmp
from legan.core.files import write_atomic
from legan.core.images import load_photo, save_photo
from legan.core.metadata import Metadata
from legan.core.weights import ASSETS
from legan.data.manifest import read_bytes, read_manifest
from legan.editing.demo import ATTRIBUTION

N_FACES = 12
PEOPLE = ("006", "107", "117", "137")  # women of 31 and 41, men of 26 and 21 years: chosen by eye, where edits look well
SIDE = 512  # pixels
DC, CC = "http://purl.org/dc/elements/1.1/", "http://creativecommons.org/ns#"
LICENCE = "https://creativecommons.org/licenses/by/4.0/"


def write_renders(data: Path, out: Path) -> None:
    """Write the rendered faces and print their names."""
    frame = read_manifest(data)
    chosen = frame[(frame["split"] == "test") & (frame["expression"] == "neutral") & (frame["lighting"] == "07")]
    for row in chosen.sort_values("identity").head(N_FACES).to_dict("records"):
        path = out / f"{row['identity']}.png"
        write_atomic(path, read_bytes(data, row))
        print(path)


def write_photos(london: Path, out: Path) -> None:
    """Write the photographs and print their names."""
    metadata = Metadata(
        xmp=xmp.merge(None, {(DC, "source"): ATTRIBUTION, (CC, "license"): LICENCE}, {DC: "dc", CC: "cc"}),
        exif=exif.with_tags(None, {ExifTags.Base.Copyright: ATTRIBUTION}, {}),
    )
    for person in PEOPLE:
        image = load_photo(london / f"{person}_neutral.jpg").image
        if image.size != (SIDE, SIDE):
            raise SystemExit(f"{person}_neutral.jpg is {image.size}: give the set's images cropped to {SIDE} pixels a side")
        path = out / f"london-{person}.jpg"
        save_photo(image, path, quality=90, metadata=metadata)
        print(path)


def main() -> None:
    """Read the arguments, write the faces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--data", type=Path, help="a rendered set")
    sources.add_argument("--photos", type=Path, metavar="LONDON", help="the London set, 512 pixels")
    parser.add_argument("--out", type=Path, default=ASSETS / "faces")
    arguments = parser.parse_args()
    if arguments.data:
        write_renders(arguments.data, arguments.out)
    else:
        write_photos(arguments.photos, arguments.out)


if __name__ == "__main__":
    main()
