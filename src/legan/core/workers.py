"""Worker processes, one numeric thread each, and the progress bar of what they do."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from legan.core.errors import ConfigError, LeganError

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
T = TypeVar("T")
_N_AHEAD = 2  # jobs given to a process: the one it is at, and the next


class RunJobs(Protocol):
    """A driver of workers: `run_jobs` (processes of this machine) or `legan.core.cluster.run_on_ray` (actors of a Ray cluster)."""

    def __call__(
        self,
        function: Callable[[Any], Any],
        jobs: Iterable[Any],
        n_workers: int,
        start: Callable[..., None],
        arguments: tuple[Any, ...] = (),
        *,
        apart: bool = False,
    ) -> Iterator[Any]:
        """Yield what `function(job)` gives as each job is done, in any order; arguments as for `run_jobs`."""


def run_jobs(
    function: Callable[[Job], Any],
    jobs: Iterable[Job],
    n_workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...] = (),
    *,
    apart: bool = False,
) -> Iterator[Any]:
    """Yield what `function(job)` gives as each job is done, in any order.

    Args:
        function, start: functions of a module, so that other processes find them.
        jobs: what to do; drawn as processes become free, a few ahead, so that an endless stream needs no memory.
        n_workers: processes; 1 works in this one.
        start: called once in each process before its first job, with `arguments`.
        apart: let a single worker be a process of its own too, so that the number of workers changes no rounding.

    Raises:
        LeganError: a process was killed. Errors of the function come through as they are.
    """
    remaining = iter(jobs)
    first = list(islice(remaining, n_workers))
    n_workers, remaining = len(first), chain(first, remaining)
    if n_workers < 1 or (n_workers == 1 and not apart):
        if first:
            start(*arguments)
        yield from map(function, remaining)
        return
    context = multiprocessing.get_context("spawn")
    with one_thread_each():
        pool = ProcessPoolExecutor(n_workers, context, initializer=_start, initargs=(start, arguments))
        try:
            waiting: set[Future[Any]] = {pool.submit(function, job) for job in islice(remaining, _N_AHEAD * n_workers)}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(function, job) for job in islice(remaining, len(done))}
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
    become_worker()
    start(*arguments)


def check_workers(n_workers: int) -> None:
    """Check a number of workers.

    Raises:
        ConfigError: fewer than one.
    """
    if n_workers < 1:
        raise ConfigError(f"--workers must be at least 1, not {n_workers}")


def in_order(numbered: Iterable[tuple[int, T]]) -> Iterator[T]:
    """Yield results of jobs numbered from 0 in the order of the numbers, those that come early held back."""
    early: dict[int, T] = {}
    n_given = 0
    for number, result in numbered:
        early[number] = result
        while n_given in early:
            yield early.pop(n_given)
            n_given += 1


# What a worker loads before its first job and keeps.


_loader: Callable[[], Any] | None = None
_loaded: list[Any] = []


def keep(load: Callable[[], Any]) -> None:
    """For `start` of `run_jobs`: say what `kept` is to give.

    Not loaded when the process starts, so that an error of the loader reaches the caller as it is. A worker computes in one
    thread, since others share the cores.
    """
    global _loader
    if is_worker():
        use_one_thread()
    _loader = load
    _loaded.clear()


def kept() -> Any:
    """Return what this process keeps, loaded on the first call."""
    assert _loader is not None, "started by `keep`"
    if not _loaded:
        _loaded.append(_loader())
    return _loaded[0]


# What a worker knows of itself.


_is_worker = False
_before_item: Callable[[int], str] | None = None


def become_worker(before_item: Callable[[int], str] | None = None) -> None:
    """Say that this process is a worker, one of several; `before_item` is what `begin_item` calls."""
    global _is_worker, _before_item
    _is_worker, _before_item = True, before_item


def is_worker() -> bool:
    """Whether this process is a worker, which computes in one thread, since others share the cores."""
    return _is_worker


def begin_item(index: int) -> str:
    """Say which item of its job (an image, by its number in the job) a worker begins.

    A driver that sees a worker die, or take too long, knows by this which image it was at, and leaves it out next time.

    Returns:
        why the item must be left out; "" where it need not.
    """
    return _before_item(index) if _before_item is not None else ""


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
