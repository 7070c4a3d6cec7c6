"""Processor time of one photo with all twenty lightings, from file to PNG-ready crops, on one core.

python experiments/relight/speed.py ../shared/london
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from legan_faces3d.head.head import Head
from legan_faces3d.photos import PhotoRelighter, list_photos


def main() -> None:
    """Print the seconds: median and largest of eight photos, after one to warm up."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of the London set, with its faces.csv")
    folder = parser.parse_args().photos
    photos = list_photos(folder, manifest=folder / "faces.csv")[::20]
    relighter, seconds = PhotoRelighter(Head()), []
    for photo in photos:
        start = time.process_time()
        relighter.make(photo)
        seconds.append(time.process_time() - start)
    print(f"{len(seconds) - 1} photos: median {np.median(seconds[1:]):.2f} s, largest {max(seconds[1:]):.2f} s")


if __name__ == "__main__":
    main()
