"""`legan relight` and `legan reexpress`: data sets made from a folder of photos."""

import csv
import hashlib
import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES, expression_name, unknown_expression
from legan.core.errors import DataError, ImageError, no_such
from legan.core.files import path_inside, sha256_of, write_atomic
from legan.core.geometry import CROP_SIZE, inverse, transform, warp
from legan.core.images import READ_SUFFIXES, load_photo, png_bytes
from legan.core.inputs import inputs_in, is_folder, name_of
from legan.core.listing import composed, found_file, person_of, utf8_name
from legan.core.places import Place
from legan.core.table import escaped, read_csv_table
from legan.core.weights import packaged
from legan.core.workers import Progress, RunJobs, begin_item, check_workers
from legan.data.manifest import (
    EVEN_LIGHT,
    MATTE_COLUMNS,
    SPLITS,
    matte_columns,
    write_manifest,
)
from legan.data.shards import SetBuilder, ShardJob, ShardMaker, ShardRecord, ShardWriter, open_set_folder
from legan.faces.detect import MIN_FACE_SIDE, detect_largest
from legan_faces3d.head.head import Head
from legan_faces3d.photo.checks import UnusablePhotoError, check_fit, check_size, confidence, eye_distance
from legan_faces3d.photo.fine_fit import check_at_rest, check_fine_fit
from legan_faces3d.photo.fit import HeadFit, HeadFitter
from legan_faces3d.photo.reexpress import Reexpressed, Reexpresser, Subject, broad_smile, new_actions
from legan_faces3d.photo.relight import Relighter

# The photos of a folder with who and what they show: from a CSV file, from their names, or from their folders.


_REQUIRED = ("file", "identity", "expression")
_EVERY, _VALIDATION = 5, 4  # of the sorted identities every fifth is for validation


@dataclass(frozen=True)
class PhotoEntry:
    """One photo of a list.

    Args:
        path: the file.
        identity: who it shows.
        expression: one of the six.
        split: train, val or test.
        source, licence: where it comes from and what it may be used for.
        expression_known: False where the expression is only assumed to be neutral.
    """

    path: Path | Place
    identity: str
    expression: str
    split: str
    source: str
    licence: str
    expression_known: bool = True

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return utf8_name(self.path.stem)


def list_photos(
    folder: str | Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    source: str | None = None,
    licence: str | None = None,
) -> list[PhotoEntry]:
    """List the photos of a folder.

    Args:
        folder: walked with its subfolders; or a shard, a Parquet manifest or an address, as for `find_inputs`, without `manifest`.
        identity_from_name: regular expression searched in each file's name; its group `identity`, or its first one, or what it
            matches names the person, its group `expression` the expression. Without it and a manifest, photos in a subfolder,
            however deep, show the person that the subfolder is named after, and each other photo a person of its own.
        manifest: CSV file with the columns file (within `folder`), identity and expression, and perhaps split, source, licence.
        source, licence: for photos whose manifest does not say; by default the folder's name, and "unknown".

    Returns:
        the photos, sorted by identity and file. Where no split is given, every fifth identity (sorted) is `val`, of fewer than five
        the last, and the rest `train`.

    Raises:
        DataError: no photo, a bad regular expression, or a CSV file with a missing column, file or unknown entry.
    """
    given, folder = folder, Path(folder)
    if not is_folder(given):
        raise DataError(f"{given} is not a folder: name a folder of photos")
    if manifest is not None and not folder.is_dir():
        raise DataError(f"a manifest lists photos of a folder, and {given} is none: leave --manifest out")
    if manifest is not None and identity_from_name is not None:
        raise DataError("the manifest names the people already: leave --identity-from-name out, or leave --manifest out")
    usual = {"source": source or name_of(given), "licence": licence or "unknown"}
    entries = _from_csv(folder, Path(manifest), usual) if manifest else _from_names(given, identity_from_name, usual)
    if not entries:
        raise DataError(f"{given} holds no photos ({', '.join(READ_SUFFIXES)})")
    _check_names(entries)
    return sorted(_with_splits(entries), key=lambda entry: (entry.identity, PurePosixPath(str(entry.path))))


