"""A data set of broad smiles that show teeth, each with its face at rest: what teaches an editor to close a toothy smile.

    python experiments/default-editor/broad.py ../shared/london --manifest ../shared/london/faces.csv --source "London, broad smiles" \
        --licence CC-BY-4.0 --out data/broad [--workers 1]

`legan reexpress` smiles as the rendered set does, modestly. Here every photo at rest gets a smile that is wider, opens the lips and
shows the teeth, and stands beside its own relit crops: the source is made, the truth at rest is the photo. Needs the extra `render`.
The source has a name of its own, so that these takes do not join those of `legan reexpress`. Run again to continue.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.weights import packaged
from legan_faces3d.head.head import Head
from legan_faces3d.photo.reexpress import Subject
from legan_faces3d.photos import (
    DroppedPhotoError,
    PhotoCrop,
    PhotoEntry,
    PhotoMaker,
    PhotoReexpresser,
    PhotoRelighter,
    build_photo_set,
    list_photos,
)

# Facial actions on top of a drawn smile: (lowest, highest), both sides alike.
BROAD = {
    "mouthSmile": (1.0, 1.25),
    "mouthUpperUp": (0.6, 1.0),
    "mouthLowerDown": (0.2, 0.6),
    "mouthStretch": (0.1, 0.4),
    "cheekSquint": (0.7, 1.1),
    "jawOpen": (0.1, 0.3),
}


def broad_actions(actions: dict[str, float], seed: int) -> dict[str, float]:
    """Return the actions of a smile with those of a broad one in their place, drawn by `seed`."""
    random, broad = np.random.default_rng([seed, 7]), dict(actions)
    for name, (low, high) in BROAD.items():
        value = float(random.uniform(low, high))
        for key in (name,) if name == "jawOpen" else (f"{name}Left", f"{name}Right"):
            broad[key] = max(value, broad.get(key, 0.0))
    return broad


class BroadReexpresser(PhotoReexpresser):
    """Smiles broadly."""

    def actions(self, subject: Subject, target: str, seed: int) -> dict[str, float]:
        """The drawn actions, broadened."""
        return broad_actions(super().actions(subject, target, seed), seed)


class BroadSmiles:
    """From photos at rest to their relit crops, and those of a broad smile and of surprise."""

    def __init__(self, head: Head) -> None:
        self.relighter, self.reexpresser = PhotoRelighter(head), BroadReexpresser(head)

    def make(self, photo: PhotoEntry) -> dict[str, PhotoCrop]:
        """Crops by names such as `neutral_07` and `smile_even`.

        Raises:
            DroppedPhotoError: with the reason.
        """
        if photo.expression != "neutral":
            raise DroppedPhotoError("not at rest", "only faces at rest get a broad smile")
        rest = self.relighter.make(photo)
        made = self.reexpresser.make(photo, ("smile", "surprise"))
        return {
            f"neutral_{name}": replace(crop, alignment=next(iter(made.values())).alignment) for name, crop in rest.items()
        } | made


def build() -> PhotoMaker:
    """A worker's maker."""
    import torch

    torch.set_num_threads(1)
    return BroadSmiles(Head()).make


def main() -> None:
    """Read the arguments, make the set, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    entries = list_photos(options.photos, None, options.manifest, options.source, options.licence)
    entries = [entry for entry in entries if entry.expression == "neutral"]
    settings = {"made by": "broad smiles", "version": 1, "size": CROP_SIZE, "landmarks": sha256_of(packaged("landmarks"))}
    report = build_photo_set(options.out, entries, settings, build, options.workers)
    print("\n".join(report.lines()))


if __name__ == "__main__":
    main()
