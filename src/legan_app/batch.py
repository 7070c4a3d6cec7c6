"""Many photos edited alike, packed as a zip file with a table of what became of each."""

import csv
import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from legan.core.errors import LeganError
from legan.editing.editor import Editor
from legan.editing.folders import light_setups
from legan.models.editors import LightingSpec
from legan.requests import EditRequest
from legan_app.visits import edited_name, read_photo

TABLE = "edits.csv"


@dataclass
class Batch:
    """What became of a batch so far: rows of (photo, output, note), and which photos failed."""

    n_photos: int
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    n_failed: int = 0

    @property
    def n_edited(self) -> int:
        """Photos that were edited."""
        return len(self.rows) - self.n_failed


def edit_batch(
    editor: Editor,
    files: Sequence[tuple[Path, str]],
    request: EditRequest,
    out: Path,
    max_megapixels: float,
    max_seconds: float,
) -> Iterator[Batch]:
    """Edit photos alike into a zip file, each with its metadata and the mark; yields after each.

    Args:
        editor: as `legan.load_editor` gives it.
        files: paths and names; those that cannot be edited are named in the table.
        request: the same for all.
        out: the zip file, which is whole when the last batch has been yielded.
        max_megapixels: of a photo.
        max_seconds: photos that are not begun by then are named in the table.

    Raises:
        LeganError: what is wrong for all photos alike.
    """
    lighting: LightingSpec | None = next(iter(light_setups(request, editor).lightings), None)
    editor.check(request.expression, lighting, request.strength)
    batch, names, start = Batch(len(files)), {TABLE}, time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Images do not get smaller by packing.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for path, name in files:
            try:
                if time.monotonic() - start > max_seconds:
                    raise LeganError(f"not begun after {max_seconds:g} seconds: give fewer photos at once")
                output, note = _edit_one(editor, path, name, request, lighting, packed, names, out.parent, max_megapixels)
                batch.rows.append((name, output, note))
            except LeganError as error:
                batch.rows.append((name, "", str(error)))
                batch.n_failed += 1
            yield batch
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("photo", "output", "note"), *batch.rows])
        packed.writestr(TABLE, table.getvalue())


def _edit_one(
    editor: Editor,
    path: Path,
    name: str,
    request: EditRequest,
    lighting: LightingSpec | None,
    packed: zipfile.ZipFile,
    names: set[str],
    folder: Path,
    max_megapixels: float,
) -> tuple[str, str]:
    """Edit a photo into the zip file; its name there and what is worth knowing."""
    photo, checksum = read_photo(path, name, max_megapixels)
    subject = editor.prepare(photo, request.face, request.force, request.expression is not None)
    edit = next(editor.edit_subjects([subject], request.expression, lighting, request.strength))
    edit = edit.of_file(checksum)
    wanted = Path(edited_name(name))
    output, number = wanted.name, 1
    while output.lower() in names:
        number += 1
        output = f"{wanted.stem}-{number}{wanted.suffix}"
    names.add(output.lower())
    place = folder / f"one{wanted.suffix}"
    edit.save(place)
    packed.write(place, output)
    place.unlink()
    return output, "; ".join((*photo.notes, *subject.warnings))
