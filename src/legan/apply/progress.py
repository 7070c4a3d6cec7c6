"""Progress bars on stderr, where a person is watching."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def shown_progress(what: str, n: int, hidden: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar of `n` things while the block runs; call what it gives once for each thing done."""
    with _bar(hidden) as progress:
        task = progress.add_task(what, total=n)
        yield lambda: progress.advance(task)


@contextmanager
def counted_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while the block runs; call what it gives with the number done and the number in all."""
    with _bar(hidden=False) as progress:
        task = progress.add_task(what, total=None)
        yield lambda n_done, n: progress.update(task, completed=n_done, total=n)


def _bar(hidden: bool) -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal)
