"""Where the landmark network puts its points on photos, against the head's own places: the table `PHOTO_OFFSETS`.

    python experiments/relight/landmark_places.py ../shared/london

People who mark photos put brows, bridge of the nose and lips elsewhere than `legan_faces3d/head/landmarks.py` has them on the head, and the
network follows them. Heads are fitted to the photos of the training people, the mean of what remains is added to the head's
places, and so on; a photo set that looks straight at the camera keeps the heads from nodding.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import legan_faces3d.photo.fit as fitting
from legan.faces.detect import detect
from legan.faces.landmarks import MIRRORED
from legan_faces3d.head.head import Head
from legan_faces3d.photo.fit import HeadFitter
from legan_faces3d.photos import list_photos

N_ROUNDS = 6
DOUBTFUL = np.r_[17:31, 49:54, 55:60]  # trusted less in the first rounds


def main() -> None:
    """Print the table in millimetres, one half of the face, and how the fit error falls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--every", type=int, default=2)
    options = parser.parse_args()
    entries = [e for e in list_photos(options.photos, manifest=options.photos / "faces.csv") if e.split == "train"][
        :: options.every
    ]
    found = [detect(Image.open(entry.path))[0].landmarks for entry in entries]
    fitter = HeadFitter(Head())
    usual_sigma = fitting._SIGMA.copy()
    fitting._TURN_SPREAD[1] = np.radians(2.0)
    offsets = np.zeros((68, 3))
    for round_ in range(N_ROUNDS):
        fitting._SIGMA[:] = usual_sigma
        if round_ < 2:
            fitting._SIGMA[DOUBTFUL] *= 3
        fitter.photo_offsets = offsets
        fits = [fitter.fit(points, entry.expression) for points, entry in zip(found, entries, strict=True)]
        print(f"round {round_}: {len(fits)} photos, rms {np.median([fit.rms for fit in fits]):.2f} mm,", end=" ", flush=True)
        print(f"pitch {np.mean([fit.pitch for fit in fits]):.1f} degrees")
        step = np.median([fit.moves @ fit.pose.rotation for fit in fits], axis=0) * [1, 0, 1]
        step = (step + step[MIRRORED] * [-1, 1, 1]) / 2
        offsets = offsets + step
    for number in (*range(8, 17), *range(22, 31), *range(33, 36), *range(42, 48), *range(51, 58), *range(62, 67)):
        print(f"    {number}: ({1000 * offsets[number, 0]:.1f}, {1000 * offsets[number, 2]:.1f}),")


if __name__ == "__main__":
    main()
