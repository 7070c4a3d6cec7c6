"""Workers on a Ray cluster: the driver `run_on_ray`, which takes the place of `legan.core.workers.run_jobs`. The only user of Ray.

Plain actors, one a worker, each with one job at a time. A job is drawn when an actor is free and its result is handed on before the
next one is fetched, so the driver holds a few jobs and results however many there are. Nothing is kept on the cluster: what is done
is what the verbs have written, whole files under names that follow from their jobs, so a driver that is killed resumes as it does
with local processes.

A worker that dies, or takes longer than `timeout_s` for a job, is replaced, and its job is tried again, now one item at a time under
the driver's eyes (`begin_item`). An item at which a worker fails twice in that way is left out: the verb's function is given the
reason and names it where it names what was left out. Nodes that die are nobody's fault and count for no item.
"""

import logging
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from legan import __version__
from legan.core.errors import LeganError
from legan.core.workers import become_worker

_LOG = logging.getLogger(__name__)
TIMEOUT_S = 1800.0  # of a job: some hundred images, or all photos of one person
_N_TRIES = 2  # at which an item, or a job that does not say its items, is given up
_N_FRUITLESS = 5  # failures of a job beside those that named an item
_PATIENCE_S = 60.0  # until it is said that no worker can start
_N_DEAD_STARTS = 4  # workers in a row that die before their first job


