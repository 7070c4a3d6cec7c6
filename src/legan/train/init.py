"""Weights that a training starts from (`init`, fine-tuning), and what its exported result says of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from legan.core.files import sha256_of
from legan.core.weights import PACKAGED, load_metadata


def init_path(path: Path) -> Path:
    """Return a weights file as a config holds it: absolute, so that a run goes on wherever it is continued from; `packaged` as it is."""
    return path if str(path) == PACKAGED else path.resolve()


def describe_init(path: Path) -> dict[str, Any]:
    """Return what the result of a fine-tuning keeps of the weights file it started from.

    `file` name, `sha256`, `data`, `licence`, and `steps` and `images_seen` of all trainings that led to it: None where the file does
    not say.
    """
    metadata = load_metadata(path)
    words = {key: metadata.get(key) for key in ("data", "licence")}
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        **words,
        "steps": total_steps(metadata),
        "images_seen": metadata.get("images_seen"),
    }


def total_steps(metadata: Mapping[str, Any]) -> int | None:
    """Return the steps of all trainings that led to a weights file, from its metadata; None where it does not tell all of them."""
    steps = metadata.get("steps")
    started_from = metadata.get("init") or (metadata.get("training") or {}).get("init")
    before = metadata.get("n_steps_before", None if started_from else 0)
    return steps + before if isinstance(steps, int) and isinstance(before, int) else None


def training_length(n_steps: int, batch_size: int, init: Mapping[str, Any] | None) -> dict[str, int | None]:
    """Return the metadata `steps` (of this training), `n_steps_before` (of those it builds on) and `images_seen` (in all of them).

    Args:
        n_steps: steps of this training.
        batch_size: images of a step.
        init: as `describe_init` gives it; None for random weights.
    """
    before, seen = (init["steps"], init["images_seen"]) if init else (0, 0)
    n_images = None if seen is None else seen + n_steps * batch_size
    return {"steps": n_steps, "n_steps_before": before, "images_seen": n_images}


def join_licences(licences: Iterable[str | None]) -> str:
    """Return licences, each perhaps several with commas, as one list in alphabetical order: a result bears them all."""
    return ", ".join(sorted({part for licence in licences if licence for part in licence.split(", ")}))
