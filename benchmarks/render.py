"""Speed of the renderer: images a second, and seconds by stage.

python benchmarks/render.py --identities 6 --workers 2 --view crop
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from legan.core.conditions import EXPRESSIONS
from legan.data.manifest import read_manifest
from legan_faces3d.render.dataset import render_set
from legan_faces3d.render.renderer import Renderer, View


def seconds_by_stage(view: View, n_identities: int) -> None:
    """Renders in this process and prints the mean of each stage over images of 20 (or fewer) lights."""
    renderer = Renderer()
    total: dict[str, float] = {}
    n_images = 0
    start = time.perf_counter()
    for seed in range(n_identities):
        for expression in EXPRESSIONS:
            n_images += len(renderer.render(seed, expression, view).images)
            for stage, seconds in renderer.seconds.items():
                total[stage] = total.get(stage, 0.0) + seconds
    elapsed = time.perf_counter() - start
    print(f"one process: {n_images} images, {elapsed / n_images:.4f} s an image")
    for stage, seconds in total.items():
        print(f"  {stage:12s} {seconds / (n_identities * len(EXPRESSIONS)):.3f} s an expression")


def set_speed(view: View, n_identities: int, n_workers: int) -> None:
    """Renders a set with worker processes, and tells their start-up (until each has its first identity) from the rest."""
    finished: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        render_set(
            Path(folder) / "set",
            n_identities,
            n_workers,
            view=view,
            progress=lambda n_done, total: finished.append(time.perf_counter() - start),
        )
        n_images = len(read_manifest(Path(folder) / "set")) // n_identities
    print(f"{n_workers} workers: {n_identities * n_images} images in {finished[-1]:.1f} s with start-up")
    if n_identities > n_workers:
        steady = (finished[-1] - finished[n_workers]) / ((n_identities - n_workers) * n_images)
        print(f"  after start-up {steady:.4f} s an image, {1 / steady:.1f} images a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identities", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--view", type=View, choices=list(View), default=View.CROP)
    arguments = parser.parse_args()
    seconds_by_stage(arguments.view, n_identities=1)
    set_speed(arguments.view, arguments.identities, arguments.workers)


if __name__ == "__main__":
    main()
