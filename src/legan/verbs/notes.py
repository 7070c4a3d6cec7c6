"""What the command line says beside results: notes of the package's log on stderr, names of any encoding on stdout."""

import io
import logging
import sys

import typer


class _Notes(logging.Handler):
    """Prints what readers of folders leave out, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line to stderr."""
        typer.echo(f"note: {record.getMessage()}", err=True)


def show_notes() -> None:
    """Print the notes that reading logs; once for all commands of a process."""
    log = logging.getLogger("legan.core")
    if not any(isinstance(handler, _Notes) for handler in log.handlers):
        log.addHandler(_Notes())


def allow_all_names() -> None:
    """Print file names that are not UTF-8 as the bytes they are, as `ls` does into a pipe, where Python would raise an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
