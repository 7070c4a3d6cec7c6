"""Lists of photos with their labels, as `legan relight`, `legan reexpress` and anyone.py read them.

    python experiments/default-editor/labels.py ../shared --out data

Writes london.csv (all, split as `legan relight` splits them), portraits.csv (all but one) and rest.csv (the portraits at rest). The
portraits were labelled by eye, in aligned crops sorted by the width of the mouth, the gap of the lips and a classifier's chance of a
smile: the faces named here have closed lips and no smile, or a faint one; every other face smiles. Numbers 060 to 379 train.
"""

import argparse
import csv
from pathlib import Path

_AT_REST = (
    "072 076 086 099 101 113 127 135 146 152 178 185 190 197 198 201 216 221 224 230 237 254 273 277 281 285 293 300 301 302 346"
    " 349 389 411 412 415 419 425 431"
)
AT_REST = set(_AT_REST.split())
LEFT_OUT = {"222"}  # a patch covers one eye
FIRST_VALIDATION = 380


def write_list(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    """Write a CSV file of file, identity, expression and split."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "identity", "expression", "split"])
        writer.writerows(rows)


def main() -> None:
    """Read the arguments, write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="the folder that holds london/ and portraits/")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    with open(options.photos / "london" / "faces.csv", newline="", encoding="utf-8") as file:
        london = list(csv.DictReader(file))
    held_out = set(sorted({row["identity"] for row in london})[4::5])
    write_list(
        options.out / "london.csv",
        [(r["file"], r["identity"], r["expression"], "val" if r["identity"] in held_out else "train") for r in london],
    )

    portraits = []
    for path in sorted((options.photos / "portraits").glob("*.jpg")):
        if path.stem not in LEFT_OUT:
            split = "val" if int(path.stem) >= FIRST_VALIDATION else "train"
            portraits.append((path.name, f"p{path.stem}", "neutral" if path.stem in AT_REST else "smile", split))
    write_list(options.out / "portraits.csv", portraits)
    write_list(options.out / "rest.csv", [row for row in portraits if row[2] == "neutral"])


if __name__ == "__main__":
    main()
