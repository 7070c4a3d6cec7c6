"""Contact sheets of a set that `legan synthesize` made: `python experiments/quality-images/sheet.py SET OUT`.

One image a kind, a row a setting in the order of its fault (the clean counterpart above each image where there is one), and one
of the degradations, a row each, strengths from left to right.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from legan.data.manifest import image_names, read_bytes, read_manifest

N_COLUMNS = 12
MARGIN = 150


def read(folder: Path, row: dict) -> np.ndarray:
    """RGB of a manifest row."""
    with Image.open(io.BytesIO(read_bytes(folder, row))) as image:
        return np.asarray(image.convert("RGB"))


def write_sheet(rows: list[tuple[str, list[np.ndarray]]], path: Path) -> None:
    """Labelled rows of images of one size."""
    side = rows[0][1][0].shape[0]
    sheet = Image.new("RGB", (MARGIN + side * max(len(images) for _, images in rows), side * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (label, images) in enumerate(rows):
        draw.multiline_text((4, y * side + 40), label, fill="black")
        for x, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (MARGIN + x * side, y * side))
    sheet.save(path)


def kind_rows(folder: Path, frame: pd.DataFrame, kind: str) -> list[tuple[str, list[np.ndarray]]]:
    """Rows of one kind: settings by fault, each below its counterparts."""
    by_name = frame.set_index("name")
    found = []
    chosen = frame[(frame["kind"] == kind) & (frame["degradation"] == "none")]
    for (fault, setting), group in chosen.groupby(["fault", "setting"]):
        group = group.sample(min(N_COLUMNS, len(group)), random_state=0).sort_values("domain")
        references = [name for name in group["reference"] if name]
        if references:
            found.append(("reference", [read(folder, by_name.loc[name]) for name in references]))
        found.append((f"{setting}\nfault {fault:.2f}", [read(folder, row) for row in group.to_dict("records")]))
    return found


def ladder_rows(folder: Path, frame: pd.DataFrame) -> list[tuple[str, list[np.ndarray]]]:
    """Two images a degradation: clean, then its five strengths."""
    by_name = frame.set_index("name")
    found = []
    for degradation, group in frame[(frame["fault"] == 0) & (frame["degradation"] != "none")].groupby("degradation"):
        counts = group["reference"].value_counts()
        images = []
        for reference in counts[counts == 5].index[:2]:
            images.append(read(folder, by_name.loc[reference]))
            images += [
                read(folder, row) for row in group[group["reference"] == reference].sort_values("strength").to_dict("records")
            ]
        if images:
            found.append((str(degradation), images))
    return found


def main(folder: Path, out: Path) -> None:
    """Write all sheets."""
    out.mkdir(parents=True, exist_ok=True)
    frame = read_manifest(folder)
    frame["name"] = image_names(frame)
    for kind in frame["kind"].unique():
        write_sheet(kind_rows(folder, frame, kind), out / f"{kind}.png")
    write_sheet(ladder_rows(folder, frame), out / "degradations.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set of `legan synthesize`")
    parser.add_argument("out", type=Path, help="folder for the sheets")
    words = parser.parse_args()
    main(words.data, words.out)
