"""A table that long work writes line by line, so that the same command again goes on where it stopped."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from legan.core.cells import escaped, unescaped
from legan.core.errors import LeganError
from legan.core.files import file_stamp, make_folder, write_atomic
from legan.core.lock import held_file
from legan.core.names import utf8_name

FILE_STAMP = "file_stamp"  # column: size and time of the picture's file, by which a changed picture is known


class Journal:
    """A CSV file of rows, one a picture. Rows are on disk as soon as they are added; a line cut off by a kill is dropped.

    One process at a time has it: use it as `with Journal(...) as journal`.

    Args:
        path: the file; None keeps the rows in memory alone.
        columns: of the rows; the first names the picture.
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

    def missing(self, pictures: Mapping[str, Path], is_poor: Callable[[Mapping[str, str]], bool]) -> list[Path]:
        """Return the files that the table knows nothing of, in order; rows that no longer hold are taken out.

        Args:
            pictures: name to file.
            is_poor: whether a row is worth another try, such as one about a file that could not be read.
        """
        self._file_stamps |= {name: file_stamp(path) for name, path in pictures.items()}
        known = [name for name in pictures if name in self.rows]
        self.forget([n for n in known if self.rows[n][FILE_STAMP] != self._file_stamps[n] or is_poor(self.rows[n])])
        return [path for name, path in pictures.items() if name not in self.rows]

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
            raise LeganError(f"{path} is there already and is no table: name another file") from error
        whole = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(io.StringIO(whole))
        found = list(reader.fieldnames or [])
        if found != self.columns and whole.count("\n") == 1 and self._is_head(found):
            write_atomic(path, self._line(self.columns).encode())  # a command that failed before its first row left it
            return
        if found != self.columns:
            raise LeganError(f"{path} is there already and is no table of this kind: name another file")
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
