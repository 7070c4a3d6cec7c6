"""Relit photos beside renders: exposure by lighting, places of eyes and mouth, fit error, confidence.

    python experiments/relight/measure.py --rendered data/rendered --relit data/london

Brightness is the linear luminance (0.3, 0.5, 0.2) of two patches of cheek, medians, geometric mean over crops.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.conditions import LIGHTING_NAMES
from legan.core.light import pixels_to_linear
from legan.data.manifest import read_bytes, read_manifest
from legan_faces3d.head.identity import draw_identity
from legan_faces3d.render.dataset import identity_seed

LEFT, RIGHT = (slice(62, 100), slice(34, 50)), (slice(62, 100), slice(78, 94))
LUMINANCE = np.array([0.3, 0.5, 0.2])
FAIR = 0.25  # melanin; the relit photos to compare are those whose skin is as bright
BRIGHT = 0.2  # luminance of the cheeks in the photo


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rendered", type=Path, required=True)
    parser.add_argument("--relit", type=Path, required=True)
    parser.add_argument("--people", type=int, default=100)
    options = parser.parse_args()
    renders = read_manifest(options.rendered)
    renders = renders[(renders["expression"] == "neutral") & (renders["identity"] <= f"r{options.people - 1:06d}")]
    seed = json.loads((options.rendered / "settings.json").read_text())["seed"]
    melanin = {name: draw_identity(identity_seed(seed, int(name[1:]))).skin.melanin for name in renders["identity"].unique()}
    fair = renders[renders["identity"].map(melanin) < FAIR]
    photos = read_manifest(options.relit)
    photos = photos[photos["expression"] == "neutral"]
    originals = photos[photos["domain"] == "photo"]
    is_bright = [cheeks(options.relit, row).mean() > BRIGHT for row in originals.to_dict("records")]
    relit = photos[(photos["domain"] == "relit") & photos["identity"].isin(originals["identity"][is_bright])]
    print(f"fair renders: {fair['identity'].nunique()} people; relit bright photos: {relit['identity'].nunique()} people\n")
    print("| lighting | render, left cheek | right | relit, left | right |")
    print("| --- | --- | --- | --- | --- |")
    for lighting in LIGHTING_NAMES:
        cells = [
            f"{value:.3f}"
            for folder, frame in ((options.rendered, fair), (options.relit, relit))
            for value in brightness(folder, frame[frame["lighting"] == lighting])
        ]
        print(f"| {lighting} | {' | '.join(cells)} |")
    print("\n| crops | n | eyes, y | eye distance | mouth corners, y | chin, y |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, frame in (("renders", renders[renders["lighting"] == "07"]), ("photos", originals)):
        places(name, np.stack(frame["landmarks"].to_list()).reshape(-1, 68, 2))


def cheeks(folder: Path, row: dict) -> np.ndarray:
    """Luminance (2,) of the left and right cheek."""
    light = pixels_to_linear(np.asarray(Image.open(io.BytesIO(read_bytes(folder, row))).convert("RGB"))) @ LUMINANCE
    return np.array([np.median(light[LEFT]), np.median(light[RIGHT])])


def brightness(folder: Path, frame) -> np.ndarray:
    """Geometric mean (2,) over crops."""
    return np.exp(np.mean([np.log(cheeks(folder, row) + 1e-4) for row in frame.to_dict("records")], axis=0))


def places(name: str, points: np.ndarray) -> None:
    """One row: mean and standard deviation in pixels."""
    left, right, mouth = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1), points[:, [48, 54]].mean(axis=1)
    columns = ((left + right)[:, 1] / 2, np.linalg.norm(right - left, axis=1), mouth[:, 1], points[:, 8, 1])
    print(f"| {name} | {len(points)} | " + " | ".join(f"{column.mean():.1f} ± {column.std():.1f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
