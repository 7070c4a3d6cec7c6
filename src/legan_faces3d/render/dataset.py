"""The rendered set: a data set folder of seeded people under every expression and lighting.

One tar shard an identity, written whole or not at all; a run that was stopped continues with the shards that are missing. Every
image depends on the set's seed and its own place only, so neither the number of workers nor a later, larger run changes a byte.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import Any

import numpy as np

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConfigError
from legan.core.images import png_bytes
from legan.core.workers import run_jobs
from legan.data.manifest import MATTE_COLUMNS, ManifestRow, ShardWriter, matte_columns, read_record, split_of, write_manifest
from legan.data.shards import SHARDS, open_set_folder
from legan_faces3d.render.renderer import Renderer, View

RENDER_VERSION = 3  # raised when the images change, so that a resumed folder never mixes two looks
SOURCE, LICENCE = "rendered set", "CC0-1.0"
_ROWS = "rows.json"

Progress = Callable[[int, int], None]  # identities done, identities in all


@dataclass(frozen=True)
class SetSettings:
    """What every image of a set depends on."""

    seed: int
    view: str
    size: int | None
    samples_per_axis: int
    version: int = RENDER_VERSION


def identity_name(index: int) -> str:
    return f"r{index:06d}"


def identity_seed(set_seed: int, index: int) -> int:
    """Seed of one person; far apart for neighbours, so that two sets share nobody."""
    return int(np.random.SeedSequence([set_seed, index]).generate_state(1)[0])


def render_set(
    out: Path,
    n_identities: int,
    n_workers: int = 1,
    seed: int = 0,
    view: View = View.CROP,
    progress: Progress | None = None,
    *,
    size: int | None = None,
    samples_per_axis: int = 2,
) -> Path:
    """Renders a data set folder, or what is missing of it.

    Args:
        out: the folder; made when missing.
        n_identities: people; a larger number later adds to the same folder.
        n_workers: processes of one thread each.
        progress: called with (identities done, identities in all), first with those found on disk.
        size: pixels a side; None takes the view's own.

    Returns:
        the path of the manifest.

    Raises:
        ConfigError: a number is out of range.
        DataError: the folder holds something else, was made with other settings, or has a damaged shard.
        LeganError: the extra `render` is missing, the disk is full, or a worker died.
    """
    for name, value, least in (("identities", n_identities, 1), ("workers", n_workers, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, not {value}")
    settings = SetSettings(seed, View(view).value, size, samples_per_axis)
    with open_set_folder(Path(out), asdict(settings)):
        shards = {index: _shard_path(Path(out), index) for index in range(n_identities)}
        missing = [index for index, path in shards.items() if not path.exists()]
        n_done = n_identities - len(missing)
        if progress:
            progress(n_done, n_identities)
        jobs = [(shards[index], index) for index in missing]
        # One loads the head model at a time, as the first load ever fills anny's cache.
        start = (multiprocessing.get_context("spawn").Lock(), settings)
        for _ in run_jobs(_render_shard, jobs, n_workers, _start_worker, start, apart=True):
            n_done += 1
            if progress:
                progress(n_done, n_identities)
        # The shard of a person is the same in a set of any size; the split is not, in sets of a few.
        rows = [
            {**row, "split": split_of(index, n_identities)}
            for index, path in shards.items()
            for row in read_record(path, _ROWS)
        ]
        return write_manifest(rows, Path(out), MATTE_COLUMNS)


def _shard_path(out: Path, index: int) -> Path:
    return out / SHARDS / f"{identity_name(index)}.tar"


class _Worker:
    """State of one worker process."""

    lock: Lock
    settings: SetSettings
    renderer: Renderer | None = None


def _start_worker(lock: Lock, settings: SetSettings) -> None:
    _Worker.lock, _Worker.settings = lock, settings


def _render_shard(job: tuple[Path, int]) -> None:
    """Runs in a worker."""
    path, index = job
    settings = _Worker.settings
    if _Worker.renderer is None:
        with _Worker.lock:  # here and not at the start, so that an error reaches the caller
            _Worker.renderer = Renderer(settings.size, settings.samples_per_axis)
    write_shard(_Worker.renderer, path, settings.seed, index, View(settings.view))


def write_shard(renderer: Renderer, path: Path, set_seed: int, index: int, view: View) -> None:
    """Renders one identity of a set into a tar: `expression/lighting.png`, and `rows.json` for the manifest."""
    rows: list[dict[str, Any]] = []
    with ShardWriter(path) as shard:
        for expression in EXPRESSIONS:
            rendering = renderer.render(identity_seed(set_seed, index), expression, view)
            landmarks = [round(float(value), 3) for value in rendering.landmarks.ravel()]
            matte = matte_columns(shard.add(f"{expression}/matte.png", png_bytes(rendering.matte)))
            for image, lighting in zip(rendering.images, rendering.lightings, strict=True):
                key, data = f"{expression}/{lighting}.png", png_bytes(image)
                offset, n_bytes = shard.add(key, data)
                row = ManifestRow(
                    path=f"{SHARDS}/{path.name}",
                    offset=offset,
                    n_bytes=n_bytes,
                    key=key,
                    identity=identity_name(index),
                    expression=expression,
                    lighting=lighting,
                    domain="render",
                    split=split_of(index),
                    source=f"{SOURCE}, seed {set_seed}",  # people of two seeds share names, and nothing else
                    licence=LICENCE,
                    sha256=hashlib.sha256(data).hexdigest(),
                    alignment=None,
                    landmarks=landmarks,
                )
                rows.append({**row, **matte})
        shard.add(_ROWS, json.dumps(rows).encode())
