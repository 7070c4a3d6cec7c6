"""Renders of 512 pixels edited from their crops of 128, against the true render: PSNR in the face.

    python experiments/native/truth.py [--people 4] [--size 512] [--renders FOLDER]

Each person at rest under room light is edited to every other expression, the light not named, and to five flashes, the expression not
named. The truth is the same person rendered so. With --no-noise the sensor's noise is left out of all renders: no edit can know that of
the truth. The face is the hull of the landmarks of both, less its border. SSIM is that of the same pixels' windows.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from editing import edit_both, whole_crop
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.editing.loader import load_editor
from legan_faces3d.render import camera as sensor
from legan_faces3d.render.renderer import Renderer

FIRST_SEED = 900_000  # people that no model was trained with
FLASHES = ("03", "05", "07", "09", "11")
LESS = 0.01  # of the crop's side: the outline belongs to the wall too


def rendered(renderer: list[Renderer], seed: int, expression: str, size: int, folder: Path | None) -> dict[str, np.ndarray]:
    """Images by class of light and the landmarks; the renderer is made when the first image is missing."""
    path = folder / f"{seed}-{expression}-{size}.npz" if folder else None
    if path and path.exists():
        return dict(np.load(path))
    if not renderer:
        renderer.append(Renderer(size))
    # An image without any flash cannot be rendered alone.
    names = ("00", *FLASHES) if expression == "neutral" else ("00", FLASHES[0])
    lightings = [lighting for lighting in LIGHTINGS if lighting.name in names]
    result = renderer[0].render(seed, expression, lightings=lightings)
    found = {"landmarks": result.landmarks, **dict(zip(result.lightings, result.images, strict=True))}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found)
    return found


def agreement(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and SSIM of uint8 images over the pixels of a mask."""
    error = (image[mask].astype(np.float64) - truth[mask]) / 255
    similar = structural_similarity(image, truth, channel_axis=2, full=True, gaussian_weights=True, sigma=1.5)[1]
    return float(-10 * np.log10((error**2).mean())), float(similar[mask].mean())


def face_mask(size: int, *landmarks: np.ndarray) -> np.ndarray:
    """The hull of all landmarks, less a border (size, size)."""
    mask = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(np.concatenate(landmarks).astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    reach = 2 * round(LESS * size) + 1
    return cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)), borderValue=0) > 0


def main() -> None:
    """Read the command line, render, edit, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--renders", type=Path, help="keeps the renders there")
    parser.add_argument(
        "--no-noise", action="store_true", help="renders without the sensor's noise; they need a --renders of their own"
    )
    parser.add_argument("--sheet", type=Path, help="writes a PNG of the first person: before, pasted, native, truth")
    words = parser.parse_args()
    if words.no_noise:
        sensor._SHOT_NOISE = sensor._READ_NOISE = 0.0
    editor, renderer = load_editor(), []
    figures: dict[str, list[list[tuple[float, float]]]] = {}
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + words.people):
        takes = {name: rendered(renderer, seed, name, words.size, words.renders) for name in EXPRESSIONS}
        start = takes["neutral"]
        subject = whole_crop(Image.fromarray(start["00"]), editor.networks.size)
        wishes = [(name, name, None) for name in EXPRESSIONS[1:]] + [(f"light {name}", None, name) for name in FLASHES]
        for label, expression, lighting in wishes:
            take = takes[expression or "neutral"]
            truth, points = take[lighting or "00"], take["landmarks"]
            edited = edit_both(editor, subject, expression, lighting)
            mask = face_mask(words.size, start["landmarks"], points)
            images = (edited.before, edited.pasted, edited.native)
            figures.setdefault(label, []).append([agreement(image, truth, mask) for image in images])
            if seed == FIRST_SEED:
                rows.append(np.concatenate([*images, truth], axis=1))
    print(
        f"PSNR in dB / SSIM in the face, means of {words.people} rendered people of {words.size} pixels (seeds {FIRST_SEED} on)"
        + (", without noise" if words.no_noise else "")
        + "\n"
    )
    print("| edit | not edited | pasted | native | native - pasted, PSNR of each |\n| --- | --- | --- | --- | --- |")
    for label, values in figures.items():
        table = np.array(values)  # (people, ways, 2)
        cells = [f"{level:.2f} / {similar:.3f}" for level, similar in table.mean(0)]
        print(
            f"| {label} | " + " | ".join(cells) + " | " + " ".join(f"{d:+.1f}" for d in table[:, 2, 0] - table[:, 1, 0]) + " |"
        )
    if words.sheet:
        Image.fromarray(np.concatenate(rows)).save(words.sheet)


if __name__ == "__main__":
    main()