def _from_names(given: str | Path, pattern: str | None, usual: Mapping[str, str]) -> list[PhotoEntry]:
    try:
        search = re.compile(pattern) if pattern else None
    except re.error as error:
        raise DataError(f"cannot read the regular expression '{pattern}' ({error})") from None
    entries = []
    for path, inside in inputs_in(given):
        identity = _identity_of(person_of(Path(inside), Path()))
        expression, known = "neutral", False
        if search is not None:
            match = search.search(path.name)
            if match is None:
                raise DataError(
                    f"'{pattern}' matches nothing in the name {path.name}: give an expression that fits every photo"
                )
            groups = match.groupdict()
            identity = _identity_of(groups.get("identity") or (match.group(1) if match.groups() else match.group(0)))
            if groups.get("expression"):
                expression, known = _expression(groups["expression"], str(path)), True
        entries.append(PhotoEntry(path, identity, expression, "", usual["source"], usual["licence"], known))
    return entries


def _identity_of(name: str) -> str:
    """A person's name from that of a file or folder; in one that is not UTF-8, the bytes stand as `_xe9`."""
    return composed(utf8_name(name).replace("\\x", "_x") if utf8_name(name) != name else name)


def _from_csv(folder: Path, manifest: Path, usual: Mapping[str, str]) -> list[PhotoEntry]:
    if not manifest.is_file():
        raise DataError(f"{manifest} does not exist: name a CSV file with the columns {', '.join(_REQUIRED)}")
    table = read_csv_table(manifest)
    missing = [name for name in _REQUIRED if name not in table.columns]
    if missing:
        raise DataError(f"{manifest} lacks the column {', '.join(missing)}: it needs {', '.join(_REQUIRED)}")
    return [
        _entry_of(folder, f"{manifest} line {line}", dict(zip(table.columns, row, strict=True)), usual)
        for row, line in zip(table.rows, table.lines, strict=True)
    ]


def _entry_of(folder: Path, where: str, row: Mapping[str, str], usual: Mapping[str, str]) -> PhotoEntry:
    empty = [name for name in _REQUIRED if not row[name]]
    if empty:
        raise DataError(f"{where}: the entry {empty[0]} is empty")
    path = found_file(folder, row["file"])
    path_inside(folder, row["file"])  # refuses what leads out of the folder
    if not path.is_file():
        raise DataError(f"{where}: {path} does not exist")
    expression, split = _expression(row["expression"], where), row.get("split", "")
    if split and split not in SPLITS:
        raise DataError(f"{where}: {no_such('split', split, SPLITS)}")
    source, licence = row.get("source", ""), row.get("licence", "")
    return PhotoEntry(path, row["identity"], expression, split, source or usual["source"], licence or usual["licence"])


def _expression(word: str, where: str) -> str:
    """The expression that a word means."""
    meant = expression_name(word)
    if meant is None:
        raise DataError(f"{where}: {unknown_expression(word)}")
    return meant


def _check_names(entries: Iterable[PhotoEntry]) -> None:
    """Names become keys in a person's shard: each may stand there once. Identities become file names."""
    seen: dict[tuple[str, str], Path | Place] = {}
    files: set[Path | Place] = set()
    for entry in entries:
        other = seen.setdefault((entry.identity, composed(entry.name)), entry.path)
        if other != entry.path or entry.path in files:
            raise DataError(f"{other} and {entry.path} have the same name: rename one")
        files.add(entry.path)
        if not re.fullmatch(r"[\w.-]+", entry.identity) or entry.identity.startswith("."):
            raise DataError(f"{entry.path}: the identity '{entry.identity}' may hold letters, digits, '_', '-' and '.' only")


def _with_splits(entries: list[PhotoEntry]) -> list[PhotoEntry]:
    """Fill in missing splits, and check that no person is in two."""
    given: dict[str, str] = {}
    for entry in entries:
        if entry.split and given.setdefault(entry.identity, entry.split) != entry.split:
            raise DataError(
                f"identity '{entry.identity}' is in the splits {given[entry.identity]} and {entry.split}: keep it in one"
            )
    identities = sorted({entry.identity for entry in entries})
    held_out = set(identities[_VALIDATION::_EVERY])
    free = [name for name in identities if name not in given]
    if not held_out and "val" not in given.values() and len(free) > ("train" not in given.values()):
        held_out = {free[-1]}  # of a few: a training needs one, and somebody to train on
    splits = {name: given.get(name) or ("val" if name in held_out else "train") for name in identities}
    return [replace(entry, split=splits[entry.identity]) for entry in entries]


# A data set folder made from photos: one tar shard a person, made in worker processes, resumable, with a list of what was dropped.
#
# Which crops a photo gives is the caller's (`PhotoMaker`); folder, shards and processes are `legan.data.shards`'s; here are the rows of the
# manifest, and `dropped.csv`.


