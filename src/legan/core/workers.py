"""Worker processes, one numeric thread each, and the progress bar of what they do."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from legan.core.errors import LeganError

# Worker processes: one numeric thread each, and none that outlives the process that started it.


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within this, started processes compute in one thread: libraries read these variables when a worker imports them.

    More threads would cost time where processes share the cores, and change the rounding.
    """
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def use_one_thread() -> None:
    """Let OpenCV and PyTorch compute in one thread in this process, for the reasons of `one_thread_each`."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Called in a worker: end it when the process that started it ends in any way, even killed.

    A pool's workers would wait for work for ever, since each holds the other end of its own queue.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


# Work shared out to processes of one thread each.


Job = TypeVar("Job")


def run_jobs(
    function: Callable[[Job], Any],
    jobs: Sequence[Job],
    n_workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...] = (),
    *,
    apart: bool = False,
) -> Iterator[Any]:
    """Yield what `function(job)` gives as each job is done, in any order.

    Args:
        function, start: functions of a module, so that other processes find them.
        jobs: what to do.
        n_workers: processes; 1 works in this one.
        start: called once in each process before its first job, with `arguments`.
        apart: let a single worker be a process of its own too, so that the number of workers changes no rounding.

    Raises:
        LeganError: a process was killed. Errors of the function come through as they are.
    """
    n_workers = min(n_workers, len(jobs))
    if n_workers < 1 or (n_workers == 1 and not apart):
        if jobs:
            start(*arguments)
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with one_thread_each():
        pool = ProcessPoolExecutor(n_workers, context, initializer=_start, initargs=(start, arguments))
        try:
            waiting: set[Future[Any]] = {pool.submit(function, job) for job in jobs}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise LeganError(
                "a process was killed, perhaps for want of memory: run the same command again to continue, with fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    end_with_parent()
    start(*arguments)


# Progress bars on stderr, where a person is watching.


Progress = Callable[[int, int], None]  # called with the number done and the number in all


@contextmanager
def shown_progress(what: str, n: int, hidden: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar of `n` things while the block runs; call what it gives once for each thing done."""
    with _bar(hidden) as progress:
        task = progress.add_task(what, total=n)
        yield lambda: progress.advance(task)


@contextmanager
def counted_progress(what: str) -> Iterator[Progress]:
    """Show a bar while the block runs; call what it gives with the number done and the number in all."""
    with _bar(hidden=False) as progress:
        task = progress.add_task(what, total=None)
        yield lambda n_done, n: progress.update(task, completed=n_done, total=n)


def _bar(hidden: bool) -> ProgressBar:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return ProgressBar(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
