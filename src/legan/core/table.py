"""CSV tables: read strictly, written safely for spreadsheets, and appended line by line so that long work resumes."""

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from legan.core.errors import DataError, LeganError, nearest
from legan.core.files import file_stamp, held_file, make_folder, write_atomic
from legan.core.listing import composed, utf8_name
from legan.core.places import Place

# Cells of CSV files: numbers as people write them, and text that no spreadsheet takes for a formula.
#
# A name such as `=HYPERLINK("http://x").jpg` is run when the file is opened in a spreadsheet. As OWASP advises ("CSV Injection"), such text
# is written behind an apostrophe, which spreadsheets show as text; readers of legan's own files take it away again.


T = TypeVar("T")
ImageT = TypeVar("ImageT", Path, Path | Place)
_STARTS = "=+-@\t\r\n＝＋－＠"  # the last four: as East Asian keyboards write them
_MARK = "'"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


def escaped(value: T) -> T | str:
    """Return a cell's value as it is written: text that a spreadsheet could take for a formula gets an apostrophe, all else stays.

    Text that has apostrophes there already gets one more, so that `unescaped` gives back every text.
    """
    if not isinstance(value, str) or not value.lstrip(_MARK).startswith(tuple(_STARTS)) or _NUMBER.fullmatch(value):
        return value
    return _MARK + value


def unescaped(text: str) -> str:
    """Undo `escaped`."""
    is_escaped = text.startswith(_MARK) and text.lstrip(_MARK).startswith(tuple(_STARTS))
    return text[1:] if is_escaped else text


def read_number(text: str | None) -> float | None:
    """Read a decimal number of plain digits; None for anything else, such as `1_0`, `nan` or Arabic digits, which Python takes too."""
    text = (text or "").strip(" ")
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


# Tables that people's tools write as CSV, read strictly: every cell is text, and no line is shifted, cut or guessed at.
#
# Columns are separated by commas, semicolons or tabs, whichever the heading uses. Empty cells at the ends of lines, empty lines and a
# byte order mark, which spreadsheets leave, are dropped, and so is the apostrophe before what could be a formula (`cells`). "NA" is a
# name like any other, and names are composed (Unicode NFC).


_SEPARATORS = (",", ";", "\t")
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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
            DataError: no such column, or a cell that is not a number; the message names the line.
        """
        found = []
        for cell, line in zip(self.column(name), self.lines, strict=True):
            plain = cell if self.separator == "," else cell.replace(",", ".")
            if plain.lower() in _MISSING:
                found.append(float("nan"))
            elif _PLAIN_NUMBER.fullmatch(plain):
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
        raise DataError(
            f"{path} is not a CSV file (line {reader.line_num}: {error}): save it as comma-separated text"
        ) from None
    if not rows:
        raise DataError(f"{path} is not a CSV file (it is empty): save it as comma-separated text")
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
        raise DataError(f"{path} is not a CSV file in UTF-8: save it as comma-separated text, UTF-8") from None


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


# A table that long work writes line by line, so that the same command again goes on where it stopped.


FILE_STAMP = "file_stamp"  # column: size and time of the image's file, by which a changed image is known


class Journal:
    """A CSV file of rows, one an image. Rows are on disk as soon as they are added; a line cut off by a kill is dropped.

    One process at a time has it: use it as `with Journal(...) as journal`.

    Args:
        path: the file; None keeps the rows in memory alone.
        columns: of the rows; the first names the image.
        stamp: columns whose values all rows of a file share, such as the checksum of the weights.

    Raises:
        LeganError: the file has other columns or another stamp, cannot be written, or another process writes it.
    """

    def __init__(self, path: Path | None, columns: Sequence[str], stamp: Mapping[str, str]) -> None:
        self.path, self.stamp = path, dict(stamp)
        self.columns = [*columns, *stamp, FILE_STAMP]
        self.rows: dict[str, dict[str, str]] = {}
        self._file_stamps: dict[str, str] = {}
        self._hold = ExitStack()
        if path is not None:
            make_folder(Path(path).parent)
            self._hold.enter_context(held_file(Path(path)))
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes have the file."""
        self._hold.close()

    def missing(self, images: Mapping[str, ImageT], is_poor: Callable[[Mapping[str, str]], bool]) -> list[ImageT]:
        """Return the files that are not in the table, in order; rows that no longer hold are taken out.

        Args:
            images: name to file.
            is_poor: whether a row is worth another try, such as one about a file that could not be read.
        """
        self._file_stamps |= {name: file_stamp(path) for name, path in images.items()}
        known = [name for name in images if name in self.rows]
        self.forget([n for n in known if self.rows[n][FILE_STAMP] != self._file_stamps[n] or is_poor(self.rows[n])])
        return [path for name, path in images.items() if name not in self.rows]

    def _open(self, path: Path | None) -> None:
        if path is not None and Path(path).exists():
            self._read(Path(path))
        elif path is not None:
            write_atomic(Path(path), self._line(self.columns).encode())

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows."""
        texts = []
        for row in rows:
            full = {name: utf8_name(str(value)) for name, value in {**row, **self.stamp}.items()}
            full[FILE_STAMP] = self._file_stamps.get(full[self.columns[0]], "")
            self.rows[full[self.columns[0]]] = full
            texts.append(self._line([full[name] for name in self.columns]))
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write("".join(texts))

    def forget(self, things: Collection[str]) -> None:
        """Take rows out, so that what they are about is looked at again."""
        found = [thing for thing in things if thing in self.rows]
        for thing in found:
            del self.rows[thing]
        if found and self.path is not None:
            lines = [self.columns, *([row[name] for name in self.columns] for row in self.rows.values())]
            write_atomic(Path(self.path), "".join(map(self._line, lines)).encode())

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LeganError(f"{path} is there already and is not a table: name another file") from error
        whole = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(io.StringIO(whole))
        found = list(reader.fieldnames or [])
        if found != self.columns and whole.count("\n") == 1 and self._is_head(found):
            write_atomic(path, self._line(self.columns).encode())  # a command that failed before its first row left it
            return
        if found != self.columns:
            raise LeganError(f"{path} is there already and is not a table of this kind: name another file")
        for row in reader:
            if None in row or None in row.values():
                raise LeganError(f"{path} is damaged in line {reader.line_num}: delete it and run the same command again")
            if any(row[name] != value for name, value in self.stamp.items()):
                raise LeganError(f"{path} was made with other weights or settings: name another file, or delete it")
            self.rows[unescaped(row[self.columns[0]])] = {name: unescaped(row[name] or "") for name in self.columns}
        if whole != text:
            write_atomic(path, whole.encode())

    def _is_head(self, columns: Sequence[str]) -> bool:
        n = len(self.stamp)
        return columns[:1] == self.columns[:1] and list(columns[-n:]) == self.columns[-n:]

    @staticmethod
    def _line(values: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow(map(escaped, values))
        return buffer.getvalue()
