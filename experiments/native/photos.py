"""Fine structure in the face and the halo round the person, on photographs of 512 pixels: pasted back and native.

    python experiments/native/photos.py LONDON [--people 16] [--sheets FOLDER]

Fine structure: standard deviation of the luma less its blur of sigma 2, over its mean, inside the hull of the landmarks less 4 pixels, so
that the outline stays out; after the edit, where those pixels went; as a ratio to the photo's own. Halo: mean absolute difference to the
photo, in grey levels, 3 to 10 pixels outside the person's outline. The outline is the one that comes with the data (`landmarks.npz`), not
the matte that the edit uses; "both" leaves out what the moved person covers.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from editing import Edited, edit_both, validation_people
from legan.editing.loader import load_editor
from legan.faces.detect import detect

EDITS = (("light -45", None, -45.0), ("smile", "smile", None), ("surprise", "surprise", None), ("scream", "scream", None))
SHEET = (("smile", None), ("surprise", None), ("scream", None), ("surprise", -45.0), ("neutral", 75.0), ("squint", 45.0))
NEAR, FAR = 3, 10  # pixels outside the outline


def structure(image: np.ndarray, face: np.ndarray) -> float:
    """Fine structure of the pixels of a mask."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((luma - cv2.GaussianBlur(luma, (0, 0), 2))[face].std() / luma[face].mean())


def hull(landmarks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The face: hull of 68 landmarks, less its border (H, W)."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(cv2.convexHull(landmarks)).astype(np.int32), 1)
    return cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0


def moved_outline(outline: np.ndarray, edited: Edited) -> np.ndarray:
    """Where the person stands after the edit (H, W)."""
    left, top, right, bottom = edited.fields.box
    y, x = np.mgrid[: outline.shape[0], : outline.shape[1]].astype(np.float32)
    moves = edited.fields.displacement
    x[top:bottom, left:right] += moves[..., 0]
    y[top:bottom, left:right] += moves[..., 1]
    return cv2.remap(outline.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0


def halo(image: np.ndarray, photo: np.ndarray, person: np.ndarray, shown: np.ndarray) -> float:
    """Mean difference in the band outside `person`, where the crop lies (`shown`)."""
    distance = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 5)
    band = (distance >= NEAR) & (distance <= FAR) & shown
    return float(np.abs(image.astype(int) - photo)[band].mean())


def main() -> None:
    """Read the command line, edit, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("london", type=Path)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--sheets", type=Path, help="writes a PNG for each person: six edits, pasted and native")
    words = parser.parse_args()
    editor, marks = load_editor(), np.load(words.london / "landmarks.npz")
    files = list(marks["files"])
    fine, halos = {label: [] for label, *_ in EDITS}, {label: [] for label, *_ in EDITS}
    people = validation_people(words.london)[: words.people]
    for who in people:
        path = words.london / f"{who}_neutral.jpg"
        subject = editor.prepare(path)
        photo = np.asarray(subject.photo.image)
        face = hull(detect(subject.photo.image)[0].landmarks, photo.shape)
        outline = marks["mask"][files.index(path.name)] > 0
        for label, expression, lighting in EDITS:
            edited = edit_both(editor, subject, expression, lighting)
            left, top, right, bottom = edited.fields.box
            shown = np.zeros_like(outline)
            shown[top:bottom, left:right] = True
            fine[label].append([structure(image, face) / structure(photo, face) for image in (edited.pasted, edited.native)])
            both = outline | moved_outline(outline, edited)
            halos[label].append(
                [halo(image, photo, person, shown) for person in (both, outline) for image in (edited.pasted, edited.native)]
            )
        if words.sheets:
            words.sheets.mkdir(parents=True, exist_ok=True)
            pairs = [edit_both(editor, subject, *wish) for wish in SHEET]
            rows = [np.concatenate([p for pair in pairs[i : i + 2] for p in (pair.pasted, pair.native)], 1) for i in (0, 2, 4)]
            Image.fromarray(np.concatenate(rows)).save(words.sheets / f"{who}.png")
    print(f"{len(people)} people: {' '.join(people)}\n")
    print("| edit | fine structure, pasted | native | least, most |\n| --- | --- | --- | --- |")
    for label, values in fine.items():
        (pasted, native), own = np.mean(values, 0), np.array(values)[:, 1]
        print(f"| {label} | {pasted:.3f} | {native:.3f} | {own.min():.3f}, {own.max():.3f} |")
    print("\n| edit | halo outside both outlines, pasted | native | outside the photo's outline, pasted | native |")
    print("| --- | --- | --- | --- | --- |")
    for label, values in halos.items():
        print(f"| {label} | " + " | ".join(f"{value:.2f}" for value in np.mean(values, 0)) + " |")


if __name__ == "__main__":
    main()
