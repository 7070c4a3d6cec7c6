"""Worker processes: one numeric thread each, and none that outlives the process that started it."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
