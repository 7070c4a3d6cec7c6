"""The rendered set: a data set folder of seeded people under every expression and lighting.

One tar shard an identity, written whole or not at all; a run that was stopped continues with the shards that are missing. Every
image depends on the set's seed and its own place only, so neither the number of workers nor a later, larger run changes a byte.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ConfigError
from legan.core.images import png_bytes
from legan.core.workers import Progress
from legan.data.manifest import MATTE_COLUMNS, matte_columns, split_of, write_manifest
from legan.data.shards import ShardJob, ShardMaker, ShardWriter, open_set_folder
from legan_faces3d.render.renderer import Renderer, View

RENDER_VERSION = 3  # raised when the images change, so that a resumed folder never mixes two looks
SOURCE, LICENCE = "rendered set", "CC0-1.0"


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
        progress: called with (identities done, identities in all), first with those that are there already.
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
    jobs = [ShardJob(identity_name(index), index) for index in range(n_identities)]
    with open_set_folder(out, asdict(settings)) as builder:
        builder.make(jobs, partial(build_renderer, settings), n_workers, progress, apart=True)
        # The shard of a person is the same in a set of any size; the split is not, in sets of a few.
        rows = [{**row, "split": split_of(job.content, n_identities)} for job in jobs for row in builder.record(job.name).rows]
        return write_manifest(rows, out, MATTE_COLUMNS)


def build_renderer(settings: SetSettings) -> ShardMaker:
    """A worker's maker; loading the head model takes seconds."""
    return partial(render_identity, Renderer(settings.size, settings.samples_per_axis), settings)


def render_identity(renderer: Renderer, settings: SetSettings, index: int, shard: ShardWriter) -> None:
    """Render one identity of a set into its shard: `expression/lighting.png`, and a matte for each expression."""
    for expression in EXPRESSIONS:
        rendering = renderer.render(identity_seed(settings.seed, index), expression, View(settings.view))
        landmarks = [round(float(value), 3) for value in rendering.landmarks.ravel()]
        matte = matte_columns(shard.add(f"{expression}/matte.png", png_bytes(rendering.matte)))
        for image, lighting in zip(rendering.images, rendering.lightings, strict=True):
            facts = {
                "identity": identity_name(index),
                "expression": expression,
                "lighting": lighting,
                "domain": "render",
                "split": split_of(index),
                "source": f"{SOURCE}, seed {settings.seed}",  # people of two seeds share names, and nothing else
                "licence": LICENCE,
                "landmarks": landmarks,
            }
            shard.add_image(f"{expression}/{lighting}.png", png_bytes(image), {**facts, **matte})
