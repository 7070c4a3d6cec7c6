"""Work shared out to processes of one thread each."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from legan.core.errors import LeganError
from legan.core.processes import end_with_parent, one_thread_each

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
