"""`legan study export`: answers as files that `legan ratings` and `legan evaluate` read.

A rating study gives `ratings.csv` (and `gold.csv`), a preference study `preference.json`; both give `answers.csv` with all that is
known of each answer, those of excluded raters, practice and repeats among them.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from legan.core.cells import escaped
from legan.core.errors import StudyError
from legan.core.files import make_folder, write_atomic
from legan.study.preference import analyse
from legan.study.records import Record, ratings_rows, read_records
from legan.study.study import Study
from legan.study.tables import GOLD

RATING_COLUMNS = ("rater", "image", "rating", "seconds", "order")
GOLD_COLUMNS = ("image", "low", "high")
ANSWER_COLUMNS = (
    "rater", "excluded", "item", "role", "order", "verdict", "rating", "choice", "shown", "passed", "seconds", "server_seconds",
    "slider_start", "display_width", "display_height", "pixel_ratio", "n_revisions", "answered",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The files written, and how many answers they hold (practice, gold, repeats and skipped ones included)."""

    files: tuple[Path, ...]
    n_answers: int

    def __str__(self) -> str:
        return "\n".join(str(path) for path in self.files)


def export_study(study: Study, out: Path) -> Exported:
    """Write the files to the folder `out`.

    Raises:
        StudyError: nobody has answered yet.
        LeganError: the place cannot be written.
    """
    with study.store.reading() as connection:
        records = read_records(study, connection)
    if not records:
        raise StudyError(f"nobody has answered the study in {study.folder} yet: nothing to export")
    folder, paths = make_folder(out), []
    for name, data in files_of(study, records).items():
        write_atomic(folder / name, data)
        paths.append(folder / name)
    return Exported(tuple(paths), len(records))


def files_of(study: Study, records: list[Record]) -> dict[str, bytes]:
    """Name and content of each file."""
    files = {"answers.csv": _csv(ANSWER_COLUMNS, [_answer_row(record) for record in records])}
    if study.config.kind == "preference":
        if any(record["counts"] for record in records):
            files["preference.json"] = (json.dumps(analyse(records, study.models), indent=2) + "\n").encode()
        return files
    files["ratings.csv"] = _csv(RATING_COLUMNS, ratings_rows(records))
    gold = {r["item"]: {"image": r["item"], "low": r["low"], "high": r["high"]} for r in records if r["role"] == GOLD}
    if gold:
        files["gold.csv"] = _csv(GOLD_COLUMNS, list(gold.values()))
    return files


def _answer_row(record: Record) -> Record:
    answered = datetime.fromtimestamp(record["answered_at"], UTC).isoformat(timespec="seconds")
    return {**record, "shown": " | ".join(record["shown"]), "answered": answered}


def _csv(columns: Sequence[str], rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(row[name]) for name in columns})
    return buffer.getvalue().encode()


def _plain(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else escaped(value)
