"""Export: ratings.csv of rating studies, preference.json of preference studies."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from legan.core.errors import StudyError
from legan.core.files import make_folder, write_atomic
from legan.core.table import escaped
from legan_study.results import Record, analyse, ratings_rows, read_records
from legan_study.store import GOLD
from legan_study.study import Study

# `legan study export`: answers as files that `legan ratings` and `legan evaluate` read.
#
# A rating study gives `ratings.csv` (and `gold.csv`), a preference study `preference.json`; both give `answers.csv` with all details
# of all answers, including excluded raters, practice and repeats.


RATING_COLUMNS = ("rater", "image", "rating", "seconds", "order")
GOLD_COLUMNS = ("image", "low", "high")
ANSWER_COLUMNS = (
    "rater", "excluded", "item", "role", "order", "verdict", "rating", "choice", "shown", "passed", "seconds", "server_seconds",
    "slider_start", "display_width", "display_height", "pixel_ratio", "n_revisions", "answered",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """The files written, and their number of answers (practice, gold, repeats and skipped ones included)."""

    files: tuple[Path, ...]
    n_answers: int

    def __str__(self) -> str:
        return "\n".join(str(path) for path in self.files)


def export_study(study: Study, out: Path) -> Exported:
    """Write the files to the folder `out`.

    Raises:
        StudyError: no answers yet.
        LeganError: the folder cannot be written.
    """
    with study.store.reading() as connection:
        records = read_records(study, connection)
    if not records:
        raise StudyError(f"the study in {study.folder} has no answers yet: nothing to export")
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
