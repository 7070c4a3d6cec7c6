"""Tables that people's tools write as CSV, read strictly: every cell is text, and no line is shifted, cut or guessed at.

Columns are separated by commas, semicolons or tabs, whichever the heading uses. Empty cells at the ends of lines, empty lines and a
byte order mark, which spreadsheets leave, are dropped, and so is the apostrophe before what could be a formula (`cells`). "NA" is a
name like any other, and names are composed (Unicode NFC).
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from legan.core.cells import unescaped
from legan.core.errors import DataError, nearest
from legan.core.names import composed

_SEPARATORS = (",", ";", "\t")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MISSING = ("", "na", "nan", "n/a")  # as R, pandas and spreadsheets write a number that is not there


@dataclass(frozen=True)
class CsvTable:
    """The cells of a CSV file.

    Args:
        path: the file, for messages.
        columns: the heading.
        rows: cells of each row, as many as columns, without white space around them.
        lines: number of the line in the file at which each row ends.
        separator: between the cells.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    separator: str

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            DataError: there is no such column, with the nearest one.
        """
        self.require([name])
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def require(self, names: Iterable[str]) -> None:
        """Check that the columns are there.

        Raises:
            DataError: one is missing.
        """
        for name in names:
            if name not in self.columns:
                raise DataError(f"{self.path} lacks the column '{name}'{nearest(name, self.columns)}")

    def texts(self, name: str) -> list[str]:
        """Return the cells of a column, none of which may be empty.

        Raises:
            DataError: no such column, or an empty cell; the message names the line.
        """
        cells = self.column(name)
        for cell, line in zip(cells, self.lines, strict=True):
            if not cell:
                raise DataError(f"{self.path} has no {name} in line {line}")
        return cells

    def numbers(self, name: str) -> list[float]:
        """Return a column of numbers, NaN where a cell is empty or says NA.

        Numbers are written in plain digits; where the separator is not the comma, a decimal comma is one.

        Raises:
            DataError: no such column, or a cell that is no number; the message names the line.
        """
        found = []
        for cell, line in zip(self.column(name), self.lines, strict=True):
            plain = cell if self.separator == "," else cell.replace(",", ".")
            if plain.lower() in _MISSING:
                found.append(float("nan"))
            elif _NUMBER.fullmatch(plain):
                found.append(float(plain))
            else:
                raise DataError(f"{self.path} has the {name} '{cell[:40]}' in line {line}: give a number in plain digits")
        return found


def read_csv_table(path: Path) -> CsvTable:
    """Read a CSV file in UTF-8 with a heading.

    Raises:
        DataError: no such file, no text, two columns of one name, or a row with more cells than the heading has; the message names
            the line.
    """
    path = Path(path)
    text = _text_of(path)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for cells in reader:
            row = _without_empty_end([composed(unescaped(cell.strip())) for cell in cells])
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file (line {reader.line_num}: {error}): save it as comma-separated text") from None
    if not rows:
        raise DataError(f"{path} is no CSV file (it is empty): save it as comma-separated text")
    columns = rows.pop(0)
    lines.pop(0)
    _check_heading(path, columns)
    for row, line in zip(rows, lines, strict=True):
        if len(row) > len(columns):
            raise DataError(
                f"{path} has {len(row)} cells in line {line} and {len(columns)} columns: put text with '{separator}' in quotes"
            )
        row += [""] * (len(columns) - len(row))
    return CsvTable(path, columns, rows, lines, separator)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the name") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): name a CSV file") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is no CSV file in UTF-8: save it as comma-separated text, UTF-8") from None


def _separator(text: str) -> str:
    """The separator that the heading uses: the one that it holds most often."""
    heading = next((line for line in text.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=heading.count)  # the comma where there is none at all


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _check_heading(path: Path, columns: list[str]) -> None:
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise DataError(f"{path} has two columns '{twice}': keep one" if twice else f"{path} has a column without a name")
