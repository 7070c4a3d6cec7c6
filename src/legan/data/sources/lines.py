"""Lists in text files: errors name the file and the line."""

from collections.abc import Iterator
from pathlib import Path

from legan.core.errors import DataError
from legan.core.names import composed


def lines_of(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of each line that is not empty, without a byte order mark and white space at its ends.

    Raises:
        DataError: no such file, or one that is no text.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} does not exist: it is {what}")
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, composed(line.strip())
        except UnicodeDecodeError:
            raise DataError(f"{path} is no text file: it should be {what}") from None


def wrong_line(path: Path, number: int, line: str, form: str) -> DataError:
    """The error about a line that has another form."""
    return DataError(f"{path}, line {number}: cannot read '{line.strip()[:80]}': it should be {form}")
