"""Edit files and folders: which photos, under which names, which lights, what is left as it is, and what went wrong."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from legan.core.conditions import LIGHTINGS
from legan.core.errors import ConditionError, FaceError, ImageError, LeganError
from legan.core.files import make_folder, sha256_of
from legan.core.images import WRITE_FORMATS, Photo, load_environment, save_photo, to_network, write_format
from legan.core.inputs import find_inputs, is_folder
from legan.core.light import WHITE, Colour, LightSetup, environment_light, from_weights
from legan.core.listing import images_in_folder
from legan.core.places import Place
from legan.core.workers import RunJobs, begin_item, check_workers, in_order, keep, kept, run_jobs, shown_progress
from legan.editing.editor import Edit, Editor, Readings, Subject
from legan.editing.grid import grid_lightings, grid_mark, make_grid
from legan.editing.loader import load_editor
from legan.editing.marks import marked_metadata, of_photo, read_mark
from legan.faces.align import grouped
from legan.models.editors import LightingSpec
from legan.requests import EditRequest

MASKS = ("expression", "lighting")  # in the names of their files
BATCH_SIZE = 8  # photos whose faces go through the networks together
Written = Iterator[tuple[Path | Place, list[Path] | LeganError]]


@dataclass(frozen=True)
class Job:
    """One photo to edit, the file that its edit goes to, and those of its two masks, where they are wanted.

    `outdated`: the output is there, and its mark says that it was made of the photo as it was before.
    """

    photo: Path | Place
    output: Path
    masks: tuple[Path, ...] = ()
    outdated: bool = False

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files."""
        return (self.output, *self.masks)