_RECORD, _DROPPED = "record.json", "dropped.csv"
EXTRA_COLUMNS = {"confidence": "float", **MATTE_COLUMNS}


@dataclass(frozen=True)
class PhotoCrop:
    """A crop to be written for a photo."""

    image: np.ndarray  # uint8 (size, size, 3)
    expression: str
    lighting: str
    domain: str
    confidence: float
    alignment: list[float] | None
    landmarks: list[float] | None
    matte: np.ndarray | None = None  # uint8 (size, size), the share of each pixel that is the person's


@dataclass(frozen=True)
class DroppedPhoto:
    """A photo without crops, and why."""

    file: str
    identity: str
    expression: str
    reason: str  # short, for counting
    detail: str


class DroppedPhotoError(Exception):
    """Raised by a maker: nothing can be made of this photo, go on with the next."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


PhotoMaker = Callable[[PhotoEntry], dict[str, PhotoCrop]]  # crops by a name that is their own within the photo


@dataclass(frozen=True)
class PhotoSetReport:
    """What became of the photos."""

    manifest: Path
    n_photos: int
    crops: dict[str, int]  # number by domain
    dropped: list[DroppedPhoto]
    seconds_per_photo: float | None  # of those made now, mean over workers; None when all were there already
    confidence: float | None  # mean over crops

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**asdict(self), "manifest": str(self.manifest)}

    def lines(self) -> list[str]:
        """The report for people."""
        made = ", ".join(f"{n} {domain}" for domain, n in sorted(self.crops.items())) or "no crops"
        text = [f"{self.manifest}", f"{self.n_photos - len(self.dropped)} of {self.n_photos} photos: {made}"]
        if self.seconds_per_photo is not None:
            text.append(f"{self.seconds_per_photo:.1f} s a photo and worker")
        for reason, n in Counter(drop.reason for drop in self.dropped).most_common():
            text.append(f"dropped {n}: {reason}")
            text += [f"  {drop.file}: {drop.detail}" for drop in self.dropped if drop.reason == reason]
        return text


def build_photo_set(
    out: Path,
    entries: Sequence[PhotoEntry],
    settings: Mapping[str, Any],
    build_maker: Callable[[], PhotoMaker],
    n_workers: int = 1,
    progress: Progress | None = None,
    run: RunJobs | None = None,
) -> PhotoSetReport:
    """Make a data set folder, or what is missing of it.

    Args:
        out: the folder; made when missing.
        entries: the photos. A person's shard is made again when the person's photos have changed.
        settings: plain values that every crop depends on; a folder made with others is refused.
        build_maker: makes a worker's maker; a function that can be named from outside its module.
        n_workers: processes of one thread each.
        progress: called with (people done, people in all), first with those that are there already.
        run: what drives the workers; by default local processes (`run_jobs`).

    Raises:
        ConfigError: fewer than one worker.
        DataError: the folder holds something else, or was made with other settings.
        LeganError: the disk is full, or a worker died.
    """
    check_workers(n_workers)
    out = Path(out)
    people = {name: list(group) for name, group in groupby(entries, key=lambda entry: entry.identity)}
    jobs = [ShardJob(name, photos) for name, photos in people.items()]
    with open_set_folder(out, settings, record=_RECORD) as builder:
        new = builder.make(
            jobs,
            partial(build_person_maker, build_maker),
            n_workers,
            progress,
            apart=True,
            is_current=lambda job: _is_current(builder.record(job.name), job.content),
            run=run,
        )
        return _finish(builder, jobs, {job.name for job in new})


def _finish(builder: SetBuilder, jobs: Sequence[ShardJob], new: set[str]) -> PhotoSetReport:
    """Write the manifest and the list of dropped photos."""
    records = {job.name: builder.record(job.name) for job in jobs}
    rows = [row for record in records.values() for row in record.rows]
    dropped = [DroppedPhoto(**drop) for record in records.values() for drop in record.facts["dropped"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "identity", "expression", "reason", "detail"])
    cells = ([drop.file, drop.identity, drop.expression, drop.reason, drop.detail] for drop in dropped)
    writer.writerows(map(escaped, row) for row in cells)
    write_atomic(builder.out / _DROPPED, text.getvalue().encode())
    seconds = [second for name in new for second in records[name].facts["seconds"]]
    return PhotoSetReport(
        manifest=write_manifest(rows, builder.out, EXTRA_COLUMNS),
        n_photos=sum(len(job.content) for job in jobs),
        crops=dict(Counter(row["domain"] for row in rows)),
        dropped=dropped,
        seconds_per_photo=float(np.mean(seconds)) if seconds else None,
        confidence=float(np.mean([row["confidence"] for row in rows])) if rows else None,
    )


def _inputs(photos: Sequence[PhotoEntry]) -> list[dict[str, Any]]:
    """What a shard was made from, to be compared later."""
    facts = ({"n_bytes": _n_bytes(photo.path), "sha256": sha256_of(photo.path)} for photo in photos)
    return [{**asdict(photo), "path": utf8_name(photo.path.name), **fact} for photo, fact in zip(photos, facts, strict=True)]


def _n_bytes(path: Path | Place) -> int | None:
    return path.n_bytes if isinstance(path, Place) else path.stat().st_size


def _is_current(record: ShardRecord, photos: Sequence[PhotoEntry]) -> bool:
    """Whether a shard was made from these photos as they are now."""
    made, now = record.facts["inputs"], _inputs(photos)
    # Shards of earlier versions say nothing of the contents: they are compared by what they say.
    return len(made) == len(now) and all(
        old == {key: value for key, value in new.items() if key != "sha256" or key in old}
        for old, new in zip(made, now, strict=True)
    )


def build_person_maker(build_maker: Callable[[], PhotoMaker]) -> ShardMaker:
    """A worker's maker of shards, with the maker of crops that `build_maker` gives."""
    return partial(make_person, build_maker())


