"""Evaluate models: from what was asked for to a folder with report.json, tables, each picture's figures and a page."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legan import __version__
from legan.apply.evaluate import figures
from legan.apply.evaluate.edit_seen import accuracies, learn
from legan.apply.evaluate.exam import ENOUGH_FOR_FID, Exam, from_data_set, from_folders
from legan.apply.evaluate.measures import FIGURES, INPUT, REAL, Arrays, Choice, Contestant, Judges, Painter, results_of
from legan.apply.evaluate.page import write_page
from legan.apply.evaluate.report import Report, add_preference, headings, write_report
from legan.apply.evaluate.run import CACHE, Progress, digest_of, measure_all
from legan.apply.hub import editor_file
from legan.apply.networks import FITTED, check_device
from legan.core.cells import escaped
from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.lock import held_folder
from legan.core.manifest import MANIFEST, SPLITS
from legan.core.set_folder import check_own_folder
from legan.core.weights import PACKAGED


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        data: data set folders, each perhaps with `:split`; or one folder of input pictures, for `results`.
        editors: weights files, run folders or ids of models on the hub, each perhaps as `NAME=PATH`; `packaged` is the one that
            comes with legan, `fitted` the one without a network.
        results: folders of result pictures, `NAME=DIR`, by the names of the inputs.
        truth, real: folders of the true edits, and of real pictures, for `results`.
        split: of data sets that do not name theirs.
        n: questions drawn from each data set.
        seed: of that draw and of the intervals' people.
        preference: preference.json of a study.
        n_resamples: of the intervals; half samples are 100 at most.
    """

    data: tuple[str, ...]
    editors: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    truth: Path | None = None
    real: Path | None = None
    split: str = "test"
    n: int = 2000
    seed: int = 0
    preference: Path | None = None
    n_resamples: int = 1000


@dataclass(frozen=True)
class Measured:
    """An exam and what was measured on each contestant."""

    exam: Exam
    contestants: Sequence[Contestant]
    arrays: Sequence[Arrays]


def evaluate(
    request: Request,
    out: Path,
    choice: Choice | None = None,
    n_workers: int = 1,
    batch_size: int = 16,
    progress: Progress = lambda n_done, n: None,
) -> Report:
    """Evaluate models and write report.json, table.md, table.tex, table.csv, images.csv and report.html; run again, it continues.

    Args:
        request: what to evaluate.
        out: folder of the report; its subfolder `cache` keeps what was measured on each model.
        choice: the networks to judge by.
        n_workers: processes.
        batch_size: pictures that go through a network together.
        progress: told of pictures done and pictures in all.

    Returns:
        what report.json holds.

    Raises:
        LeganError: anything that cannot be used; nothing is measured before all is checked.
    """
    choice = choice or Choice()
    _check(request, n_workers, batch_size)
    check_device(choice.device)
    check_own_folder(out, CACHE)
    exams = _exams(request)
    judges = Judges(choice, learn(exams))
    with held_folder(make_folder(out)):
        editors = [_editor(word, out) for word in request.editors]
        contestants = [_contestants(request, exam, editors) for exam in exams]
        if request.preference is not None:
            add_preference([{"name": one.name, "metrics": {}} for one in contestants[0] if one.is_model], request.preference)
        for exam, own in zip(exams, contestants, strict=True):
            for contestant in own:
                Painter(contestant, exam, choice.device)
        report: Report = {"made_by": f"legan {__version__}", "models": [], "references": [], "networks": judges.provenance}
        report["settings"] = {**_plain(request), "choice": _plain(choice)}
        report["preference"], report["correlations"], report["breakdown"] = {}, {"images": [], "models": []}, []
        measured: list[Measured] = []
        for exam, own in zip(exams, contestants, strict=True):
            reference, arrays = measure_all(exam, own, choice, judges, out, n_workers, batch_size, progress)
            measured.append(Measured(exam, own, arrays))
            for contestant, found in zip(own, arrays, strict=True):
                row = figures.row(exam, contestant, found, reference, judges, request.n_resamples)
                if contestant.is_model:
                    row["edits"] = figures.is_edited(row, found, arrays[0])
                report["models" if contestant.is_model else "references"].append(row)
                report["breakdown"] += figures.breakdown(exam, contestant.name, found) if contestant.name != REAL else []
                report["correlations"]["images"] += figures.correlations_of_images(exam, contestant.name, found)
        if request.preference is not None:
            report["preference"] = add_preference(report["models"], request.preference)
        report["correlations"]["models"] = figures.correlations_of_models(report["models"])
        report["notes"] = _notes(exams, judges) + [note for one in measured for note in _refusals(one)]
        write_report(report, out)
        _write_images(measured, out / "images.csv")
        write_page(report, headings(report), measured, out / "report.html")
        return report


