"""Evaluate models: from what was asked for to a folder with report.json, tables, each image's figures and a page."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legan import __version__
from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.device import check_device
from legan.core.errors import ConfigError, DataError
from legan.core.files import held_folder, make_folder, write_atomic
from legan.core.table import escaped
from legan.data.manifest import MANIFEST, SPLITS
from legan.data.shards import check_own_folder
from legan.editing.loader import editor_checksum, editor_path
from legan.evaluation import statistics as figures
from legan.evaluation.measure import (
    CACHE,
    FIGURES,
    INPUT,
    REAL,
    Arrays,
    Candidate,
    Choice,
    Evaluators,
    Predictor,
    Progress,
    accuracies,
    digest_of,
    learn,
    measure_all,
    results_of,
)
from legan.evaluation.report import Report, add_preference, headings, write_report, write_report_page
from legan.evaluation.tasks import ENOUGH_FOR_FID, EvaluationSet, from_data_set, from_folders


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        data: data set folders, each perhaps with `:split`; or one folder of input images, for `results`.
        editors: weights files, run folders or ids of models on the hub, each perhaps as `NAME=PATH`; `packaged` is the one that
            comes with legan, `fitted` the one without a network.
        results: folders of result images, `NAME=DIR`, by the names of the inputs.
        truth, real: folders of the true edits, and of real images, for `results`.
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

    evaluation_set: EvaluationSet
    candidates: Sequence[Candidate]
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
        batch_size: images that go through a network together.
        progress: told of images done and images in all.

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
    evaluators = Evaluators(choice, learn(exams))
    with held_folder(make_folder(out)):
        editors = [_editor(word, out) for word in request.editors]
        candidates = [_contestants(request, evaluation_set, editors) for evaluation_set in exams]
        if request.preference is not None:
            add_preference([{"name": one.name, "metrics": {}} for one in candidates[0] if one.is_model], request.preference)
        for evaluation_set, own in zip(exams, candidates, strict=True):
            for candidate in own:
                Predictor(candidate, evaluation_set, choice.device)
        report: Report = {"made_by": f"legan {__version__}", "models": [], "references": [], "networks": evaluators.provenance}
        report["settings"] = {**_plain(request), "choice": _plain(choice)}
        report["preference"], report["correlations"], report["breakdown"] = {}, {"images": [], "models": []}, []
        measured: list[Measured] = []
        for evaluation_set, own in zip(exams, candidates, strict=True):
            reference, arrays = measure_all(evaluation_set, own, choice, evaluators, out, n_workers, batch_size, progress)
            measured.append(Measured(evaluation_set, own, arrays))
            for candidate, found in zip(own, arrays, strict=True):
                row = figures.row(evaluation_set, candidate, found, reference, evaluators, request.n_resamples)
                if candidate.is_model:
                    row["edits"] = figures.is_edited(row, found, arrays[0])
                report["models" if candidate.is_model else "references"].append(row)
                report["breakdown"] += (
                    figures.breakdown(evaluation_set, candidate.name, found) if candidate.name != REAL else []
                )
                report["correlations"]["images"] += figures.correlations_of_images(evaluation_set, candidate.name, found)
        if request.preference is not None:
            report["preference"] = add_preference(report["models"], request.preference)
        report["correlations"]["models"] = figures.correlations_of_models(report["models"])
        report["notes"] = _notes(exams, evaluators) + [note for one in measured for note in _refusals(one)]
        write_report(report, out)
        _write_images(measured, out / "images.csv")
        write_report_page(report, headings(report), measured, out / "report.html")
        return report


def evaluate_editors(
    editors: Mapping[str, str | Path],
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    split: str = "test",
    n: int = 2000,
    seed: int = 0,
    n_resamples: int = 1000,
    choice: Choice | None = None,
    n_workers: int = 1,
) -> Report:
    """Compare editors on data sets by every metric, as `legan evaluate` does, and write the report; run again, it continues.

    Args:
        editors: weights files, run folders or ids on the hub by name; `"packaged"` is the one that comes with legan.
        data: data set folders.
        out: folder of the report.
        split, n, seed, n_resamples: as in `Request`.
        choice, n_workers: as in `evaluate`.

    Returns:
        what report.json holds: `models` and `references`, each with `metrics` by name.

    Raises:
        LeganError: as `evaluate`.

    Example:
        >>> report = legan.evaluate({"ours": "packaged"}, "data/rendered", "out", n=16, n_resamples=0)
        >>> [(model["name"], model["n"]) for model in report["models"]]
        [('ours', 16)]
        >>> report["models"][0]["metrics"]["ssim"]["value"] <= 1
        True
    """
    folders = [data] if isinstance(data, (str, Path)) else data
    words = tuple(f"{name}={place}" for name, place in editors.items())
    request = Request(tuple(map(str, folders)), words, split=split, n=n, seed=seed, n_resamples=n_resamples)
    return evaluate(request, Path(out), choice, n_workers)


def _check(request: Request, n_workers: int, batch_size: int) -> None:
    for name, value in (("workers", n_workers), ("batch-size", batch_size), ("n", request.n)):
        if value < 1:
            raise ConfigError(f"--{name} must be at least 1, not {value}")
    for name, value in (("resamples", request.n_resamples), ("seed", request.seed)):
        if value < 0:
            raise ConfigError(f"--{name} must be at least 0, not {value}")
    if not request.data:
        raise ConfigError("no data: name a data set folder, or a folder of input images, with --data")
    if not request.editors and not request.results:
        raise ConfigError("nothing to evaluate: name models with --editor, or folders of their results with --results")
    if request.editors and request.results:
        raise ConfigError("--editor and --results are evaluated on different data: run the command once for each")
    if request.results and len(request.data) > 1:
        raise ConfigError("--results belong to one folder of inputs: name one --data")
    if not request.results and (request.truth or request.real):
        raise ConfigError("--truth and --real go with --results: a data set tells them itself")


def _exams(request: Request) -> list[EvaluationSet]:
    if request.results:
        folder = Path(request.data[0])
        if (folder / MANIFEST).is_file():
            raise ConfigError(f"--results belong to a folder of input images, and {folder} is a data set: name that folder")
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
    if len({evaluation_set.name for evaluation_set in exams}) < len(exams):
        raise ConfigError("two --data have the same name and split: rename a folder")
    return exams


def _contestants(request: Request, evaluation_set: EvaluationSet, editors: Sequence[Candidate]) -> list[Candidate]:
    """The two references, then the models in the order named."""
    found = [Candidate(INPUT, "")]
    if len(evaluation_set.real):
        found.append(Candidate(REAL, ""))
    found += editors
    for word in request.results:
        name, folder = _named(word)
        found.append(Candidate(name, digest_of(results_of(folder, evaluation_set)), folder=folder))
    names = [candidate.name for candidate in found]
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


def _editor(word: str, out: Path) -> Candidate:
    """The editor that was meant; a run folder is exported first."""
    name, path = _named(word)
    path = editor_path(path, make_folder(out / CACHE) / f"{name}.safetensors")
    return Candidate(name, editor_checksum(path), weights=path)


def _notes(exams: Sequence[EvaluationSet], evaluators: Evaluators) -> list[str]:
    notes = []
    for evaluation_set in exams:
        least = min(len(evaluation_set), len(evaluation_set.reference))
        if least < ENOUGH_FOR_FID:
            notes.append(
                f"{evaluation_set.name}: FID, precision and recall depend on the number of images, and {len(evaluation_set)} against "
                f"{len(evaluation_set.reference)} "
                f"are fewer than {ENOUGH_FOR_FID:,}: compare them within this table only; KID is without that bias."
            )
        if evaluators.edits is not None and (seen := accuracies(evaluators.edits, evaluation_set)):
            words = ", ".join(f"{name} {share:.0%}" for name, share in seen.items())
            notes.append(
                f"{evaluation_set.name}: of the true edits, the classifier of edits sees right: {words}; it learned from "
                f"{', '.join(evaluators.edits.provenance['learned_from'])}, and no edit can be told better."
            )
        n_true = int((evaluation_set.truth >= 0).sum())
        if n_true < len(evaluation_set):
            notes.append(
                f"{evaluation_set.name}: the truth is known for {n_true} of {len(evaluation_set)} images; "
                "SSIM, PSNR and LPIPS are over these."
            )
        if not evaluation_set.has_own_reference:
            notes.append(f"{evaluation_set.name}: no real images were given, distributions are compared with the inputs.")
        size = evaluation_set.library.images(evaluation_set.source[:1]).shape[1]
        for what, network in (("FID", evaluators.fid), ("LPIPS", evaluators.lpips)):
            if network.size not in (None, size):
                notes.append(
                    f"{evaluation_set.name}: {what} reads images scaled from {size} to {network.size} pixels, bilinear, antialiased."
                )
    if evaluators.fid.name != "inception":
        notes.append(
            f"FID, KID, precision and recall are on features of {evaluators.fid.name}, not on Inception's: "
            "not comparable with published FID."
        )
    if evaluators.lpips.weights is None:
        notes.append(
            f"The layer distance has LPIPS's form on layers of {evaluators.lpips.name}, without weights fitted to people's judgements: "
            "not comparable with published LPIPS."
        )
    return notes


def _refusals(measured: Measured) -> list[str]:
    """Notes on images that an editor refused; there the input stands in."""
    counts = {
        candidate.name: int(found["refused"].sum())
        for candidate, found in zip(measured.candidates, measured.arrays, strict=True)
        if found.get("refused", np.zeros(0)).any()  # caches of earlier versions hold none for networks
    }
    name, n = measured.evaluation_set.name, len(measured.evaluation_set)
    return [f"{name}: {editor} refuses {count} of {n} images, which count as they were." for editor, count in counts.items()]


def _write_images(measured: Sequence[Measured], path: Path) -> None:
    """Each image's figures as CSV: model, data, number, source, target, figures."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "data", "number", "source", "expression", "lighting", *FIGURES])
    for found in measured:
        evaluation_set = found.evaluation_set
        for candidate, arrays in zip(found.candidates, found.arrays, strict=True):
            for k in range(len(arrays["quality"])):
                target = ("", "")
                if evaluation_set.target is not None and candidate.name != REAL:
                    target = EXPRESSIONS[evaluation_set.target[k, 0]], LIGHTING_NAMES[evaluation_set.target[k, 1]]
                values = ("" if np.isnan(arrays[name][k]) else f"{arrays[name][k]:.6g}" for name in FIGURES)
                writer.writerow(
                    map(escaped, [candidate.name, evaluation_set.name, k, evaluation_set.names[k], *target, *values])
                )
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
