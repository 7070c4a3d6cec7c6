"""`legan synthesize`: the planned images, made in shards, resumable."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from legan.core.config import parse_json
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.files import sha256_of
from legan.core.images import png_bytes
from legan.core.weights import PACKAGED, load_metadata, load_weights, packaged, save_weights
from legan.core.workers import Progress
from legan.data.manifest import MANIFEST, QUALITY_COLUMNS, image_names, write_manifest
from legan.data.shards import SETTINGS, ShardJob, ShardMaker, ShardWriter, open_set_folder
from legan.requests import SynthesisRequest
from legan_faces3d.fakes.eigenfaces import FaceModel, fit_model
from legan_faces3d.fakes.images import Catalogue, EditorFile, PlannedImage
from legan_faces3d.fakes.make import Makers
from legan_faces3d.fakes.plan import Drawing, draw_plan
from legan_faces3d.render.dataset import RENDER_VERSION

# `legan synthesize`: builds a data set folder of images to rate; run again, it continues.
#
# The plan is drawn anew each time and is the same for the same folders and seed. Its images are made in shards, written whole or
# not at all; the manifest comes last.


VERSION = 1  # raised when the images change, so that a resumed folder never mixes two looks
_MODEL = "face-model.safetensors"
_GROUPS_OF_SHARD = {"graded": 30}
_GROUPS = 60  # of other kinds
_N_MODEL_FACES = 500


def synthesize(request: SynthesisRequest, out: Path, n_workers: int = 1, progress: Progress | None = None) -> dict[str, Any]:
    """Build a set of images to rate, or what is missing of it.

    Args:
        request: what to build.
        out: the data set folder; made when missing.
        n_workers: processes.
        progress: called with images done and images in all.

    Returns:
        `manifest` and counts: `n_images`, `by_kind` {kind: {split: n}}, `by_setting`, `by_degradation`, `held_out`.

    Raises:
        ConfigError: a number out of range, or an unknown kind.
        DataError: folders that cannot be used, or `out` holds something else or a set of another request.
        LeganError: the disk is full, or a process was killed.
    """
    if n_workers < 1 or request.seed < 0:
        raise ConfigError("workers must be at least 1 and the seed at least 0")
    folders, kinds = (*request.renders, *request.photos), tuple(request.kinds.split(","))
    if not folders:
        raise DataError("no faces: name a data set folder with --renders, such as `legan render` makes")
    out = Path(out)
    catalogue = Catalogue(folders)
    editors = find_editors(request.editors) if "edit" in kinds else []
    drawing = Drawing(catalogue, editors, request.seed)
    groups = draw_plan(drawing, request.n, kinds)
    with open_set_folder(out, _settings(request, folders, editors, groups), derived={_MODEL}) as builder:
        if "sample" in kinds:
            _make_model(out / _MODEL, catalogue, request.seed)
        jobs = _jobs(groups)
        paths = {editor.setting: editor.path for editor in editors}
        # The slowest first, so that no process is left alone with one at the end.
        slow_first = sorted(jobs, key=lambda job: job.content[0][0].kind != "graded")
        builder.make(slow_first, partial(build_makers, folders, paths, out / _MODEL), n_workers, progress)
        rows = _named([row for job in jobs for row in builder.record(job.name).rows])
        manifest = write_manifest(rows, out, QUALITY_COLUMNS)
        return {"manifest": str(manifest), **counts(rows), "held_out": _held_out(drawing, kinds)}


def _settings(
    request: SynthesisRequest, folders: Sequence[Path], editors: Sequence[EditorFile], groups: Iterable[Iterable[PlannedImage]]
) -> dict[str, Any]:
    """What every image depends on, without this machine's paths."""
    plan = [[asdict(image) for image in group] for group in groups]
    return {
        "version": VERSION,
        "render_version": RENDER_VERSION,
        "n": request.n,
        "seed": request.seed,
        "kinds": request.kinds.split(","),
        "folders": [{"name": Path(folder).resolve().name, "sha256": sha256_of(Path(folder) / MANIFEST)} for folder in folders],
        "editors": [{"setting": editor.setting, "sha256": sha256_of(Path(editor.path))} for editor in editors],
        "plan": hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest(),
    }


