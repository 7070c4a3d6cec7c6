"""Evaluate editors side by side: a request in, a folder with report.json, tables, each image's values and a page out.

`tasks` draws the evaluation sets, `measure` runs the candidates and measures their images with `evaluators` and `edit_classifier`,
`statistics` turns the values into metrics with intervals, `report` writes them.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from legan import __version__
from legan.core.conditions import STANDARD, Classes
from legan.core.device import check_device
from legan.core.errors import ConfigError, DataError
from legan.core.files import held_folder, make_folder, write_atomic
from legan.core.inputs import folder_at
from legan.core.places import is_address
from legan.core.table import escaped
from legan.core.workers import RunJobs
from legan.data.manifest import MANIFEST, SPLITS
from legan.data.shards import check_own_folder
from legan.editing.loader import editor_checksum, editor_classes, editor_path
from legan.evaluation import statistics
from legan.evaluation.edit_classifier import accuracies, train_edit_classifier
from legan.evaluation.evaluators import IMAGE_METRICS, Evaluators
from legan.evaluation.measure import (
    CACHE,
    INPUT,
    REAL,
    Candidate,
    Measured,
    Predictor,
    Progress,
    digest_of,
    measure_all,
    results_of,
)
from legan.evaluation.preference_study import check_study, write_study
from legan.evaluation.report import Report, add_preference, headings, write_report, write_report_page
from legan.evaluation.tasks import ENOUGH_FOR_FID, EvaluationSet, from_data_set, from_folders
from legan.requests import EvaluationNetworks, EvaluationRequest


def evaluate(
    request: EvaluationRequest,
    out: Path,
    networks: EvaluationNetworks | None = None,
    n_workers: int = 1,
    batch_size: int = 16,
    progress: Progress = lambda n_done, n: None,
    run: RunJobs | None = None,
) -> Report:
    """Evaluate models and write report.json, table.md, table.tex, table.csv, images.csv and report.html; run again, it continues.

    Args:
        request: what to evaluate.
        out: folder of the report; its subfolder `cache` keeps what was measured on each model.
        networks: the networks to measure with.
        n_workers: processes.
        batch_size: images that go through a network together.
        progress: called with images done and in all.
        run: what drives the workers that measure; by default local processes (`run_jobs`).

    Returns:
        what report.json holds.

    Raises:
        LeganError: anything that cannot be used; nothing is measured before all is checked.
    """
    networks = networks or EvaluationNetworks()
    _check(request, n_workers, batch_size)
    check_device(networks.device)
    check_own_folder(out, CACHE)
    evaluation_sets = _evaluation_sets(request)
    evaluators = Evaluators(networks, train_edit_classifier(evaluation_sets))
    with held_folder(make_folder(out)):
        editors = [_editor(word, out) for word in request.editors]
        candidates = [_candidates(request, evaluation_set, editors) for evaluation_set in evaluation_sets]
        if request.study is not None:
            models = [one.name for one in candidates[0] if one.is_model]
            check_study(request.study, models, request.study_items, len(evaluation_sets))
        if request.preference is not None:
            add_preference([{"name": one.name, "metrics": {}} for one in candidates[0] if one.is_model], request.preference)
        for evaluation_set, own in zip(evaluation_sets, candidates, strict=True):
            for candidate in own:
                Predictor(candidate, evaluation_set, networks.device)
        measured = [
            measure_all(evaluation_set, own, networks, evaluators, out, n_workers, batch_size, progress, run)
            for evaluation_set, own in zip(evaluation_sets, candidates, strict=True)
        ]
        report = _report(request, networks, evaluators, measured)
        if request.study is not None:
            report["study"] = write_study(request.study, evaluation_sets, candidates, request.study_items, networks.device)
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
    networks: EvaluationNetworks | None = None,
    n_workers: int = 1,
) -> Report:
    """Compare editors on data sets by every metric, as `legan evaluate` does, and write the report; run again, it continues.

    Args:
        editors: weights files, run folders or ids on the hub by name; `"packaged"` is the one that comes with legan.
        data: data set folders.
        out: folder of the report.
        split, n, seed, n_resamples: as in `EvaluationRequest`.
        networks, n_workers: as in `evaluate`.

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
    request = EvaluationRequest(tuple(map(str, folders)), words, split=split, n=n, seed=seed, n_resamples=n_resamples)
    return evaluate(request, Path(out), networks, n_workers)


def _check(request: EvaluationRequest, n_workers: int, batch_size: int) -> None:
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
        raise ConfigError("--truth and --real go with --results: a data set has them itself")


def _evaluation_sets(request: EvaluationRequest) -> list[EvaluationSet]:
    if request.results:
        inputs = request.data[0]
        if (folder_at(inputs) / MANIFEST).is_file():
            raise ConfigError(f"--results belong to a folder of input images, and {inputs} is a data set: name that folder")
        return [from_folders(inputs, request.truth, request.real, request.n, request.seed)]
    classes = _classes(request.editors)
    evaluation_sets = []
    for word in request.data:
        place, _, split = word.rpartition(":")
        folder, split = (folder_at(place), split) if place and split in SPLITS else (folder_at(word), request.split)
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            raise DataError(
                f"{folder} is not a data set (it has no {MANIFEST}): editors are evaluated on one, such as `legan render`, `legan relight` "
                "or `legan import` writes"
            )
        evaluation_sets.append(from_data_set(folder, split, request.n, request.seed, classes))
    if len({evaluation_set.name for evaluation_set in evaluation_sets}) < len(evaluation_sets):
        raise ConfigError("two --data have the same name and split: rename a folder")
    return evaluation_sets


