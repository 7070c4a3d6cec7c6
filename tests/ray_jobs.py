"""What runs in Ray's actors in `test_engine_ray`; imports nothing heavy, since every actor imports it."""

import os
import time
from pathlib import Path

from legan.core.errors import ConfigError
from legan.core.workers import begin_item

_numbers: list[int] = []


def start(number: int) -> None:
    """What an actor does before its jobs."""
    _numbers[:] = [number]


def squared(job: int) -> int:
    """An error that reaches the driver for what is negative."""
    if job < 0:
        raise ConfigError(f"{job} is negative: give another")
    return job * job


def started_with(job: int) -> int:
    """The job and what `start` was given."""
    return _numbers[0] + job


def once_killed(flag: Path, job: int) -> int:
    """The first worker that comes to job 3 is killed at it."""
    if job == 3 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), 9)
    return job * job


def at_items(poison: str, items: list[str]) -> list[str]:
    """Gives each item in capitals, or why it was left out; `poison` kills the worker, or holds it up."""
    results = []
    for index, item in enumerate(items):
        if reason := begin_item(index):
            results.append(reason)
            continue
        if item == poison == "slow":
            time.sleep(60)
        elif item == poison:
            os.kill(os.getpid(), 9)
        results.append(item.upper())
    return results


def on_node(job: int) -> tuple[int, str]:
    """The job and the node that did it."""
    import ray

    time.sleep(0.15)
    return job, ray.get_runtime_context().get_node_id()


def kill_worker(job: str) -> None:
    """A worker that does not say where it was."""
    os.kill(os.getpid(), 9)
