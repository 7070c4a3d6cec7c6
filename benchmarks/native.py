"""Time and memory of one edit of a large photo, at its own pixels and with the edited crop pasted back.

    python benchmarks/native.py [--megapixels 12 50] [--crop 0.5] [--repeats 3] [--processor]

Each way and size runs in a process of its own, whose peak of resident memory is told; the model is loaded before the clock starts. The
photo is a packaged face on a plain wall with grain, its crop `--crop` times as wide as the photo is high. The edit is a surprise with
light from the left: it moves pixels, so every part of the rendering works. With `--processor` seconds of one processor are counted (set
OMP_NUM_THREADS=1), which other work on the machine lengthens little.
"""

import argparse
import multiprocessing
import resource
import time

import cv2
import numpy as np
import torch
from PIL import Image

from legan.core.images import from_network, photo_of, to_network
from legan.core.weights import asset
from legan.editing.editor import Editor, Subject
from legan.editing.loader import load_editor
from legan.faces.paste import paste

EDIT = ("surprise", -45.0)


def large_photo(megapixels: float, crop: float) -> Image.Image:
    """A photo of 4:3 with one face in its middle."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width, side = round(height * 4 / 3), round(height * crop)
    grain = np.random.default_rng(0).normal(0, 3, (256, 256, 3))
    tiles = (-(-height // 256), -(-width // 256), 1)
    pixels = np.tile(np.clip(np.array([180, 185, 190]) + grain, 0, 255).astype(np.uint8), tiles)[:height, :width].copy()
    face = np.asarray(Image.open(sorted(asset("faces").glob("*.png"))[0]).convert("RGB"))
    left, top = (width - side) // 2, (height - side) // 2
    pixels[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(pixels)


def native(editor: Editor, subject: Subject) -> None:
    """The edit as it is made today."""
    next(editor.edit_subjects([subject], *EDIT))


def pasted(editor: Editor, subject: Subject) -> None:
    """The edit with the crop enlarged, as it was made before."""
    crop = subject.crops[0]
    x = to_network([crop.image])
    output = editor.networks.translate(x, editor.networks.target_codes(x, *EDIT))
    paste(subject.photo.image, crop, from_network(output.image)[0])


def measure(way: str, megapixels: float, crop: float, repeats: int, processor: bool) -> tuple[float, float, float]:
    """Seconds of the whole edit and of all after the face is found, best of `repeats`, and the process's peak in GB."""
    editor, photo = load_editor(), photo_of(large_photo(megapixels, crop))
    act = {"native": native, "pasted": pasted}[way]
    clock = time.perf_counter
    if processor:
        clock = time.process_time
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
    whole, later = [], []
    for _ in range(repeats):
        start = clock()
        subject = editor.prepare(photo)
        found = clock()
        act(editor, subject)
        whole.append(clock() - start)
        later.append(clock() - found)
    return min(whole), min(later), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 50])
    parser.add_argument("--crop", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor", action="store_true")
    words = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for megapixels in words.megapixels:
        results = {}
        for way in ("pasted", "native"):
            with context.Pool(1) as pool:
                results[way] = pool.apply(measure, (way, megapixels, words.crop, words.repeats, words.processor))
        for way, (whole, later, memory) in results.items():
            print(
                f"{megapixels:g} megapixels, {way}: {whole:.2f} s, of them {later:.2f} s after the face is found; peak {memory:.2f} GB"
            )
        ratios = [results["native"][i] / results["pasted"][i] for i in range(3)]
        print(
            f"  native / pasted: {ratios[0]:.2f} in time ({ratios[1]:.2f} after the face is found), {ratios[2]:.2f} in memory"
        )


if __name__ == "__main__":
    main()
