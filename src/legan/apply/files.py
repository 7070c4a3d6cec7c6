"""Edit files and folders: which photos, under which names, what is left as it is, and what went wrong."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from legan.apply.edit import Edit, Editor, Face, Subject
from legan.apply.grid import GRID_LIGHTINGS, grid_mark, make_grid
from legan.apply.marks import marked_metadata
from legan.apply.networks import ExpressionSpec, LightingSpec
from legan.core.errors import FaceError, ImageError, LeganError
from legan.core.files import make_folder
from legan.core.images import READ_SUFFIXES, WRITE_FORMATS, save_photo, write_format


@dataclass(frozen=True)
class Job:
    """One photo to edit, and the file that its edit goes to."""

    photo: Path
    output: Path


@dataclass
class Report:
    """What became of the photos: `done` and `kept` name outputs, `failed` photos and why, `notes` what is worth knowing."""

    done: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict:
        """The report as plain values."""
        plain = asdict(self)
        plain["done"], plain["kept"] = [str(p) for p in self.done], [str(p) for p in self.kept]
        plain["failed"] = {str(p): message for p, message in self.failed.items()}
        return plain


def edit_files(
    editor: Editor,
    photos: Sequence[Path],
    out: Path | None = None,
    expression: ExpressionSpec | None = None,
    lighting: LightingSpec | None = None,
    strength: float = 1.0,
    face: Face = "largest",
    masks: bool = False,
    mark: bool = True,
    overwrite: bool = False,
) -> Report:
    """Edit photos and folders of photos.

    A single photo that fails raises its error. Of several, the others are edited all the same and the report names those that
    failed; outputs that exist are kept, so that the same command again continues where it stopped.

    Args:
        editor: as `load_editor` gives it.
        photos: picture files, and folders that are walked.
        out: a file for a single photo, otherwise a folder; None puts edits beside the photos (`name-edited.jpg`).
        expression, lighting, strength, face: as for `Editor`.
        masks: also write the two masks as `name.expression-mask.png` and `name.lighting-mask.png`.
        mark: say in each file that an algorithm edited it.
        overwrite: replace outputs that exist. An input is never replaced.

    Raises:
        LeganError: nothing to do, an output that would replace an input or another output, or a full disk.
    """
    editor.check(expression, lighting, strength)
    jobs, is_single = plan(photos, out)
    todo, report = _to_do(jobs, is_single, overwrite)
    outputs = {job.photo: job.output for job in todo}
    with _progress(len(todo), is_single) as progress:
        subjects = _prepared(editor, todo, face, report, is_single)
        for edit in editor.edit_subjects(subjects, expression, lighting, strength):
            photo = edit.photo.path
            assert photo is not None, "prepared from a file"
            report.notes += [f"{photo}: {note}" for note in edit.photo.notes]
            try:
                report.done += _written(edit, outputs[photo], masks, mark)
            except ImageError as error:
                _fail(report, photo, error, is_single)
            progress.advance(progress.task_ids[0])
    return report


def grid_files(
    editor: Editor,
    photos: Sequence[Path],
    out: Path | None = None,
    lightings: Sequence[LightingSpec] = GRID_LIGHTINGS,
    strength: float = 1.0,
    face: Face = "largest",
    mark: bool = True,
    overwrite: bool = False,
) -> Report:
    """Make one labelled picture for each photo: its face with all expressions under some lights. Otherwise as `edit_files`."""
    for lighting in lightings:
        editor.check("neutral", lighting, strength)
    jobs, is_single = plan(photos, out, tag="grid", ending=".png")
    todo, report = _to_do(jobs, is_single, overwrite)
    with _progress(len(todo), is_single) as progress:
        for job in todo:
            try:
                subject = editor.prepare(job.photo, face)
                make_folder(job.output.parent)
                picture = make_grid(editor, subject, lightings, strength)
                metadata = marked_metadata(grid_mark(editor, lightings, strength)) if mark else None
                save_photo(picture, job.output, metadata=metadata)
                report.done.append(job.output)
            except (ImageError, FaceError) as error:
                _fail(report, job.photo, error, is_single)
            progress.advance(progress.task_ids[0])
    return report


def plan(photos: Sequence[Path], out: Path | None, tag: str = "edited", ending: str = "") -> tuple[list[Job], bool]:
    """Decide which photo goes where; also whether a single photo was named. Folders are walked in the order of names.

    Args:
        photos, out: as for `edit_files`.
        tag: goes into the names where `out` is None.
        ending: of the outputs, such as ".png"; empty keeps each photo's own, where pictures can be written under it.

    Raises:
        LeganError: as `edit_files`.
    """
    is_single = len(photos) == 1 and not photos[0].is_dir()
    jobs: list[Job] = []
    for photo in photos:
        if photo.is_dir():
            folder = out if out is not None else photo.with_name(f"{photo.resolve().name}-{tag}")
            inside = [p for p in _walk(photo) if not p.is_relative_to(folder)]
            jobs += [Job(p, _named(folder / p.relative_to(photo), ending)) for p in inside]
        elif is_single and out is not None and not out.is_dir():
            write_format(out)
            jobs.append(Job(photo, out))
        elif out is not None:
            jobs.append(Job(photo, _named(out / photo.name, ending)))
        else:
            jobs.append(Job(photo, _named(photo.with_stem(f"{photo.stem}-{tag}"), ending)))
    if not jobs:
        raise ImageError(f"no pictures in {', '.join(map(str, photos))}: name photos, or a folder that holds some")
    if not is_single and out is not None and (out.is_file() or out.suffix.lower() in WRITE_FORMATS):
        raise ImageError(f"{len(jobs)} photos cannot go to the one file {out}: name a folder")
    _check_outputs(jobs)
    return jobs, is_single


def _to_do(jobs: Sequence[Job], is_single: bool, overwrite: bool) -> tuple[list[Job], Report]:
    todo = [job for job in jobs if overwrite or not job.output.exists()]
    kept = [job.output for job in jobs if job not in todo]
    if kept and is_single:
        raise ImageError(f"{kept[0]} exists already: give another name with -o, or add --overwrite")
    return todo, Report(kept=kept)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in READ_SUFFIXES and path.is_file() and not is_hidden:
            yield path


def _named(path: Path, ending: str) -> Path:
    """The output's name for a photo's name; photos of formats that are not written become PNG."""
    if not ending:
        ending = path.suffix if path.suffix.lower() in WRITE_FORMATS else ".png"
    return path.with_suffix(ending)


def _check_outputs(jobs: Sequence[Job]) -> None:
    # By device and inode too: a hard link to a photo has another name.
    inputs = {_identity(job.photo) for job in jobs}
    outputs: dict[Path, Path] = {}
    for job in jobs:
        output = job.output.resolve()
        if _identity(output) in inputs:
            raise ImageError(f"the edit of {job.photo} would replace the photo {job.output}: name another place with -o")
        if output in outputs:
            raise ImageError(f"the edits of {outputs[output]} and {job.photo} would both be {job.output}: edit them one by one")
        outputs[output] = job.photo


def _identity(path: Path) -> tuple[int, int] | Path:
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else path.resolve()


def _prepared(editor: Editor, jobs: Iterable[Job], face: Face, report: Report, is_single: bool) -> Iterator[Subject]:
    for job in jobs:
        try:
            yield editor.prepare(job.photo, face)
        except LeganError as error:
            _fail(report, job.photo, error, is_single)


def _fail(report: Report, photo: Path, error: LeganError, is_single: bool) -> None:
    if is_single:
        raise error
    report.failed[photo] = str(error)


def _written(edit: Edit, output: Path, masks: bool, mark: bool) -> list[Path]:
    make_folder(output.parent)
    edit.save(output, mark=mark)
    if not masks:
        return [output]
    names = [output.with_name(f"{output.stem}.{name}-mask.png") for name in ("expression", "lighting")]
    for name, picture in zip(names, edit.mask_pictures(), strict=True):
        save_photo(picture, name)
    return [output, *names]


def _progress(n: int, is_single: bool) -> Progress:
    progress = Progress(console=Console(stderr=True), transient=True, disable=is_single)
    progress.add_task("editing", total=n)
    return progress
