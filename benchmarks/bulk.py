"""Speed of workers on Ray beside local processes, and the memory of the process that drives them.

    python benchmarks/bulk.py speed [--n 400] [--side 768] [--verbs score edit]
    python benchmarks/bulk.py memory [--rows 1000 100000] [--input manifest]

`speed` scores and edits photos (as `benchmarks/stages.py` makes them) with two local processes, one Ray actor and two, on a cluster of one
node on this machine; photos a second are counted from the first job done to the last, so without the start of the workers, which
stands beside. The load of the machine is printed before each: a core that does other work makes two workers look slow.

`memory` scores rows that a stub answers at once, since only the driver is looked at: the peak of its resident memory, in a process of
its own for each number of rows. The rows are those of a Parquet manifest, or empty files in a folder.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), LEGAN_PRECISION="fp32")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers give way to all else by default; local processes do not

import pandas as pd

from legan.core.cluster import run_on_ray
from legan.core.workers import RunJobs
from legan.editing import folders
from legan.quality import scorer
from legan.quality.scorer import ScoreResult, score_in_parts
from legan.requests import EditRequest

JOB = 16  # photos of a job, so that all workers have several


def speed(n: int, side: int, verbs: Sequence[str]) -> None:
    """Print photos a second."""
    import ray
    from benchmarks.stages import photos

    ray.init("local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as place, mock.patch.object(scorer, "PART_SIZE", JOB):
        folder = Path(place) / "photos"
        folder.mkdir()
        photos(folder, side, n)
        print(
            f"n={n} photos of {side} pixels\n| verb | workers | load before | start, s | photos/s |\n| --- | --- | --- | --- | --- |"
        )
        for verb in verbs:
            for name, n_workers, run in (("2 local", 2, None), ("1 Ray", 1, run_on_ray), ("2 Ray", 2, run_on_ray)):
                out, load = Path(place) / f"{verb} {name}", os.getloadavg()[0]
                start, rate = _rate(partial(_work, verb, folder, out, n_workers, run))
                print(f"| {verb} | {name} | {load:.1f} | {start:.1f} | {rate:.2f} |", flush=True)


def _work(verb: str, folder: Path, out: Path, n_workers: int, run: RunJobs | None, done: Callable[[int], None]) -> None:
    if verb == "score":
        score_in_parts([folder], out, n_workers=n_workers, run=run, progress=lambda n_done, n: done(n_done))
        return
    with mock.patch.object(folders, "shown_progress", partial(_Counted, done)):
        folders.edit_photos([folder], out, EditRequest(expression="smile", lightings=("left",)), n_workers=n_workers, run=run)


class _Counted:
    """In place of a progress bar."""

    def __init__(self, done: Callable[[int], None], *_: Any, **__: Any) -> None:
        self._done, self._n = done, 0

    def __enter__(self) -> Callable[[], None]:
        return self._advance

    def __exit__(self, *_: object) -> None:
        pass

    def _advance(self) -> None:
        self._n += 1
        self._done(self._n)


def _rate(work: Callable[[Callable[[int], None]], None]) -> tuple[float, float]:
    """Seconds to the first photo done, and photos a second from then on."""
    begun, times = time.perf_counter(), []
    work(lambda n_done: times.append((n_done, time.perf_counter())))
    (first, start), (last, end) = times[0], times[-1]
    return start - begun, (last - first) / (end - start)


def memory(rows: Sequence[int], kind: str) -> None:
    """Print the driver's peak memory."""
    print(f"| rows ({kind}) | peak, MB | seconds |\n| --- | --- | --- |")
    for n in rows:
        subprocess.run([sys.executable, __file__, "driver", "--rows", str(n), "--input", kind], check=True)


def stub(job: tuple[int, tuple[Sequence[Any], str]]) -> tuple[int, list[ScoreResult]]:
    """In place of the scoring of a part."""
    number, (images, _) = job
    return number, [ScoreResult(str(image), 5.0, 1.0) for image in images]


def nothing(load: Any) -> None:
    """In place of the start of a worker."""


def driver(n: int, kind: str) -> None:
    """Score rows by the stub, and print the peak of this process."""
    import ray

    with tempfile.TemporaryDirectory() as place:
        given = Path(place) / "images"
        given.mkdir()
        names = [f"{i // 1000:04d}/a name of usual length {i:09d}.jpg" for i in range(n)]
        if kind == "manifest":
            given = given / "manifest.parquet"
            pd.DataFrame({"path": names}).to_parquet(given)
        else:
            for name in names:
                (given / name).parent.mkdir(exist_ok=True)
                (given / name).touch()
        del names
        ray.init("local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
        start = time.perf_counter()
        with mock.patch.multiple(scorer, _score_job=stub, keep=nothing):
            result = score_in_parts([given], Path(place) / "out", n_workers=2, run=run_on_ray)
        assert result.n_scored == n, result
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {n} | {peak:.0f} | {time.perf_counter() - start:.0f} |", flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=("speed", "memory", "driver"))
    words.add_argument("--n", type=int, default=400)
    words.add_argument("--side", type=int, default=768)
    words.add_argument("--verbs", nargs="+", default=["score", "edit"], choices=("score", "edit"))
    words.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000])
    words.add_argument("--input", choices=("manifest", "folder"), default="manifest")
    given = words.parse_args()
    if given.what == "speed":
        speed(given.n, given.side, given.verbs)
    elif given.what == "memory":
        memory(given.rows, given.input)
    else:
        driver(given.rows[0], given.input)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