def make_person(maker: PhotoMaker, photos: Sequence[PhotoEntry], shard: ShardWriter) -> dict[str, Any]:
    """Fill one person's shard with `photo_crop.png`; gives dropped photos, inputs and seconds for the record."""
    dropped: list[dict[str, Any]] = []
    seconds: list[float] = []
    inputs = _inputs(photos)
    for index, photo in enumerate(photos):
        start = time.perf_counter()
        try:
            if reason := begin_item(index):
                raise DroppedPhotoError("unreadable", reason)
            crops = maker(photo)
        except DroppedPhotoError as drop:
            name, detail = utf8_name(photo.path.name), utf8_name(drop.detail)
            dropped.append(asdict(DroppedPhoto(name, photo.identity, photo.expression, drop.reason, detail)))
            continue
        mattes: dict[bytes, tuple[int, int]] = {}
        for name, crop in crops.items():
            data = png_bytes(crop.image)
            row = shard.add_image(f"{photo.name}_{name}.png", data, _facts(photo, crop))
            row |= matte_columns(None if crop.matte is None else _added_once(shard, mattes, crop.matte))
        seconds.append(round(time.perf_counter() - start, 3))
    return {"dropped": dropped, "inputs": inputs, "seconds": seconds}


def _facts(photo: PhotoEntry, crop: PhotoCrop) -> dict[str, Any]:
    """A crop's row of the manifest, but for its place."""
    return {
        "identity": photo.identity,
        "expression": crop.expression,
        "lighting": crop.lighting,
        "domain": crop.domain,
        "split": photo.split,
        "source": photo.source,
        "licence": photo.licence,
        "alignment": crop.alignment,
        "landmarks": crop.landmarks,
        "confidence": round(crop.confidence, 4),
    }


def _added_once(shard: ShardWriter, mattes: dict[bytes, tuple[int, int]], matte: np.ndarray) -> tuple[int, int]:
    """Place of a matte in the shard; crops under other lightings share one."""
    data = png_bytes(matte)
    if data not in mattes:
        mattes[data] = shard.add(f"matte_{hashlib.sha256(data).hexdigest()[:16]}.png", data)
    return mattes[data]


# Relight a folder of photos: each gives twenty crops, one a lighting, and the crop as photographed.
#
# The photos should be frontal and evenly lit. What is not is dropped with its reason, or kept with less confidence.


RELIGHT_VERSION = 4  # raised when the images change, so that a resumed folder never mixes two looks


def relight_folder(
    photos: str | Path,
    out: Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    n_workers: int = 1,
    source: str | None = None,
    licence: str | None = None,
    progress: Progress | None = None,
    run: RunJobs | None = None,
) -> PhotoSetReport:
    """Relight the photos of a folder into a data set folder; run again, it continues.

    Arguments and errors as for `list_photos` and `build_photo_set`.
    """
    entries = list_photos(photos, identity_from_name, manifest, source, licence)
    settings = {
        "made by": "relight",
        "version": RELIGHT_VERSION,
        "size": CROP_SIZE,
        "landmarks": sha256_of(packaged("landmarks")),
    }
    return build_photo_set(out, entries, settings, build_relight, n_workers, progress, run)