def run_on_ray(
    function: Callable[[Any], Any],
    jobs: Iterable[Any],
    n_workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...] = (),
    *,
    apart: bool = True,
    address: str = "auto",
    gpus: float = 0.0,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Any]:
    """Yield what `function(job)` gives as each job is done, in any order; as `run_jobs`, on actors of one CPU each.

    Args:
        function, jobs, n_workers, start, arguments: as for `run_jobs`. All nodes see the files that they name, under the same
            names, and have this version of legan.
        apart: actors always are processes of their own.
        address: "auto" for the cluster that this machine belongs to, "local" for one that ends with this process, or
            `ray://HOST:10001` from elsewhere. Where this process is connected already, that connection is used.
        gpus: share of a GPU that each worker asks for.
        timeout_s: seconds that a job may take before it is tried again.

    Raises:
        LeganError: Ray is not installed, no cluster, workers that cannot start, or a job that failed twice and does not say at
            which item. Errors of the function come through as they are.
    """
    with _connected(address) as ray:
        fleet = _Fleet(ray, function, start, arguments, gpus, timeout_s)
        try:
            yield from fleet.run(jobs, n_workers)
        finally:
            fleet.close()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ModuleNotFoundError:
        raise LeganError('the engine ray needs Ray: run `pip install "legan[bulk]"`') from None
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise LeganError(
            f"no Ray cluster at '{address}' ({_first_line(error)}): start one with `ray start --head`, or give --address local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


class _Worker:
    """Runs in an actor."""

    def __init__(self, shared: tuple[str, str, Any, Any, tuple[Any, ...]]) -> None:
        self._shared, self._function = shared, shared[2]

    def begin(self) -> None:
        """Go to the driver's folder, so that relative names mean the same files, and load what the jobs need."""
        folder, version, _, start, arguments = self._shared
        if version != __version__:
            raise LeganError(f"a node has legan {__version__} and the driver {version}: install one version on all")
        if not Path(folder).is_dir():
            raise LeganError(f"a node does not see the folder {folder}: work in one that all nodes share")
        os.chdir(folder)
        become_worker()
        start(*arguments)

    def work(self, job: Any, left_out: dict[int, str], marks: Any, key: int) -> Any:
        """Do a job. With `marks`, an actor, it is told under `key` of each item before it is begun."""
        become_worker(None if marks is None else lambda index: _marked(index, left_out, marks, key))
        return self._function(job)


def _marked(index: int, left_out: dict[int, str], marks: Any, key: int) -> str:
    import ray

    if index not in left_out:
        ray.get(marks.put.remote(key, index))
    return left_out.get(index, "")


class _Marks:
    """Runs in an actor on the driver's node: at which item of a job a worker is."""

    def __init__(self) -> None:
        self._items: dict[int, int] = {}

    def put(self, key: int, index: int) -> None:
        """Note the item that a worker begins."""
        self._items[key] = index

    def pop(self, key: int) -> int | None:
        """The last item begun; None where none was."""
        return self._items.pop(key, None)


@dataclass
class _Task:
    """A job and what became of it so far."""

    job: Any
    n_failures: int = 0
    failures: Counter[int] = field(default_factory=Counter)  # by item
    left_out: dict[int, str] = field(default_factory=dict)
    is_watched: bool = False  # since its first failure
    actor: Any = None
    since: float = 0.0


class _Fleet:
    """The actors of a run: starting, idle, or busy."""

    def __init__(self, ray: Any, function: Any, start: Any, arguments: tuple[Any, ...], gpus: float, timeout_s: float) -> None:
        self._ray, self._timeout_s = ray, timeout_s
        self._build = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Worker).remote
        self._shared = ray.put((str(Path.cwd()), __version__, function, start, arguments))  # sent to each node once
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, _Task] = {}
        self._again: deque[_Task] = deque()
        self._n_dead_starts = 0
        self._marks: Any = None  # started when first needed
        self._stuck_since: float | None = None  # no worker has a job, or can have one

    def run(self, jobs: Iterable[Any], n_workers: int) -> Iterator[Any]:
        """Yield results."""
        remaining = iter(jobs)
        for job in islice(remaining, n_workers):
            self._again.append(_Task(job))
            self._add_actor()
        while True:
            while self._idle and (task := self._next(remaining)) is not None:
                self._give(task, self._idle.pop())
            if not (self._busy or self._again):
                return
            self._say_if_stuck()
            done, _ = self._ray.wait([*self._starting, *self._busy], timeout=1.0)
            for reference in done:
                yield from self._started(reference) if reference in self._starting else self._finished(reference)
            self._end_stragglers()

    def _say_if_stuck(self) -> None:
        if self._busy or self._stuck_since is None:
            self._stuck_since = time.monotonic()
        elif time.monotonic() - self._stuck_since > _PATIENCE_S:
            _LOG.warning(
                "no worker has started for %g s: the cluster has no free CPU (or GPU) for one; still waiting", _PATIENCE_S
            )
            self._stuck_since = math.inf

    def close(self) -> None:
        """End all actors."""
        for actor in (*self._starting.values(), *self._idle, *(task.actor for task in self._busy.values())):
            self._ray.kill(actor)

    def _next(self, remaining: Iterator[Any]) -> _Task | None:
        if self._again:
            return self._again.popleft()
        return next((_Task(job) for job in remaining), None)

    def _give(self, task: _Task, actor: Any) -> None:
        marks = self._marks if task.is_watched else None
        task.actor, task.since = actor, time.monotonic()
        self._busy[actor.work.remote(task.job, task.left_out, marks, id(task))] = task

    def _add_actor(self) -> None:
        actor = self._build(self._shared)
        self._starting[actor.begin.remote()] = actor

    def _started(self, reference: Any) -> Iterator[Any]:
        actor, errors = self._starting.pop(reference), self._ray.exceptions
        try:
            self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause or error from None
        except errors.RayActorError as error:
            self._n_dead_starts += 1
            if self._n_dead_starts >= _N_DEAD_STARTS and not _is_of_node(error):
                raise LeganError(f"workers die while they start ({_first_line(error)}): look at the nodes' memory") from error
            self._add_actor()
        else:
            self._n_dead_starts = 0
            self._idle.append(actor)
        return iter(())

    def _finished(self, reference: Any) -> Iterator[Any]:
        task, errors = self._busy.pop(reference), self._ray.exceptions
        try:
            result = self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause or error from None
        except (errors.RayActorError, errors.ObjectLostError) as error:
            self._failed(task, "a worker died", counts=not _is_of_node(error))
            return
        self._idle.append(task.actor)
        yield result

    def _failed(self, task: _Task, why: str, counts: bool) -> None:
        """Have a task done again, without the item that made workers fail twice."""
        self._add_actor()
        self._again.append(task)
        if not counts:
            return
        task.n_failures += 1
        if self._marks is None:
            # Ray asks any node to start it, perhaps one that has just died: then it is started again.
            options = {"scheduling_strategy": self._here(), "max_restarts": -1, "max_task_retries": -1}
            self._marks = self._ray.remote(num_cpus=0)(_Marks).options(**options).remote()
        index = self._ray.get(self._marks.pop.remote(id(task)))
        task.is_watched = True
        if index is not None:
            task.failures[index] += 1
            if task.failures[index] >= _N_TRIES:
                task.left_out[index] = f"{why} twice at this image: left out"
        if task.n_failures - _N_TRIES * len(task.left_out) >= (_N_TRIES if index is None else _N_FRUITLESS):
            raise LeganError(f"{why} {task.n_failures} times at the job {str(task.job)[:200]}: run it alone to see why")

    def _here(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)

    def _end_stragglers(self) -> None:
        now = time.monotonic()
        for reference, task in list(self._busy.items()):
            if now - task.since > self._timeout_s:
                del self._busy[reference]
                self._ray.kill(task.actor)
                self._failed(task, f"a worker took more than {self._timeout_s:g} s", counts=True)


def _is_of_node(error: BaseException) -> bool:
    return "its node has died" in str(error)  # Ray has no type for it


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
