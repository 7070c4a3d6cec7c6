"""The folder of a run: `config.toml`, `log.jsonl`, `samples/`, `checkpoints/` and TensorBoard's events."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from legan.core.config import config_to_dict, load_config, write_config
from legan.core.errors import ConfigError
from legan.core.files import make_folder
from legan.core.lock import LOCK, held

CONFIG = "config.toml"
LENGTH = "loop.n_steps"
# What may differ when a run is continued: its length, and what changes no weight.
FREE_KEYS = (
    LENGTH,
    "loop.log_every",
    "loop.sample_every",
    "loop.checkpoint_every",
    "loop.checkpoint_minutes",
    "loop.n_checkpoints",
    "loop.n_workers",
)


@dataclass(frozen=True)
class LoopConfig:
    """What every training has, whatever the model.

    Args:
        seed: of all random numbers.
        n_steps: length of the training.
        log_every: steps between lines of `log.jsonl`.
        sample_every: steps between pictures of samples, and between evaluations.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: a checkpoint is also written when the last one is this old.
        n_checkpoints: checkpoints kept.
        n_workers: processes that prepare batches; 0 prepares them in the training process.
    """

    seed: int = 0
    n_steps: PositiveInt = 1000
    log_every: PositiveInt = 20
    sample_every: PositiveInt = 250
    checkpoint_every: PositiveInt = 250
    checkpoint_minutes: PositiveFloat = 5.0
    n_checkpoints: PositiveInt = 2
    n_workers: NonNegativeInt = 0


def open_run(run: Path, config: Any) -> None:
    """Create the run folder and write the config into it; for a run that has begun, check that no more than `FREE_KEYS` differ.

    `loop.n_steps` may grow, even when the run is finished: it goes on from its last checkpoint, with schedules of the new length.

    Raises:
        ConfigError: the folder holds a run whose config differs in what cannot change (the message names those keys), or other files.
        LeganError: the folder cannot be written.
    """
    path = make_folder(run) / CONFIG
    # Neither a checkpoint nor weights: nothing was trained, perhaps as the config was wrong or the loss not finite.
    has_begun = any(p.suffix in (".pt", ".safetensors") for p in Path(run).rglob("*"))
    if not path.exists() and has_begun:
        raise ConfigError(f"{run} holds a run without {CONFIG}: choose another folder")
    if has_begun:
        _check_changes(run, differing_keys(config_to_dict(load_config(type(config), path)), config_to_dict(config)))
    write_config(config, path)


def _check_changes(run: Path, differing: Mapping[str, tuple[Any, Any]]) -> None:
    fixed = {key: change for key, change in differing.items() if key not in FREE_KEYS}
    if fixed:
        words = ", ".join(f"{key} (there {old!r}, now {new!r})" for key, (old, new) in fixed.items())
        raise ConfigError(
            f"{run} holds a run with another config, and this cannot change: {words}; choose another folder, or the same settings "
            f"({', '.join(FREE_KEYS)} may change)"
        )
    old, new = differing.get(LENGTH, (0, 0))
    if new < old:
        raise ConfigError(
            f"{run} holds a run of {old} steps, and {LENGTH} may grow but not shrink to {new}: give {old} or more"
        )


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return dotted key to (old, new) value of all leaves that differ between two nested mappings."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            found[f"{prefix}{key}"] = (a, b)
    return found


@contextmanager
def held_run(run: Path) -> Iterator[None]:
    """Hold the run folder for this process; the hold ends with the process, however it ends.

    Raises:
        LeganError: another process trains in this folder.
    """
    with held(Path(run) / LOCK, f"another process is training in {run}: wait for it, stop it, or choose another folder"):
        yield
