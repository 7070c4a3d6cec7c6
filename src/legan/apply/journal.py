"""A table that long work writes line by line, so that the same command again goes on where it stopped."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from legan.core.errors import LeganError
from legan.core.files import make_folder, write_atomic
from legan.core.listing import utf8_name


class Journal:
    """A CSV file of rows, one a picture. Rows are on disk as soon as they are added; a line cut off by a kill is dropped.

    Args:
        path: the file; None keeps the rows in memory alone.
        columns: of the rows; the first names the thing a row is about.
        stamp: columns whose values all rows of a file share, such as the checksum of the weights.

    Raises:
        LeganError: the file has other columns or another stamp, or cannot be written.
    """

    def __init__(self, path: Path | None, columns: Sequence[str], stamp: Mapping[str, str]) -> None:
        self.path, self.stamp = path, dict(stamp)
        self.columns = [*columns, *stamp]
        self.rows: dict[str, dict[str, str]] = {}
        if path is not None and Path(path).exists():
            self._read(Path(path))
        elif path is not None:
            make_folder(Path(path).parent)
            write_atomic(Path(path), self._line(self.columns).encode())

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows."""
        texts = []
        for row in rows:
            full = {name: utf8_name(str(value)) for name, value in {**row, **self.stamp}.items()}
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
        if list(reader.fieldnames or []) != self.columns:
            raise LeganError(f"{path} is there already and is no table of this kind: name another file")
        for row in reader:
            if any(row[name] != value for name, value in self.stamp.items()):
                raise LeganError(f"{path} was made with other weights or settings: name another file, or delete it")
            self.rows[row[self.columns[0]]] = row
        if whole != text:
            write_atomic(path, whole.encode())

    @staticmethod
    def _line(values: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow(values)
        return buffer.getvalue()