def build_relight() -> PhotoMaker:
    """A worker's maker; loading the head model takes seconds."""
    return PhotoRelighter(Head()).make


class PhotoRelighter:
    """From photo files to relit crops, with one head model."""

    def __init__(self, head: Head) -> None:
        self.fitter = HeadFitter(head, size=CROP_SIZE)
        self.relighter = Relighter(head)

    def make(self, photo: PhotoEntry) -> dict[str, PhotoCrop]:
        """Crops of one photo by the names of their lightings, and `even`.

        Raises:
            DroppedPhotoError: with the reason.
        """
        with reasons():
            return self._crops(photo, *find_face(photo))

    def _crops(self, photo: PhotoEntry, pixels: np.ndarray, landmarks: np.ndarray) -> dict[str, PhotoCrop]:
        fit = self.fitter.fit(landmarks, photo.expression if photo.expression_known else None)
        window, inside = cut_window(pixels, *self.relighter.window(fit))
        relit = self.relighter.relight(window, inside, fit, seed_of(photo))
        crops = {
            name: _made(image, photo, name, "relit", float(sure), fit, relit.matte)
            for name, image, sure in zip(LIGHTING_NAMES, relit.images, relit.confidence, strict=True)
        }
        crops[EVEN_LIGHT] = _made(relit.original, photo, EVEN_LIGHT, "photo", float(relit.confidence.max()), fit, relit.matte)
        return crops


@contextmanager
def reasons() -> Iterator[None]:
    """Turn what makes a photo unusable into a DroppedPhotoError."""
    try:
        yield
    except ImageError as error:
        raise DroppedPhotoError("unreadable", str(error)) from None
    except UnusablePhotoError as error:
        raise DroppedPhotoError(error.reason, error.detail) from None


def find_face(photo: PhotoEntry) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo's pixels, uint8 (H, W, 3), and the landmarks (68, 2) of its largest face.

    Raises:
        ImageError: the file cannot be read.
        UnusablePhotoError: the face is too small.
        DroppedPhotoError: there is none.
    """
    image = load_photo(photo.path).image
    faces = detect_largest(image)
    if not faces:
        raise DroppedPhotoError("no face", f"no frontal face of {MIN_FACE_SIDE} pixels or more was found")
    check_size(faces[0].landmarks)
    return np.asarray(image), faces[0].landmarks


def _made(
    image: np.ndarray, photo: PhotoEntry, lighting: str, domain: str, confidence: float, fit: HeadFit, matte: np.ndarray
) -> PhotoCrop:
    landmarks = [round(float(value), 3) for value in fit.landmarks.ravel()]
    return PhotoCrop(image, photo.expression, lighting, domain, confidence, fit.matrix.ravel().tolist(), landmarks, matte)


def cut_window(pixels: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square out of a photo, uint8 (side, side, 3), and say which of its pixels lie in the photo, bool (side, side)."""
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    at = transform(inverse(matrix), np.stack([x, y], axis=-1))
    inside = np.all((at >= 0) & (at <= [pixels.shape[1], pixels.shape[0]]), axis=-1)
    return warp(pixels, matrix, side), np.asarray(inside)


def seed_of(photo: PhotoEntry) -> int:
    """Seed of a photo's room and noise; the same for all photos of a person, so that expressions alone tell them apart."""
    return int.from_bytes(hashlib.sha256(f"{photo.source}/{photo.identity}".encode()).digest()[:4], "big")


# Re-express a folder of photos: a face at rest makes five expressions, any other one comes to rest, each in all lightings.
#
# The photos should be frontal and evenly lit. What is not, or has no good fit, is dropped with its reason.


REEXPRESS_VERSION = 2  # raised when the images change, so that a resumed folder never mixes two looks
_DOMAIN = "reexpressed"
# How far the look of an expression can be trusted: the more opens and folds, the less of it is the photo's own.
_TRUST = {"neutral": 0.8, "squint": 0.95, "smile": 0.85, "disgust": 0.85, "surprise": 0.8, "scream": 0.7}


