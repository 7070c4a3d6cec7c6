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


def at_items(items: list[str]) -> list[str]:
    """Gives each item in capitals, or why it was left out; `kill` kills the worker, and `slow` holds it up."""
    results = []
    for index, item in enumerate(items):
        if reason := begin_item(index):
            results.append(reason)
            continue
        if item == "slow":
            time.sleep(60)
        elif item == "kill":
            os.kill(os.getpid(), 9)
        results.append(item.upper())
    return results


def on_node(flag: Path, job: int) -> tuple[int, str]:
    """The job and the node that did it; the first worker that comes to job 20 is killed at it."""
    import ray

    if job == 20 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), 9)
    time.sleep(0.15)
    return job, ray.get_runtime_context().get_node_id()


def kill_worker(job: str) -> None:
    """A worker that does not say where it was."""
    os.kill(os.getpid(), 9)