@dataclass
class Report:
    """What became of `n_photos`: `done` and `kept` name outputs, `failed` photos and why, `notes` what is worth knowing.

    `readings` holds what was measured on the edits, by output, where that was asked for.
    """

    done: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failed: dict[Path | Place, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    readings: dict[Path, Readings] = field(default_factory=dict)
    n_edited: int = 0
    n_photos: int = 0

    def add(self, part: "Report") -> None:
        """Add what became of some of the photos; `n_photos` counts all from the start."""
        self.done += part.done
        self.failed |= part.failed
        self.notes += part.notes
        self.readings |= part.readings
        self.n_edited += part.n_edited

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        failed = {str(photo): message for photo, message in self.failed.items()}
        done, kept = [str(path) for path in self.done], [str(path) for path in self.kept]
        found = {"n_edited": self.n_edited, "done": done, "kept": kept, "failed": failed, "notes": self.notes}
        if self.readings:
            found["readings"] = {str(path): readings.as_json() for path, readings in self.readings.items()}
        return found

    def messages(self) -> list[str]:
        """What to tell people beside the outputs, one line each."""
        lines = [f"note: {note}" for note in self.notes]
        lines += [f"note: {path}: {readings}" for path, readings in self.readings.items()]
        if self.kept:
            lines.append(f"note: {len(self.kept)} outputs existed and were kept; --overwrite makes them anew")
        lines += [f"error: {message}" for message in self.failed.values()]
        if self.failed:
            lines.append(f"error: {len(self.failed)} of {self.n_photos} photos could not be edited, the others were")
        return lines


def edit_photos(
    photos: Sequence[str | Path],
    out: Path | None,
    request: EditRequest,
    weights: Path | None = None,
    device: str = "cpu",
    n_workers: int = 1,
    run: RunJobs | None = None,
) -> Report:
    """Load an editor and edit photos with it; arguments and errors as for `load_editor` and `edit_files`.

    Args:
        n_workers: processes; 1 works in this one, its networks in all its threads.
        run: what drives the workers; by default local processes (`run_jobs`).
    """
    request.check()
    check_workers(n_workers)
    # The machine that drives a cluster needs no GPU: it only checks here what is asked of the editor.
    editor = load_editor(weights, device if run is None else "cpu")
    return _edit_all(editor, photos, out, request, n_workers, run, partial(load_editor, weights, device))


def edit_files(editor: Editor, photos: Sequence[str | Path], out: Path | None, request: EditRequest) -> Report:
    """Edit photos and folders of photos.

    A single photo that fails raises its error. Of several, the others are edited all the same and the report names those that
    failed; outputs that exist are kept, so that the same command again continues where it stopped. An output whose mark says that
    its photo was another one is made anew.

    Args:
        editor: as `load_editor` gives it.
        photos: image files, folders, shards, manifests and addresses, as for `find_inputs`; all but the first two need `out`.
        out: a file for a single photo, otherwise a folder; None puts edits beside the photos (`name-edited.jpg`).
        request: what to do with each of them.

    Raises:
        LeganError: nothing to do, an output that would replace an input or another output, or a full disk.
    """
    request.check()
    return _edit_all(editor, photos, out, request, 1, None, lambda: editor)


def _edit_all(
    editor: Editor,
    photos: Sequence[str | Path],
    out: Path | None,
    request: EditRequest,
    n_workers: int,
    run: RunJobs | None,
    load: Callable[[], Editor],
) -> Report:
    """As `edit_files`, in workers that get their editors by `load`."""
    request = light_setups(request, editor)
    if request.masks and not editor.networks.has_masks:
        raise ConditionError("these weights make no masks, only LEGAN's do: leave --masks out")
    expression = editor.networks.classes.expressions[0] if request.grid else request.expression
    for lighting in request.lightings or (grid_lightings(editor) if request.grid else (None,)):
        editor.check(expression, lighting, request.strength)
    jobs, is_single = plan(photos, out, "grid" if request.grid else "edited", ".png" if request.grid else "", request.masks)
    if not (is_single or request.overwrite):
        jobs = [replace(job, outdated=_is_outdated(job)) for job in jobs]
    kept = [path for job in jobs for path in job.outputs if path.exists() and not (job.outdated or request.overwrite)]
    todo = [job for job in jobs if not set(job.outputs) <= set(kept)]
    report = Report(kept=kept, n_photos=len(jobs), notes=_notes_on(jobs, set(kept)))
    report.notes += [] if request.grid or is_single else _format_notes(todo)
    if report.kept and is_single:
        raise ImageError(f"{report.kept[0]} exists already: give another name with -o, or add --overwrite")
    groups = enumerate((group, request, is_single) for group in grouped(todo, BATCH_SIZE))
    if run is None and n_workers == 1:
        parts = run_jobs(_edit_group, groups, 1, keep, (lambda: editor,))
    else:
        parts = (run or run_jobs)(_edit_group, groups, n_workers, keep, (load,), apart=True)
    with shown_progress("editing", len(todo), hidden=is_single) as advance:
        for part in in_order(parts):
            report.add(part)
            for _ in range(part.n_photos):
                advance()
    read = [lighting for lighting in request.lightings if isinstance(lighting, LightSetup) and lighting.words]
    report.notes += [f"light {setup}: {shares_in_words(setup)}" for setup in read]
    return report


def _edit_group(job: tuple[int, tuple[Sequence[Job], EditRequest, bool]]) -> tuple[int, Report]:
    """Edit a few photos with the editor that this process keeps, which may be a worker."""
    number, (jobs, request, is_single) = job
    editor: Editor = kept()
    report = Report(n_photos=len(jobs))
    subjects = _prepared(editor, jobs, request, report, is_single)
    write = _write_grids if request.grid else _write_edits
    for photo, outputs in write(editor, subjects, {job.photo: job for job in jobs}, request, report):
        if isinstance(outputs, LeganError):
            _fail(report, photo, outputs, is_single)
        else:
            report.done += outputs
            report.n_edited += 1
    return number, report


def _is_outdated(job: Job) -> bool:
    """Whether the photo is another one than the output's mark says; an output without a mark might be anybody's work."""
    mark = _mark_of(job.output)
    is_there = isinstance(job.photo, Place) or job.photo.is_file()
    return bool(mark) and is_there and mark != sha256_of(job.photo)


def _notes_on(jobs: Iterable[Job], kept: Collection[Path]) -> list[str]:
    """Notes on outputs of which nothing tells that they are of this photo, where the photo is the newer file."""
    return [
        f"{job.output}: kept, though {job.photo} is newer; --overwrite makes it anew"
        for job in jobs
        if job.output in kept
        and not _mark_of(job.output)
        and isinstance(job.photo, Path)
        and job.photo.is_file()
        and job.photo.stat().st_mtime_ns > job.output.stat().st_mtime_ns
    ]


def _mark_of(output: Path) -> str:
    """The checksum of the photo that an output was made of, "" where it does not say."""
    try:
        mark = read_mark(output) if output.is_file() else None
    except (ImageError, OSError, ValueError, SyntaxError):  # no image of ours
        mark = None
    return mark.photo if mark else ""


def _write_edits(
    editor: Editor, subjects: Iterable[Subject], jobs: Mapping[Path | Place, Job], request: EditRequest, report: Report
) -> Written:
    """Edit and save; yields each photo with the files written for it, or the error that says why none could be."""
    lighting = request.lightings[0] if request.lightings else None
    for photo, edit in _edits(editor, subjects, request, lighting):
        if isinstance(edit, FaceError):
            yield photo, edit
            continue
        job = jobs[photo]
        make_folder(job.output.parent)
        outputs = [path for path in job.outputs if request.overwrite or job.outdated or not path.exists()]
        try:
            n_known = len(edit.warnings)
            edit = editor.matched(edit, request.expression, lighting, request.min_match)
            report.notes += [f"{photo}: {warning}" for warning in edit.warnings[n_known:]]
            if request.readings:
                report.readings[job.output] = edit.readings
            if job.output in outputs:
                edit.save(job.output, mark=not request.no_mark)
                report.notes += [f"{photo}: {note}"] if (note := edit.depth_note(job.output)) else []
            for path, image in zip(job.masks, edit.mask_images() if job.masks else (), strict=True):
                if path in outputs:
                    save_photo(image, path)
        except (ImageError, FaceError) as error:
            yield photo, error
        else:
            yield photo, outputs


def _edits(
    editor: Editor, subjects: Iterable[Subject], request: EditRequest, lighting: LightingSpec | None
) -> Iterator[tuple[Path | Place, Edit | FaceError]]:
    """Edit photos, together where the editor can; where it edits one by one, also the reason why one cannot be edited."""
    wishes = request.expression, lighting, request.strength
    if not editor.networks.can_refuse:
        yield from ((_path_of(edit.photo), edit) for edit in editor.edit_subjects(subjects, *wishes))
        return
    for subject in subjects:
        found: Edit | FaceError
        try:
            found = next(editor.edit_subjects([subject], *wishes))
        except FaceError as error:
            found = error
        yield _path_of(subject.photo), found


def _write_grids(
    editor: Editor, subjects: Iterable[Subject], jobs: Mapping[Path | Place, Job], request: EditRequest, report: Report
) -> Written:
    """As `_write_edits`, one labelled image of all expressions for each photo."""
    lightings = request.lightings or grid_lightings(editor)
    mark = grid_mark(editor, lightings, request.strength)
    for subject in subjects:
        metadata = marked_metadata(of_photo(mark, subject.photo)) if not request.no_mark else None
        photo = _path_of(subject.photo)
        output = jobs[photo].output
        make_folder(output.parent)
        try:
            save_photo(make_grid(editor, subject, lightings, request.strength), output, metadata=metadata)
        except FaceError as error:
            yield photo, error
            continue
        yield photo, [output]


def plan(
    photos: Sequence[str | Path], out: Path | None, tag: str = "edited", ending: str = "", masks: bool = False
) -> tuple[list[Job], bool]:
    """Decide which photo goes where; also whether a single photo was named. Folders are walked in the order of names.

    Args:
        photos, out: as for `edit_files`.
        tag: goes into the names where `out` is None.
        ending: of the outputs, such as ".png"; empty keeps each photo's own, where images can be written under it.
        masks: whether the masks are wanted too.

    Raises:
        LeganError: as `edit_files`.
    """
    is_single = len(photos) == 1 and not is_folder(photos[0])
    jobs: list[Job] = []
    for given in photos:
        photo = Path(given)
        if is_folder(given) and not photo.is_dir():
            if out is None:
                raise ImageError(f"edits of the images in {given} need a folder: name one with -o")
            jobs += [Job(place, _named(out / inside, ending)) for place, inside in find_inputs([given], exclude=out)]
        elif photo.is_dir():
            named = photo if photo.name not in ("", "..") else photo.resolve()
            folder = out if out is not None else named.with_name(f"{named.name}-{tag}")
            is_within = folder.resolve() != photo.resolve()
            found = images_in_folder(photo, folder if is_within else None)
            jobs += [Job(path, _named(folder / path.relative_to(photo), ending)) for path in found]
        elif is_single and out is not None and not out.is_dir():
            write_format(out)
            jobs.append(Job(photo, out))
        elif out is not None:
            jobs.append(Job(photo, _named(out / photo.name, ending)))
        else:
            jobs.append(Job(photo, _named(photo.with_stem(f"{photo.stem}-{tag}"), ending)))
    if not jobs:
        raise ImageError(f"no images in {', '.join(map(str, photos))}: name photos, or a folder that holds some")
    if not is_single and out is not None and (out.is_file() or out.suffix.lower() in WRITE_FORMATS):
        raise ImageError(f"{len(jobs)} photos cannot go to the one file {out}: name a folder")
    if masks:
        jobs = [
            replace(job, masks=tuple(job.output.with_name(f"{job.output.stem}.{name}-mask.png") for name in MASKS))
            for job in jobs
        ]
    _check_outputs(jobs)
    return jobs, is_single


def _format_notes(jobs: Sequence[Job]) -> list[str]:
    """Which photos get edits of another format, as theirs is read only."""
    endings = (PurePosixPath(str(job.photo)).suffix.lower() for job in jobs)
    changed = Counter(ending for ending in endings if ending not in WRITE_FORMATS)
    counts = ", ".join(f"{n} {ending}" for ending, n in sorted(changed.items()))
    return [f"edits are written as PNG where the photo's own format is only read: {counts}"] if changed else []


def _named(path: Path, ending: str) -> Path:
    """The output's name for a photo's name; photos of formats that are not written become PNG."""
    if not ending:
        ending = path.suffix if path.suffix.lower() in WRITE_FORMATS else ".png"
    return path.with_suffix(ending)


def _check_outputs(jobs: Sequence[Job]) -> None:
    # By device and inode too: a hard link to a photo has another name.
    inputs = {_identity(job.photo) for job in jobs if isinstance(job.photo, Path)}
    outputs: dict[Path, Path | Place] = {}
    if len({job.photo for job in jobs}) < len(jobs):
        twice = next(photo for photo, n in Counter(job.photo for job in jobs).items() if n > 1)
        raise ImageError(f"{twice} was named twice, by itself and with its folder: name it once")
    for job in jobs:
        for path in job.outputs:
            output = path.resolve()
            if _identity(output) in inputs:
                raise ImageError(f"the edit of {job.photo} would replace the photo {path}: name another place with -o")
            if output in outputs:
                raise ImageError(f"the edits of {outputs[output]} and {job.photo} would both be {path}: edit them one by one")
            outputs[output] = job.photo


def _identity(path: Path) -> tuple[int, int] | Path:
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else path.resolve()


def _prepared(editor: Editor, jobs: Iterable[Job], request: EditRequest, report: Report, is_single: bool) -> Iterator[Subject]:
    for index, job in enumerate(jobs):
        if reason := begin_item(index):
            report.failed[job.photo] = f"{job.photo}: {reason}"
            continue
        try:
            changes_expression = request.grid or request.expression is not None
            subject = editor.prepare(job.photo, request.face, request.force, changes_expression)
        except LeganError as error:
            _fail(report, job.photo, error, is_single)
            continue
        lost = subject.photo.metadata.lost_in(write_format(job.output))
        report.notes += [f"{job.photo}: {note}" for note in (*subject.photo.notes, *lost, *subject.warnings)]
        yield subject


def _fail(report: Report, photo: Path | Place, error: LeganError, is_single: bool) -> None:
    if is_single:
        raise error
    report.failed[photo] = str(error)


def _path_of(photo: Photo) -> Path | Place:
    assert photo.path is not None, "prepared from a file"
    return photo.path


# Lightings as the command line names them: lamps with ambient, softness and colour, an environment map, the light of another photo.


_LEAST = 0.02  # share of the light below which a class that the critic predicts is left out


def light_setups(request: EditRequest, editor: Editor) -> EditRequest:
    """Return a request whose `lightings` are what to edit to, read or estimated; plain ones stay as they were named.

    Raises:
        ConditionError, ImageError, FaceError: what cannot be read or is out of range, no face, no critic to estimate by, or an editor with
            classes of its own, whose lights cannot be mixed.
    """
    lightings, of_lamps = request.lightings, (request.ambient, request.softness, request.light_color)
    if any(value is not None for value in (request.environment, request.light_like, *of_lamps)):
        editor.networks.classes.check_standard("a light of lamps (ambient, softness, colour, environment, light-like)")
    if request.environment is not None:
        lightings = (environment_light(load_environment(request.environment), f"environment {Path(request.environment).name}"),)
    elif request.light_like is not None:
        lightings = (light_like(editor, request.light_like),)
    elif any(value is not None for value in of_lamps):
        lightings = tuple(_with_lamps(lighting, request) for lighting in lightings)
    return replace(
        request, lightings=lightings, ambient=None, softness=None, light_color=None, environment=None, light_like=None
    )


def _with_lamps(lighting: LightingSpec, request: EditRequest) -> LightingSpec:
    """One lighting in words with the request's ambient, softness and colour."""
    if not isinstance(lighting, str):
        raise ConditionError("ambient, softness and colour belong to lamps in words: a LightSetup has its own")
    ambient = 1.0 if request.ambient is None else request.ambient
    colour: Colour = WHITE if request.light_color is None else request.light_color
    setup = LightSetup.parse(lighting, ambient, request.softness or 0.0, colour)
    return lighting if setup.plain is not None else setup


def shares_in_words(setup: LightSetup) -> str:
    """Describe a light that was read or estimated by its classes: `1 of room, 0.62 of 05, 0.2 of 06`, means of the channels."""
    lamps = setup.in_classes()
    found = {LIGHTINGS[k].name: float(factors.mean()) for k, factors in zip(lamps.classes, lamps.flashes, strict=True)}
    largest = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.2g} of {name}" for name, share in [("room", float(lamps.room.mean())), *largest] if share > 0)


def light_like(editor: Editor, photo: str | Path) -> LightSetup:
    """Return the light of another photo's largest face, as the editor's critic predicts it: the shares of its classes.

    Raises:
        ConditionError: the weights hold no critic.
        ImageError, FaceError: no photo, or no face in it.
    """
    if not editor.networks.has_critic:
        raise ConditionError("these weights cannot tell the light of a photo (they hold no critic): name it by --lighting")
    crop = editor.prepare(photo).images(editor.networks.size)
    shares = editor.networks.own_codes(to_network(crop)).lighting[0].double().numpy()
    shares[shares < _LEAST] = 0
    weights = np.repeat((shares / shares.sum())[:, None], 3, 1)
    return from_weights(weights, 1.0, f"like {Path(photo).name} (by the critic)")
