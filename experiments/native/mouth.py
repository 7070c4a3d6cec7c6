"""How far the landmark network's heat maps of the mouth spread on photographs, and on the same ones with the mouth painted over.

    python experiments/native/mouth.py LONDON [--every 4]

A mask in two colours with a little noise, from the nose to the chin, and four fingers of the cheek's colour across the mouth; faces that
the detector no longer sees are left out. Spread: `Face.mouth_spread`.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from legan.faces.detect import Face, detect

MASKS = {"blue mask": (120, 170, 210), "white mask": (235, 235, 235)}


def masked(pixels: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A photo with a polygon from the nose to the jaw, from one cheek to the other."""
    covered = pixels.copy()
    cv2.fillPoly(covered, [np.rint(np.concatenate([points[2:15], points[29:30]])).astype(np.int32)], colour)
    return np.clip(covered + np.random.default_rng(0).normal(0, 3, covered.shape), 0, 255).astype(np.uint8)


def with_fingers(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A photo with four ellipses of the cheek's colour over the mouth."""
    covered = pixels.copy()
    x, y = points[48:].mean(0)
    width = float(np.linalg.norm(points[54] - points[48]))
    row, column = int(points[29, 1]), int(points[31, 0])
    skin = pixels[row - 5 : row + 5, column - 40 : column - 20].mean((0, 1))
    for i in range(4):
        place = int(x), int(y + (i - 1.5) * 0.28 * width)
        colour = tuple(float(value) for value in skin * (0.95 if i % 2 else 1))
        cv2.ellipse(covered, place, (int(0.9 * width), int(0.17 * width)), 10, 0, 360, colour, -1)
    return cv2.GaussianBlur(covered, (0, 0), 1.0)


def main() -> None:
    """Read the command line, paint, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("london", type=Path)
    parser.add_argument("--every", type=int, default=4, help="takes people whose number it divides")
    words = parser.parse_args()
    found: dict[str, list[float]] = {}

    def look(name: str, pixels: np.ndarray) -> Face | None:
        faces = detect(Image.fromarray(pixels))
        if faces:
            found.setdefault(name, []).append(faces[0].mouth_spread)
        return faces[0] if faces else None

    for path in sorted(words.london.glob("*.jpg")):
        if int(path.name[:3]) % words.every:
            continue
        pixels = np.asarray(Image.open(path).convert("RGB"))
        name = "at rest" if "neutral" in path.name else "smile"
        face = look(name, pixels)
        if name == "smile" or face is None:
            continue
        for cover, colour in MASKS.items():
            look(cover, masked(pixels, face.landmarks, colour))
        look("fingers", with_fingers(pixels, face.landmarks))
    print("| mouth | n | least | mean | most |\n| --- | --- | --- | --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {len(values)} | {min(values):.1f} | {np.mean(values):.1f} | {max(values):.1f} |")


if __name__ == "__main__":
    main()