def _check(request: Request, n_workers: int, batch_size: int) -> None:
    for name, value in (("workers", n_workers), ("batch-size", batch_size), ("n", request.n)):
        if value < 1:
            raise ConfigError(f"--{name} must be at least 1, not {value}")
    for name, value in (("resamples", request.n_resamples), ("seed", request.seed)):
        if value < 0:
            raise ConfigError(f"--{name} must be at least 0, not {value}")
    if not request.data:
        raise ConfigError("no data: name a data set folder, or a folder of input pictures, with --data")
    if not request.editors and not request.results:
        raise ConfigError("nothing to evaluate: name models with --editor, or folders of their results with --results")
    if request.editors and request.results:
        raise ConfigError("--editor and --results are evaluated on different data: run the command once for each")
    if request.results and len(request.data) > 1:
        raise ConfigError("--results belong to one folder of inputs: name one --data")
    if not request.results and (request.truth or request.real):
        raise ConfigError("--truth and --real go with --results: a data set tells them itself")


def _exams(request: Request) -> list[Exam]:
    if request.results:
        folder = Path(request.data[0])
        if (folder / MANIFEST).is_file():
            raise ConfigError(f"--results belong to a folder of input pictures, and {folder} is a data set: name that folder")
        return [from_folders(folder, request.truth, request.real, request.n, request.seed)]
    exams = []
    for word in request.data:
        place, _, split = word.rpartition(":")
        folder, split = (Path(place), split) if place and split in SPLITS else (Path(word), request.split)
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            raise DataError(
                f"{folder} is no data set (it has no {MANIFEST}): editors are evaluated on one, such as `legan render`, `legan relight` "
                "or `legan import` makes"
            )
        exams.append(from_data_set(folder, split, request.n, request.seed))
    if len({exam.name for exam in exams}) < len(exams):
        raise ConfigError("two --data have the same name and split: rename a folder")
    return exams


