"""Sheets of edits of hard inputs, to look at and to count failures in: side light, grey, turned heads, glasses, dark rooms.

    python experiments/default-editor/hard.py --photos ../shared/portraits data/portraits.csv --data data/relit \
        --data data/portraits-relit --turned data/turned --out runs/hard [--weights editor.safetensors]

Twelve inputs of each kind (ten with glasses), validation people only; a row is the input, neutral, smile, surprise, and light from the
left, the right and the front. Sheets show people: look at them, keep them out of the repository.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from anyone import edited, read_photos

from legan.core.conditions import EXPRESSIONS
from legan.core.files import make_folder, write_atomic
from legan.core.images import png_bytes
from legan.data.edits import grey
from legan.data.faces import FaceDataset
from legan.models.editors import Networks, load_networks

N = 12
GLASSES = {f"{number}.jpg" for number in (380, 381, 384, 393, 400, 414, 420, 421, 427, 432)}  # of all validation portraits
COLUMNS = (("neutral", None), ("smile", None), ("surprise", None), (None, 4), (None, 10), (None, 7))


def sheet(networks: Networks, images: np.ndarray) -> np.ndarray:
    """Rows of input and edits, uint8 (H, W, 3)."""
    columns = [images]
    for expression, lighting in COLUMNS:
        columns.append(edited(networks, images, None if expression is None else EXPRESSIONS.index(expression), lighting))
    return np.concatenate([np.concatenate(row, axis=1) for row in zip(*columns, strict=True)])


def side_lit(data: list[Path]) -> np.ndarray:
    """Relit crops under a flash from one side, different people."""
    faces = FaceDataset(data, "val", memory_gb=0)
    rows = np.flatnonzero((faces.domain == "relit") & np.isin(faces.lighting, [2, 12]))
    people, first = np.unique(faces.person[rows], return_index=True)
    return faces.images(rows[first[np.linspace(0, len(people) - 1, N).astype(int)]])


def turned(folder: Path) -> np.ndarray:
    """Renders of the heads that are turned farthest, by where the tip of the nose lies between the eyes."""
    faces = FaceDataset([folder], "val", memory_gb=0)
    rows = np.flatnonzero((faces.lighting == 7) & (faces.expression == 0))
    other = np.flatnonzero((faces.lighting == 10) & (faces.expression == 1))
    points = faces.landmarks[rows]
    turn = np.abs(points[:, 30, 0] - points[:, 36:48, 0].mean(1))
    people = faces.person[rows][np.argsort(-turn)[: N // 2]]
    chosen = [np.flatnonzero(faces.person[some] == person)[0] for some in (rows, other) for person in people]
    return faces.images(np.concatenate([rows[chosen[: N // 2]], other[chosen[N // 2 :]]]))


def dark(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Crops as a camera gives them in a dark room: a sixth of the light, and its noise."""
    random = np.random.default_rng(seed)
    level = 255 * (images / 255) ** 1.2 * 0.35 + random.normal(0, 5, images.shape)
    return np.rint(level).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Read the arguments, draw the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs=2, required=True, metavar=("FOLDER", "CSV"))
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--turned", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks, photos = load_networks(options.weights), read_photos(*options.photos, None)
    kinds = {
        "side": side_lit(options.data),
        "grey": np.stack(grey(list(photos.images[1 : 4 * N : 4]))),
        "turned": turned(options.turned),
        "glasses": photos.images[[file in GLASSES for file in photos.files]],
        "dark": dark(photos.images[2 : 4 * N : 4]),
    }
    make_folder(options.out)
    for name, images in kinds.items():
        write_atomic(options.out / f"{name}.png", png_bytes(sheet(networks, images)))


if __name__ == "__main__":
    main()
