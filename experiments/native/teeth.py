"""How bright teeth are: of people who smile in one photo, and painted by the fitted editor in their photo at rest.

    python experiments/native/teeth.py LONDON [--people 16]

Validation people of the London set. Linear luminance, its 80th percentile between the lips, as the detector's landmarks have them. Only
people whose true smile shows at least 150 pixels between the lips count: the others show a dark slit.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from editing import validation_people
from legan.core.light import to_linear
from legan.editing.loader import load_editor
from legan.faces.detect import detect

LUMINANCE = np.array([0.3, 0.5, 0.2], np.float32)
INNER_LIPS = slice(60, 68)
LEAST = 150  # pixels


def teeth(image: Image.Image) -> tuple[float, int]:
    """Luminance between the lips, and the number of pixels there."""
    pixels = np.asarray(image.convert("RGB"))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(detect(image)[0].landmarks[INNER_LIPS]).astype(np.int32)], 1)
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    light = to_linear(pixels[inside].astype(np.float32) / 255) @ LUMINANCE
    return (float(np.percentile(light, 80)) if len(light) else 0.0), len(light)


def main() -> None:
    """Read the command line, edit, print a line for each person."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("london", type=Path)
    parser.add_argument("--people", type=int, default=16)
    words = parser.parse_args()
    editor, shares = load_editor("fitted"), []
    print("| person | true | painted | painted / true |\n| --- | --- | --- | --- |")
    for who in validation_people(words.london)[: words.people]:
        with Image.open(words.london / f"{who}_smile.jpg") as image:
            true, n = teeth(image.convert("RGB"))
        if n < LEAST:
            continue
        painted, _ = teeth(editor(words.london / f"{who}_neutral.jpg", "smile").image)
        shares.append(painted / true)
        print(f"| {who} | {true:.2f} | {painted:.2f} | {shares[-1]:.2f} |", flush=True)
    print(f"\nMedian of {len(shares)} people: {np.median(shares):.2f}")


if __name__ == "__main__":
    main()