def _classes(words: Sequence[str]) -> Classes:
    """The expressions and lightings of all editors, which the data must have too."""
    by_name = {word: editor_classes(_named(word)[1]) for word in words}
    for name, classes in by_name.items():
        if classes != by_name[words[0]]:
            raise ConfigError(f"{words[0]} knows {by_name[words[0]]}, and {name} {classes}: evaluate them one by one")
    return by_name[words[0]] if words else STANDARD


def _candidates(request: EvaluationRequest, evaluation_set: EvaluationSet, editors: Sequence[Candidate]) -> list[Candidate]:
    """The two references, then the models in the order named."""
    candidates = [Candidate(INPUT, "")]
    if len(evaluation_set.real):
        candidates.append(Candidate(REAL, ""))
    candidates += editors
    for word in request.results:
        name, folder = _named(word)
        candidates.append(Candidate(name, digest_of(results_of(folder, evaluation_set)), folder=folder))
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two models are named '{twice[0]}': give each a name of its own, NAME=PATH")
    return candidates


def _named(word: str) -> tuple[str, str]:
    """`NAME=PATH` or a path, named by its last part; an address is a path."""
    name, equals, place = word.partition("=")
    if equals and not is_address(word) and not Path(word).exists():
        return name, place
    return Path(word).stem if Path(word).suffix == ".safetensors" else Path(word).name, word


def _editor(word: str, out: Path) -> Candidate:
    """The candidate of an editor's name; a run folder is exported first."""
    name, place = _named(word)
    path = editor_path(Path(place), make_folder(out / CACHE) / f"{name}.safetensors")
    return Candidate(name, editor_checksum(path), weights=path)


def _report(
    request: EvaluationRequest, networks: EvaluationNetworks, evaluators: Evaluators, measured: Sequence[Measured]
) -> Report:
    """What report.json holds: settings, a row of metrics for each candidate, correlations of quality with them, breakdown, notes."""
    report: Report = {"made_by": f"legan {__version__}", "models": [], "references": [], "networks": evaluators.provenance}
    report["settings"] = {**_plain(request), "choice": _plain(networks)}
    report["preference"], report["correlations"], report["breakdown"] = {}, {"images": [], "models": []}, []
    for one in measured:
        asked = one.evaluation_set
        for candidate, arrays in zip(one.candidates, one.arrays, strict=True):
            row = statistics.row(asked, candidate, arrays, one.reference, evaluators, request.n_resamples)
            if candidate.is_model:
                row["edits"] = statistics.is_edited(row, arrays, one.arrays[0])
            report["models" if candidate.is_model else "references"].append(row)
            if candidate.name != REAL:
                report["breakdown"] += statistics.breakdown(asked, candidate.name, arrays)
            report["correlations"]["images"] += statistics.correlations_of_images(asked, candidate.name, arrays)
    if request.preference is not None:
        report["preference"] = add_preference(report["models"], request.preference)
    report["correlations"]["models"] = statistics.correlations_of_models(report["models"])
    refusals = [note for one in measured for note in _refusals(one)]
    report["notes"] = _notes([one.evaluation_set for one in measured], evaluators) + refusals
    return report


def _notes(evaluation_sets: Sequence[EvaluationSet], evaluators: Evaluators) -> list[str]:
    notes = []
    for evaluation_set in evaluation_sets:
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
    """Notes on images that an editor refused; their inputs are measured instead."""
    counts = {
        candidate.name: int(arrays["refused"].sum())
        for candidate, arrays in zip(measured.candidates, measured.arrays, strict=True)
        if arrays.get("refused", np.zeros(0)).any()  # caches of earlier versions hold none for networks
    }
    name, n = measured.evaluation_set.name, len(measured.evaluation_set)
    return [f"{name}: {editor} refuses {count} of {n} images, which count as they were." for editor, count in counts.items()]


def _write_images(measured: Sequence[Measured], path: Path) -> None:
    """Each image's values as CSV: model, data, number, source, target, metrics."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "data", "number", "source", "expression", "lighting", *IMAGE_METRICS])
    for one in measured:
        evaluation_set = one.evaluation_set
        for candidate, arrays in zip(one.candidates, one.arrays, strict=True):
            for k in range(len(arrays["quality"])):
                target = ("", "")
                if evaluation_set.target is not None and candidate.name != REAL:
                    expression, lighting = evaluation_set.target[k]
                    target = evaluation_set.classes.expressions[expression], evaluation_set.classes.lighting_names[lighting]
                values = ("" if np.isnan(arrays[name][k]) else f"{arrays[name][k]:.6g}" for name in IMAGE_METRICS)
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
        return f"{name}{equals}{Path(place).name}" if Path(place).is_absolute() or is_address(place) else word

    return {key: plain(value) for key, value in asdict(settings).items()}
