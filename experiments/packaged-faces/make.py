"""Write the packaged faces: the neutral, frontally lit crop of each test identity of a rendered set, byte for byte as rendered.

legan render --identities 250 --seed 0 --workers 2 --out DIR
python experiments/packaged-faces/make.py --data DIR [--out src/legan/assets/faces]
"""

import argparse
from pathlib import Path

from legan.core.files import write_atomic
from legan.core.manifest import read_bytes, read_manifest
from legan.core.weights import ASSETS

N_FACES = 12


def main() -> None:
    """Write the faces and print their names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ASSETS / "faces")
    arguments = parser.parse_args()
    frame = read_manifest(arguments.data)
    chosen = frame[(frame["split"] == "test") & (frame["expression"] == "neutral") & (frame["lighting"] == "07")]
    for row in chosen.sort_values("identity").head(N_FACES).to_dict("records"):
        path = arguments.out / f"{row['identity']}.png"
        write_atomic(path, read_bytes(arguments.data, row))
        print(path)


if __name__ == "__main__":
    main()
