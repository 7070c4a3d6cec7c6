"""How far true and re-expressed smiles move the mouth, in millimetres: landmarks alone, no images are made.

python experiments/reexpress/mouth_moves.py ../shared/london ../shared/london/faces.csv
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from legan.core.geometry import fit_similarity, transform
from legan_faces3d.head.head import Head
from legan_faces3d.photo.fit import HeadFit, HeadFitter
from legan_faces3d.photo.reexpress import new_actions
from legan_faces3d.photos import PhotoEntry, find_face, list_photos, seed_of

_STILL = slice(27, 48)
_SHOWN = {
    "left corner": 48,
    "right corner": 54,
    "upper lip, outer": 51,
    "upper lip, inner": 62,
    "lower lip, outer": 57,
    "chin": 8,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("manifest", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fitter = HeadFitter(Head())
    people: dict[str, dict[str, PhotoEntry]] = {}
    for photo in list_photos(arguments.photos, manifest=arguments.manifest):
        people.setdefault(photo.identity, {})[photo.expression] = photo

    true, made = [], []
    for photos in people.values():
        rest, smile = (find_face(photos[name])[1].astype(np.float64) for name in ("neutral", "smile"))
        fit = fitter.fit(rest, "neutral")
        scale = np.hypot(*fit.matrix[:, 0]) / fit.pixels_per_mm
        true.append((transform(fit_similarity(smile[_STILL], rest[_STILL]), smile) - rest) * scale)
        actions = new_actions(fit, "neutral", "smile", seed_of(photos["neutral"]))
        made.append(places(fitter, fit, actions) - places(fitter, fit, fit.actions))
    moved, moved_by_us = np.array(true), np.array(made)
    print(f"n = {len(moved)}; millimetres to the right and downwards: mean of true (standard deviation), of re-expressed")
    for name, k in _SHOWN.items():
        mean, spread, ours = moved[:, k].mean(axis=0), moved[:, k].std(axis=0), moved_by_us[:, k]
        print(f"  {name}: {mean.round(1)} ({spread.round(1)}), {ours.mean(axis=0).round(1)} ({ours.std(axis=0).round(1)})")


def places(fitter: HeadFitter, fit: HeadFit, actions: dict[str, float]) -> np.ndarray:
    """Landmarks (68, 2) in millimetres of the crop's plane."""
    seen = fit.pose.apply(fitter.places.on_face(fit.vertices(fitter.head, actions)))
    return fit.camera.project(seen, fit.size) / fit.pixels_per_mm


if __name__ == "__main__":
    main()
