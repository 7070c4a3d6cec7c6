"""What every training verb does once its config stands: train, or only rehearse, and write the result at the end."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from legan.train.loop import Build, ConfigT, Outcome, Rehearsal, rehearse, run_task


def full_paths(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return folders as a config holds them: a run goes on wherever it is continued from."""
    return tuple(str(Path(folder).resolve()) for folder in folders)


def on_folders(config: Any, folders: Sequence[Path]) -> Any:
    """Return the config with `folders` as its `data.folders`; without any, as it is."""
    return replace(config, data=replace(config.data, folders=full_paths(folders))) if folders else config


def start(
    build: Build[ConfigT],
    config: ConfigT,
    run: Path,
    devices: int = 1,
    dry_run: bool = False,
    export: Callable[[Path], object] | None = None,
) -> Outcome | Rehearsal:
    """Train in a run folder, or continue the training that it holds.

    Args:
        build, config, run, devices: as for `run_task`.
        dry_run: build everything, time a few steps, write nothing.
        export: called with the run folder when the training is finished.

    Raises:
        LeganError: as `run_task`.
    """
    if dry_run:
        return rehearse(build, config, devices)
    outcome = run_task(build, config, run, devices)
    if outcome.finished and export is not None:
        export(outcome.run)
    return outcome
