"""A small rated data set that the tests make: drawn faces, blurred and blotched by degrees, with simulated ratings."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from tests.face_sets import draw_face, row

from legan.data.manifest import QUALITY_COLUMNS, split_of, write_manifest


def spoil(image: Image.Image, strength: float, seed: int) -> Image.Image:
    """Blur an image and cover parts of it with grey blots; `strength` 0 leaves it."""
    if strength == 0:
        return image
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.5 * strength))).copy()
    random, (height, width) = np.random.default_rng(seed), pixels.shape[:2]
    for _ in range(round(6 * strength)):
        y, x = random.integers(0, height - height // 6), random.integers(0, width - width // 6)
        pixels[y : y + height // 6, x : x + width // 6] = random.integers(0, 255, 3)
    return Image.fromarray(pixels)


def make_rated_set(
    folder: Path, n_identities: int = 20, size: int = 64, strengths: tuple[float, ...] = (0, 0.3, 0.6, 1)
) -> Path:
    """Write the data set and return its folder; images are called `p000_0.3.png`."""
    folder.mkdir(parents=True)
    rows = []
    for identity in range(n_identities):
        clean = Image.fromarray(draw_face(identity, identity % 6, (0, 1, 7)[identity % 3], size))
        for strength in strengths:
            name = f"p{identity:03d}_{strength:g}.png"
            spoil(clean, strength, identity).save(folder / name)
            made = {
                "kind": "photo", "setting": "photo", "fault": 0.0, "degradation": "blur" if strength else "none", "strength": strength,
                "reference": f"p{identity:03d}_0.png", "naturalness_distance": float("nan"),
            }  # fmt: skip
            rows.append(row(f"p{identity:03d}", "", "", path=name, split=split_of(identity), **made))
    write_manifest(rows, folder, QUALITY_COLUMNS)
    return folder


def write_labels(data: Path, path: Path) -> Path:
    """Labels that follow the strength exactly: mean 9 - 7 * strength, std 0.5."""
    manifest = pd.read_parquet(data / "manifest.parquet")
    labels = pd.DataFrame(
        {"name": manifest["path"], "mean": 9 - 7 * manifest["strength"], "std": 0.5, "split": manifest["split"]}
    )
    labels.to_csv(path, index=False)
    return path
