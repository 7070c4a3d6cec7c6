"""Compares re-expressed smiles with true ones: places of landmarks, distance of identity embeddings, and a sheet to look at.

    python experiments/reexpress/true_smiles.py ../shared/london ../shared/london/faces.csv --sheet smiles.png

Each person has a neutral and a smiling photo. Landmarks are found anew on the re-expressed image by the packaged network.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from legan.core.geometry import fit_similarity, transform
from legan.faces.align import align
from legan.faces.detect import detect
from legan.faces.embeddings import DlibEmbedder, load_embedding
from legan_faces3d.head.head import Head
from legan_faces3d.photo.checks import check_fit
from legan_faces3d.photo.fine_fit import check_fine_fit
from legan_faces3d.photos import (
    DroppedPhotoError,
    PhotoEntry,
    PhotoReexpresser,
    cut_window,
    find_face,
    list_photos,
    reasons,
    seed_of,
)

_STILL = slice(27, 48)  # nose and eyes, which align two faces
_MOUTH, _CORNERS = slice(48, 68), [48, 54]
_SHEET_SIDE = 192


def smile_of(maker: PhotoReexpresser, photo: PhotoEntry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photo and its re-expressed smile, uint8 squares, and the photo's landmarks."""
    with reasons():
        pixels, points = find_face(photo)
        fit = maker.fitter.fit(points, photo.expression)
        window, _ = cut_window(pixels, *maker.reexpresser.window(fit))
        check_fit(fit, cut_window(pixels, *maker.relighter.window(fit))[1])
        check_fine_fit(fit, maker.reexpresser.head, maker.reexpresser.places)
        subject = maker.reexpresser.prepare(window, fit, "neutral")
        return pixels, maker.reexpresser.make(subject, "smile", seed_of(photo)).window, points


def mouth_errors(points: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Mean distance of the mouth's landmarks, and of its corners, in pixels of the true photo, after alignment."""
    aligned = transform(fit_similarity(points[_STILL], true[_STILL]), points)
    away = np.linalg.norm(aligned - true, axis=1)
    return float(away[_MOUTH].mean()), float(away[_CORNERS].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every so many people")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    maker, embed = PhotoReexpresser(Head()), DlibEmbedder()
    people: dict[str, dict[str, PhotoEntry]] = {}
    for photo in list_photos(arguments.photos, manifest=arguments.manifest):
        people.setdefault(photo.identity, {})[photo.expression] = photo

    errors, crops, rows = [], [], []
    for name, photos in list(people.items())[:: arguments.every]:
        try:
            neutral, made, points = smile_of(maker, photos["neutral"])
            true, true_points = find_face(photos["smile"])
        except DroppedPhotoError as dropped:
            print(name, dropped)
            continue
        found = detect(Image.fromarray(made))
        if not found:
            print(name, "no face in the re-expressed image")
            continue
        errors.append([*mouth_errors(points, true_points), *mouth_errors(found[0].landmarks, true_points)])
        three = ((neutral, points), (made, found[0].landmarks), (true, true_points))
        crops.append([np.asarray(align(Image.fromarray(image), marks).image) for image, marks in three])
        rows.append(np.concatenate([np.asarray(align(Image.fromarray(i), m, _SHEET_SIDE).image) for i, m in three], axis=1))
    report(np.array(errors), embed(np.concatenate(crops)).reshape(len(crops), 3, -1))
    own = load_embedding("packaged")
    report_scores(own.name, own.embed([Image.fromarray(crop) for crop in np.concatenate(crops)]).reshape(len(crops), 3, -1))
    if arguments.sheet:
        pairs = [np.concatenate(rows[k : k + 3], axis=1) for k in range(0, len(rows) - 2, 3)]
        Image.fromarray(np.concatenate(pairs)).save(arguments.sheet)


def report(errors: np.ndarray, embedded: np.ndarray) -> None:
    """Print both tables; `embedded` (n, 3, d): neutral, re-expressed, true smile."""
    print(f"n = {len(errors)}; mouth, pixels: mean, median over people")
    for what, column in (("mouth, neutral to true smile", 0), ("mouth, re-expressed to true smile", 2)):
        print(f"  {what}: {errors[:, column].mean():.2f}, {np.median(errors[:, column]):.2f}")
    for what, column in (("corners, neutral to true smile", 1), ("corners, re-expressed to true smile", 3)):
        print(f"  {what}: {errors[:, column].mean():.2f}, {np.median(errors[:, column]):.2f}")
    print(f"  nearer than the neutral for {100 * (errors[:, 2] < errors[:, 0]).mean():.0f}% of the people")
    neutral, made, true = embedded.transpose(1, 0, 2)
    others = np.linalg.norm(made[:, None] - true[None], axis=2)[~np.eye(len(made), dtype=bool)]
    print("dlib distance (0.6: another person): mean, 95th percentile")
    for what, distance in (
        ("neutral to true smile", np.linalg.norm(neutral - true, axis=1)),
        ("re-expressed to true smile", np.linalg.norm(made - true, axis=1)),
        ("re-expressed to neutral", np.linalg.norm(made - neutral, axis=1)),
        ("re-expressed to others' true smile", others),
    ):
        print(
            f"  {what}: {distance.mean():.3f}, {np.percentile(distance, 95):.3f}; under 0.6: {100 * (distance < 0.6).mean():.1f}%"
        )


def report_scores(name: str, embedded: np.ndarray) -> None:
    """Print match scores, cosines, of an embedding; `embedded` (n, 3, d) unit vectors: neutral, re-expressed, true smile."""
    neutral, made, true = embedded.transpose(1, 0, 2)
    scores = made @ true.T
    others = scores[~np.eye(len(made), dtype=bool)]
    print(f"match score, {name} identity network: mean, 5th percentile (others: 95th)")
    print(f"  neutral to true smile: {(neutral * true).sum(1).mean():.3f}, {np.percentile((neutral * true).sum(1), 5):.3f}")
    print(f"  re-expressed to true smile: {scores.diagonal().mean():.3f}, {np.percentile(scores.diagonal(), 5):.3f}")
    print(f"  re-expressed to neutral: {(made * neutral).sum(1).mean():.3f}, {np.percentile((made * neutral).sum(1), 5):.3f}")
    print(f"  re-expressed to others' true smile: {others.mean():.3f}, {np.percentile(others, 95):.3f}")


if __name__ == "__main__":
    main()