def _contestants(request: Request, exam: Exam, editors: Sequence[Contestant]) -> list[Contestant]:
    """The two references, then the models in the order named."""
    found = [Contestant(INPUT, "")]
    if len(exam.real):
        found.append(Contestant(REAL, ""))
    found += editors
    for word in request.results:
        name, folder = _named(word)
        found.append(Contestant(name, digest_of(results_of(folder, exam)), folder=folder))
    names = [contestant.name for contestant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two models are named '{twice[0]}': give each a name of its own, NAME=PATH")
    return found


def _named(word: str) -> tuple[str, Path]:
    """`NAME=PATH` or a path, named by its last part."""
    name, equals, place = word.partition("=")
    if equals and not Path(word).exists():
        return name, Path(place)
    return Path(word).stem if Path(word).suffix == ".safetensors" else Path(word).name, Path(word)


def _editor(word: str, out: Path) -> Contestant:
    """The editor that was meant; a run folder is exported first."""
    name, path = _named(word)
    if str(path) == FITTED:
        from legan.apply.fitted import fitted_checksum

        return Contestant(name, fitted_checksum(), weights=path)
    if path.is_dir() and str(path) != PACKAGED:
        from legan.train.export import export_run

        exported = make_folder(out / CACHE) / f"{name}.safetensors"
        export_run(path, exported)
        path = exported
    elif not (path := editor_file(path)).is_file():
        raise WeightsError(f"weights file {path} does not exist: name a file of `legan export`, a run folder, or '{PACKAGED}'")
    return Contestant(name, sha256_of(path), weights=path)


def _notes(exams: Sequence[Exam], judges: Judges) -> list[str]:
    notes = []
    for exam in exams:
        least = min(len(exam), len(exam.reference))
        if least < ENOUGH_FOR_FID:
            notes.append(
                f"{exam.name}: FID, precision and recall depend on the number of pictures, and {len(exam)} against {len(exam.reference)} "
                f"are fewer than {ENOUGH_FOR_FID:,}: compare them within this table only; KID is without that bias."
            )
        if judges.edits is not None and (seen := accuracies(judges.edits, exam)):
            words = ", ".join(f"{name} {share:.0%}" for name, share in seen.items())
            notes.append(
                f"{exam.name}: of the true edits, the classifier of edits sees right: {words}; it learned from "
                f"{', '.join(judges.edits.provenance['learned_from'])}, and no edit can be told better."
            )
        n_true = int((exam.truth >= 0).sum())
        if n_true < len(exam):
            notes.append(
                f"{exam.name}: the truth is known for {n_true} of {len(exam)} pictures; SSIM, PSNR and LPIPS are over these."
            )
        if not exam.has_own_reference:
            notes.append(f"{exam.name}: no real pictures were given, distributions are compared with the inputs.")
        size = exam.library.images(exam.source[:1]).shape[1]
        for what, network in (("FID", judges.fid), ("LPIPS", judges.lpips)):
            if network.size not in (None, size):
                notes.append(
                    f"{exam.name}: {what} reads pictures scaled from {size} to {network.size} pixels, bilinear, antialiased."
                )
    if judges.fid.name != "inception":
        notes.append(
            f"FID, KID, precision and recall are on features of {judges.fid.name}, not on Inception's: not comparable with published FID."
        )
    if judges.lpips.weights is None:
        notes.append(
            f"The layer distance has LPIPS's form on layers of {judges.lpips.name}, without weights fitted to people's judgements: "
            "not comparable with published LPIPS."
        )
    return notes


def _refusals(measured: Measured) -> list[str]:
    """Notes on pictures that an editor refused; there the input stands in."""
    counts = {
        contestant.name: int(found["refused"].sum())
        for contestant, found in zip(measured.contestants, measured.arrays, strict=True)
        if "refused" in found
    }
    name, n = measured.exam.name, len(measured.exam)
    return [f"{name}: {editor} refuses {count} of {n} pictures, which count as they were." for editor, count in counts.items()]


def _write_images(measured: Sequence[Measured], path: Path) -> None:
    """Each picture's figures as CSV: model, data, number, source, target, figures."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "data", "number", "source", "expression", "lighting", *FIGURES])
    for found in measured:
        exam = found.exam
        for contestant, arrays in zip(found.contestants, found.arrays, strict=True):
            for k in range(len(arrays["quality"])):
                target = ("", "")
                if exam.target is not None and contestant.name != REAL:
                    target = EXPRESSIONS[exam.target[k, 0]], LIGHTING_NAMES[exam.target[k, 1]]
                values = ("" if np.isnan(arrays[name][k]) else f"{arrays[name][k]:.6g}" for name in FIGURES)
                writer.writerow(map(escaped, [contestant.name, exam.name, k, exam.names[k], *target, *values]))
    write_atomic(path, buffer.getvalue().encode())


def _plain(settings: Any) -> dict[str, Any]:
    """Settings as JSON holds them; files by name only, and so folders whose whole path was given: it belongs to one machine."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [short(word) for word in value]
        return value.name if isinstance(value, Path) else short(value) if isinstance(value, str) else value

    def short(word: str) -> str:
        name, equals, place = word.rpartition("=")
        return f"{name}{equals}{Path(place).name}" if Path(place).is_absolute() else word

    return {key: plain(value) for key, value in asdict(settings).items()}
