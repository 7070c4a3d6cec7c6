"""Estimates the usual even light (`USUAL` in legan_faces3d/photo/even_light.py) from photos of a studio set.

    python experiments/relight/even_light.py ../shared/london --every 5

Every fifth photo of the training people: spherical harmonics of the normal times openness, fitted to the relative luminance of
plain skin, all photos sharing one light and each having its own brightness.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from legan.faces.detect import detect
from legan_faces3d.head.head import Head
from legan_faces3d.photo.even_light import dimming, harmonics
from legan_faces3d.photos import PhotoRelighter, cut_window, list_photos

_RIDGE = np.array([0, 20, 20, 20, 200, 200, 200, 200, 200.0])  # against colours of the face passing for light
LUMINANCE = np.array([0.3, 0.5, 0.2])


def main() -> None:
    """Print the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    entries = list_photos(options.photos, manifest=options.photos / "faces.csv")
    chosen = [entry for entry in entries if entry.split == "train"][:: options.every]
    maker = PhotoRelighter(Head())
    designs, targets = [], []
    for entry in chosen:
        pixels = np.asarray(Image.open(entry.path).convert("RGB"))
        fit = maker.fitter.fit(detect(Image.fromarray(pixels))[0].landmarks, entry.expression)
        light, normals, openness = maker.relighter.plain_skin(*cut_window(pixels, *maker.relighter.window(fit)), fit)
        designs.append(harmonics(normals) * dimming(openness)[:, None])
        targets.append(light @ LUMINANCE)
    gains = [np.median(target) for target in targets]
    print(
        f"n = {len(chosen)} photos; luminance of plain skin: median {np.median(gains):.3f}, {min(gains):.3f}..{max(gains):.3f}"
    )
    weights = [np.ones(len(target)) for target in targets]
    for _ in range(8):
        design = np.concatenate([d * w[:, None] for d, w in zip(designs, weights, strict=True)])
        target = np.concatenate([t / g * w for t, g, w in zip(targets, gains, weights, strict=True)])
        light = np.linalg.solve(design.T @ design + np.diag(_RIDGE), design.T @ target)
        shades = [d @ light for d in designs]
        gains = [float(np.median(t / np.maximum(s, 0.2))) for t, s in zip(targets, shades, strict=True)]
        weights = [1 / (1 + ((t / g - s) / 0.15) ** 2) for t, g, s in zip(targets, gains, shades, strict=True)]
    own = []
    for d, t, g in zip(designs, targets, gains, strict=True):
        own.append(np.linalg.solve(d.T @ d + np.diag(_RIDGE), d.T @ (t / g)))
    print("light", light.round(3).tolist())
    print("deviation between photos", np.std(own, axis=0).round(3).tolist())
    residual = np.concatenate([t / g - s for t, g, s in zip(targets, gains, shades, strict=True)])
    print(f"left of relative luminance: median {np.median(np.abs(residual)):.3f}")


if __name__ == "__main__":
    main()