def _make_model(path: Path, catalogue: Catalogue, seed: int) -> None:
    """Learns the face model from training people, unless it is there already."""
    if path.exists():
        return
    import torch

    random = np.random.default_rng([seed, 2])
    train = [number for number, row in enumerate(catalogue.rows) if row["split"] == "train"]
    photos = random.permutation([number for number in train if catalogue.rows[number]["domain"] != "render"])
    renders = random.permutation([number for number in train if catalogue.rows[number]["domain"] == "render"])
    chosen = np.concatenate([photos[: _N_MODEL_FACES // 2], renders])[:_N_MODEL_FACES].astype(int)
    model = fit_model(np.stack([catalogue.image(i) for i in chosen]), np.stack([catalogue.points(i) for i in chosen]))
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in vars(model).items()}
    save_weights(path, tensors, {"model": "active-appearance", "n_faces": len(chosen), "seed": seed})


def _jobs(groups: Iterable[list[PlannedImage]]) -> list[ShardJob]:
    """Groups of one kind together; edits and grades in the order of their settings, which are slow to change."""
    by_kind: dict[str, list[list[PlannedImage]]] = {}
    for group in groups:
        by_kind.setdefault(group[0].kind, []).append(group)
    by_kind.get("edit", []).sort(key=lambda group: group[0].setting)
    jobs = []
    for kind, of_kind in by_kind.items():
        n = _GROUPS_OF_SHARD.get(kind, _GROUPS)
        for number, start in enumerate(range(0, len(of_kind), n)):
            chosen = of_kind[start : start + n]
            jobs.append(ShardJob(f"{kind}-{number:03d}", chosen, sum(map(len, chosen))))
    return jobs


def build_makers(folders: Sequence[Path], editors: Mapping[str, str], model: Path) -> ShardMaker:
    """A worker's maker of shards: the faces, and the face model where there is one."""
    learned = None
    if model.exists():
        tensors, _ = load_weights(model)
        learned = FaceModel(**{name: tensor.numpy() for name, tensor in tensors.items()})
    makers = Makers(Catalogue(folders), editors, learned, [_set_seed(folder) for folder in folders])
    return partial(make_fakes, makers)


def make_fakes(makers: Makers, groups: Sequence[Sequence[PlannedImage]], shard: ShardWriter) -> None:
    """Fill a shard with the planned images."""
    for image, pixels in makers.make(groups):
        shard.add_image(image.name, png_bytes(pixels), _facts(image))


def _set_seed(folder: Path) -> int | None:
    """The seed that `legan render` was given for a folder of crops of this version, or None."""
    path = Path(folder) / SETTINGS
    if not path.is_file():
        return None
    try:
        settings = dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read: make the data set again") from error
    alike = settings.get("view") == "crop" and settings.get("version") == RENDER_VERSION
    return settings.get("seed") if alike else None


def _facts(image: PlannedImage) -> dict[str, Any]:
    """An image's row of the manifest, but for its place."""
    return {
        **image.facts,
        "kind": image.kind,
        "setting": image.setting,
        "fault": image.fault,
        "degradation": image.degradation,
        "strength": image.strength,
        "reference": image.reference,
        "naturalness_distance": float("nan"),
    }


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their references as names of images in the set."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    names = dict(zip(frame["key"], image_names(frame), strict=True))
    return [row | {"reference": names[row["reference"]] if row["reference"] else ""} for row in rows]


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers of images: in all, by kind and split, by setting, and by degradation."""
    by_kind: dict[str, Counter[str]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], Counter())[row["split"]] += 1
    return {
        "n_images": len(rows),
        "by_kind": {kind: dict(found) for kind, found in by_kind.items()},
        "by_setting": dict(sorted(Counter(row["setting"] for row in rows).items())),
        "by_degradation": dict(sorted(Counter(row["degradation"] for row in rows).items())),
    }


def _held_out(drawing: Drawing, kinds: Sequence[str]) -> list[str]:
    return sorted(f"{kind}/{name}" for kind in kinds for name in drawing.held_out[kind])


def in_words(found: Mapping[str, Any]) -> str:
    """What `synthesize` returned, as lines of text."""
    lines = [f"{'kind':<10}{'train':>8}{'val':>8}{'test':>8}{'all':>8}"]
    for kind, splits in found["by_kind"].items():
        parts = [splits.get(split, 0) for split in ("train", "val", "test")]
        lines.append(f"{kind:<10}" + "".join(f"{count:>8}" for count in (*parts, sum(parts))))
    degraded = {name: count for name, count in found["by_degradation"].items() if name != "none"}
    lines += [
        f"{found['n_images']} images, of which degraded: {', '.join(f'{name} {count}' for name, count in degraded.items())}",
        f"settings in the test split only: {', '.join(found['held_out'])}",
        found["manifest"],
    ]
    return "\n".join(lines)


# Editors for GAN edits: snapshots of one editor along its training, or the packaged one.


_FIRST_FAULT, _LAST_FAULT = 1.0, 0.3  # by design, of the first snapshot and the last


def find_editors(folder: Path | None) -> list[EditorFile]:
    """Return the editors of a folder by their steps of training, read from a file's metadata or else its name; None is the packaged one.

    Faults fall with the logarithm of the steps, as training gains most at its beginning.

    Raises:
        DataError: the folder holds no weights, or two of one number of steps.
        WeightsError: a file that is not an editor's weights, or gives no number of steps.
    """
    if folder is not None and str(folder) == PACKAGED:
        folder = None
    if folder is not None and not Path(folder).is_dir():
        raise DataError(f"{folder} is not a folder: name one with editors that `legan export` wrote (.safetensors)")
    paths = [packaged("editor")] if folder is None else sorted(Path(folder).glob("*.safetensors"))
    if not paths:
        raise DataError(f"{folder} holds no editors: put files there that `legan export` wrote (.safetensors)")
    steps = [_steps(path) for path in paths]
    if len(set(steps)) != len(steps):
        raise DataError(f"two editors in {folder} have {max(s for s in steps if steps.count(s) > 1)} steps: keep one of them")
    order = sorted(range(len(paths)), key=lambda i: steps[i])
    faults = _faults([steps[i] for i in order])
    return [EditorFile(str(paths[i]), f"step{steps[i]:05d}", fault) for i, fault in zip(order, faults, strict=True)]


def _steps(path: Path) -> int:
    metadata = load_metadata(path)
    if "generator" not in metadata:
        raise WeightsError(f"{path} holds no editor: give a file that `legan export` wrote")
    if isinstance(metadata.get("steps"), int):
        return metadata["steps"]
    found = re.findall(r"\d+", path.stem)
    if not found:
        raise WeightsError(f"{path} does not say how many steps it was trained: put the number into its name")
    return int(found[-1])


def _faults(steps: Sequence[int]) -> list[float]:
    logs = [math.log(1 + step) for step in steps]
    width = max(logs[-1] - logs[0], 1e-9)
    return [_LAST_FAULT + (_FIRST_FAULT - _LAST_FAULT) * (logs[-1] - log) / width for log in logs]