def reexpress_folder(
    photos: str | Path,
    out: Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    n_workers: int = 1,
    source: str | None = None,
    licence: str | None = None,
    even_only: bool = False,
    broad_smiles: bool = False,
    progress: Progress | None = None,
    run: RunJobs | None = None,
) -> PhotoSetReport:
    """Re-express the photos of a folder into a data set folder; run again, it continues.

    Args:
        even_only: only under the photo's own light, not under the twenty lightings.
        broad_smiles: smiles show the teeth; else they are as modest as people's mostly are, with closed lips.

    Other arguments and errors as for `list_photos` and `build_photo_set`.
    """
    entries = list_photos(photos, identity_from_name, manifest, source, licence)
    settings = {
        "made by": "reexpress",
        "version": f"{REEXPRESS_VERSION} with broad smiles" if broad_smiles else REEXPRESS_VERSION,
        "size": CROP_SIZE,
        "lightings": EVEN_LIGHT if even_only else "all",
        "landmarks": sha256_of(packaged("landmarks")),
    }
    build = partial(build_reexpress, even_only, broad_smiles)
    return build_photo_set(out, entries, settings, build, n_workers, progress, run)


def build_reexpress(even_only: bool, broad_smiles: bool) -> PhotoMaker:
    """A worker's maker; loading the head model takes seconds."""
    return PhotoReexpresser(Head(), even_only, broad_smiles).make


class PhotoReexpresser:
    """From photo files to crops of other expressions, with one head model."""

    def __init__(self, head: Head, even_only: bool = False, broad_smiles: bool = False) -> None:
        self.fitter = HeadFitter(head, size=CROP_SIZE)
        self.reexpresser = Reexpresser(head, self.fitter.places)
        self.relighter = Relighter(head)
        self.even_only, self.broad_smiles = even_only, broad_smiles

    def make(self, photo: PhotoEntry, wanted: Sequence[str] | None = None) -> dict[str, PhotoCrop]:
        """Crops of one photo by names such as `smile_07` and `smile_even`; of the expressions `wanted`, or of all it can be given.

        Raises:
            DroppedPhotoError: with the reason.
        """
        with reasons():
            pixels, landmarks = find_face(photo)
            fit = self.fitter.fit(landmarks, photo.expression if photo.expression_known else None)
            inside = cut_window(pixels, *self.relighter.window(fit))[1]
            check_fit(fit, inside)
            if not photo.expression_known:
                check_at_rest(fit)
            check_fine_fit(fit, self.reexpresser.head, self.reexpresser.places)
            window, _ = cut_window(pixels, *self.reexpresser.window(fit))
            subject = self.reexpresser.prepare(window, fit, photo.expression)
            trust = float(confidence(fit, eye_distance(landmarks), 0.0).max())
            crops: dict[str, PhotoCrop] = {}
            for target in targets(photo.expression) if wanted is None else wanted:
                result = self.reexpresser.make(subject, target, seed_of(photo), self.actions(subject, target, seed_of(photo)))
                made = self._light(result, inside, seed_of(photo))
                for lighting, (image, sure, matte) in made.items():
                    crops[f"{target}_{lighting}"] = PhotoCrop(
                        image=image,
                        expression=target,
                        lighting=lighting,
                        domain=_DOMAIN,
                        confidence=min(sure, trust) * _TRUST[target],
                        alignment=fit.matrix.ravel().tolist(),  # the photo's: all of one photo is one take
                        landmarks=[round(float(value), 3) for value in result.fit.landmarks.ravel()],
                        matte=matte,
                    )
            return crops

    def actions(self, subject: Subject, target: str, seed: int) -> dict[str, float]:
        """Facial actions of a photo's face when it makes `target`."""
        actions = new_actions(subject.fit, subject.expression, target, seed)
        return broad_smile(actions, seed) if self.broad_smiles and target == "smile" else actions

    def _light(
        self, result: Reexpressed, inside: np.ndarray, seed: int
    ) -> dict[str, tuple[np.ndarray, float, np.ndarray | None]]:
        """Crops, their confidence and their matte by lighting; the photo's own light comes last."""
        window, _ = cut_window(result.window, *self.relighter.window(result.fit))
        if self.even_only:
            return {EVEN_LIGHT: (self.relighter.crop(window), 1.0, None)}
        relit = self.relighter.relight(window, inside, result.fit, seed)
        crops: dict[str, tuple[np.ndarray, float, np.ndarray | None]] = {
            name: (image, float(sure), relit.matte)
            for name, image, sure in zip(LIGHTING_NAMES, relit.images, relit.confidence, strict=True)
        }
        return crops | {EVEN_LIGHT: (relit.original, float(relit.confidence.max()), relit.matte)}


def targets(expression: str) -> tuple[str, ...]:
    """The expressions that a photo of this one is given: a face at rest all others, any other one rest."""
    return tuple(name for name in EXPRESSIONS if name != "neutral") if expression == "neutral" else ("neutral",)
