"""Renders the set that the landmark network is trained on.

    python experiments/landmarks/render.py data/wide

As `legan render --view wide --identities 100 --seed 1`, with one sample a pixel instead of four: training makes the images
smaller and softer anyway, and this takes a quarter of the time.
"""

import argparse
import sys
from pathlib import Path

from legan_faces3d.render.dataset import render_set
from legan_faces3d.render.renderer import View

N_IDENTITIES, SEED = 100, 1


def _print_progress(n_done: int, n_all: int) -> None:
    print(f"{n_done} of {n_all} people", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the data set folder to write")
    print(render_set(parser.parse_args().out, N_IDENTITIES, 2, SEED, View.WIDE, _print_progress, samples_per_axis=1))
