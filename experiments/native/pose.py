"""How good edits are of heads that are turned, tilted or small: rendered people, whose true edit is rendered too.

    python experiments/native/pose.py --renders FOLDER [--people 4]

Each person is turned by yaw (0 to 48 degrees, to either side) and by pitch (30 degrees, up and down), framed as alignment frames a turned
face, and edited by the packaged editor: at rest to a smile, to surprise, and to a flash from the image's left. Figures are means of the
face, the hull of both landmarks. "Left" is the L1 to the truth after the edit as a share of the L1 without it: above 1 the edit is worse
than none. The estimates of yaw and pitch are those of `legan.faces.suitability`, from the packaged network's landmarks; "detector" is
dlib's score, 0 where it sees no face. For the resolution, frontal crops are shrunk and enlarged again before the edit.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from truth import agreement, face_mask

from legan.core.conditions import LIGHTINGS
from legan.core.images import from_network, to_network
from legan.editing.loader import load_editor
from legan.faces.detect import find_boxes
from legan.faces.landmarks import locate_in_crop
from legan.faces.suitability import head_pose
from legan_faces3d.render import camera
from legan_faces3d.render.renderer import Renderer, View

FIRST_SEED = 900_000  # people that no model was trained with
YAWS, PITCHES = (0, 8, 16, 24, 32, 40, 48), (-30, -20, -10, 10, 20, 30)
SIDES = (128, 96, 64, 48, 32, 24)
FLASH = "04"
EDITS = {"smile": ("smile", "00"), "surprise": ("surprise", "00"), "light": ("neutral", FLASH)}


def rendered(renderer: list[Renderer], seed: int, yaw: int, pitch: int, expression: str, folder: Path) -> dict[str, np.ndarray]:
    """Images by class of light and landmarks of a head turned by degrees."""
    path = folder / f"{seed}-{yaw}-{pitch}-{expression}.npz"
    if path.exists():
        return dict(np.load(path))
    if not renderer:
        renderer.append(Renderer())
    angles = np.radians([yaw, pitch])
    drawn, camera.draw_pose = camera.draw_pose, lambda *words: camera.turned_pose(*angles, 0.0, words[-1])
    try:
        lightings = [lighting for lighting in LIGHTINGS if lighting.name in ("00", FLASH)]
        result = renderer[0].render(seed, expression, View.TURNED, lightings=lightings)
    finally:
        camera.draw_pose = drawn
    found = {"landmarks": result.landmarks, **dict(zip(result.lightings, result.images, strict=True))}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)
    return found


def errors(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """L1 in grey levels and SSIM of uint8 crops, in the face."""
    distance = np.abs(image.astype(float) - truth)[mask].mean()
    return float(distance), agreement(image, truth, mask)[1]


def edited(editor, crop: np.ndarray, expression: str, lighting: str) -> np.ndarray:
    """The packaged editor's edit of a crop."""
    x = to_network(crop[None])
    codes = editor.networks.target_codes(
        x, None if expression == "neutral" else expression, None if lighting == "00" else lighting
    )
    return from_network(editor.networks.translate(x, codes).image)[0]


def detector_score(crop: np.ndarray) -> float:
    """dlib's score of the face of a crop with a border round it, 0 where it is not found."""
    scene = cv2.copyMakeBorder(cv2.resize(crop, (256, 256)), *[64] * 4, cv2.BORDER_REPLICATE)
    return max((score for _, score in find_boxes(scene)), default=0.0)


def row(name: str, values: list[list[float]]) -> str:
    """One line of a table: means over people."""
    return f"| {name} | " + " | ".join(f"{value:.3g}" for value in np.mean(values, axis=0)) + " |"


def figures(editor, start: dict, takes: dict, given: np.ndarray) -> list[float]:
    """For each edit the L1 and SSIM of the edit, and the share of L1 that it leaves."""
    found = []
    for expression, lighting in EDITS.values():
        truth, points = takes[expression][lighting], takes[expression]["landmarks"]
        mask = face_mask(given.shape[0], start["landmarks"], points)
        distance, similar = errors(edited(editor, given, expression, lighting), truth, mask)
        found += [distance, similar, distance / errors(start["00"], truth, mask)[0]]
    return found


def main() -> None:
    """Read the command line, render, edit, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--renders", type=Path, required=True, help="keeps the renders there")
    words = parser.parse_args()
    editor, renderer = load_editor(), []
    seeds = range(FIRST_SEED, FIRST_SEED + words.people)
    names = " | ".join(f"{name} L1 | SSIM | left" for name in EDITS)
    head = f" | estimate | its error | detector | {names} |\n" + "| --- " * (4 + 3 * len(EDITS)) + "|"
    for what, angles in (("yaw", YAWS), ("pitch", PITCHES)):
        print(f"| {what}{head}")
        for angle in angles:
            values = []
            for seed in seeds:
                side = 1 if what == "pitch" or seed % 2 else -1
                pose = (side * angle, 0) if what == "yaw" else (0, angle)
                takes = {
                    name: rendered(renderer, seed, *pose, name, words.renders) for name in ("neutral", "smile", "surprise")
                }
                start = takes["neutral"]
                seen = getattr(head_pose(locate_in_crop(start["00"])), what) * side
                values.append(
                    [seen, abs(seen - angle), detector_score(start["00"]), *figures(editor, start, takes, start["00"])]
                )
            print(row(str(angle), values), flush=True)
    print(f"| pixels | {names} |\n" + "| --- " * (1 + 3 * len(EDITS)) + "|")
    for side in SIDES:
        values = []
        for seed in seeds:
            takes = {name: rendered(renderer, seed, 0, 0, name, words.renders) for name in ("neutral", "smile", "surprise")}
            crop = takes["neutral"]["00"]
            small = cv2.resize(
                cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), crop.shape[:2], interpolation=cv2.INTER_CUBIC
            )
            values.append(figures(editor, takes["neutral"], takes, small))
        print(row(str(side), values), flush=True)


if __name__ == "__main__":
    main()
