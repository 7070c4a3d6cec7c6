"""Messages of libraries that are not Python: they write to the file descriptor, past warnings and `sys.stderr`."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


@contextmanager
def without_lines(start: bytes) -> Iterator[None]:
    """Hold back what native code writes to stderr while the block runs; then pass all of it on but the lines that begin with `start`."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(start):
                    os.write(STDERR, line)
