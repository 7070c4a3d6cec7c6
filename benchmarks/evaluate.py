"""Speed of evaluation: images a second through the evaluators, and the distances of distributions.

    python benchmarks/evaluate.py [--threads 2] [--seconds 3] [--n 2000]

The evaluators stand beside a bare convolution, the distances beside a matrix product of as many rows, measured in the same run, so that
machines, and a machine with other work on it, can be compared. Images are noise and features random: they do not change the speed.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from legan.evaluation.evaluators import Evaluators
from legan.metrics.distributions import DISTANCES
from legan.metrics.intervals import distance_interval
from legan.requests import EvaluationNetworks

N_FEATURES, BATCH = 296, 16  # of the packaged LightCNN's layers


def seconds_of(work: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Seconds of the clock and of the processor that one call takes, after one to warm up."""
    work()
    n, start, processor = 0, time.perf_counter(), time.process_time()
    while not n or time.perf_counter() - start < seconds:
        work()
        n += 1
    return (time.perf_counter() - start) / n, (time.process_time() - processor) / n


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--n", type=int, default=2000, help="images in each of the two sets of a distance")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    random = np.random.default_rng(0)

    evaluators, layer = Evaluators(EvaluationNetworks()), torch.nn.Conv2d(16, 80, 3, padding=1)
    images = random.integers(0, 256, (BATCH, 128, 128, 3), np.uint8)
    x = torch.randn(BATCH, 16, 64, 64)
    with torch.inference_mode():
        bare = seconds_of(lambda: layer(x), words.seconds / 3)
        taken = seconds_of(lambda: evaluators.measure(images, images, np.ones(BATCH, bool)), words.seconds)
    print(
        f"evaluators: {BATCH / taken[0]:,.0f} images a second, {BATCH / taken[1]:,.0f} a processor second; "
        f"{taken[1] / bare[1]:.0f} times a bare convolution of the batch; {words.threads} threads"
    )

    real, fake = (random.normal(size=(words.n, N_FEATURES)) for _ in range(2))
    product = seconds_of(lambda: real @ fake.T, words.seconds / 3)
    people = np.arange(words.n) // 4
    for name, distance in DISTANCES.items():
        once = seconds_of(lambda distance=distance: distance(real, fake), words.seconds / 3)
        start = time.process_time()
        distance_interval(distance, real, fake, people, people, n_resamples=10)
        print(
            f"{name}: {once[1]:.3f} processor seconds of {words.n} against {words.n} images, {once[1] / product[1]:.0f} times their "
            f"product; an interval of 100 half samples {10 * (time.process_time() - start):.0f}"
        )


if __name__ == "__main__":
    main()
