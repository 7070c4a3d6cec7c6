"""The run folder: config, checkpoints, and the weights that a training starts from."""

import hashlib
import io
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from legan.core.config import config_to_dict, read_toml, write_config
from legan.core.errors import ConfigError, LeganError, WeightsError
from legan.core.files import LOCK, atomic_write, held, make_folder, sha256_of
from legan.core.weights import PACKAGED, QUALITY_MODELS, load_metadata
from legan.train.config import parse_config
from legan.train.task import Task

# The folder of a run: `config.toml`, `log.jsonl`, `samples/`, `checkpoints/` and TensorBoard's events.


CONFIG = "config.toml"
LENGTH = "loop.n_steps"
# What may differ when a run is continued: its length, and what changes no weight, or only by rounding.
FREE_KEYS = (
    LENGTH,
    "loop.log_every",
    "loop.sample_every",
    "loop.checkpoint_every",
    "loop.checkpoint_minutes",
    "loop.n_checkpoints",
    "loop.n_workers",
    "loop.accumulate",
    "loop.compile",
)


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
        _check_changes(run, differing_keys(config_to_dict(parse_config(type(config), read_toml(path))), config_to_dict(config)))
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
    differing: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differing |= differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            differing[f"{prefix}{key}"] = (a, b)
    return differing


@contextmanager
def held_run(run: Path) -> Iterator[None]:
    """Hold the run folder for this process; the hold ends with the process, however it ends.

    Raises:
        LeganError: another process trains in this folder.
    """
    with held(Path(run) / LOCK, f"another process is training in {run}: wait for it, stop it, or choose another folder"):
        yield


# Checkpoints of a run: `checkpoints/step_000500.pt`, written whole or not at all, the last ones kept.
#
# They are read with `weights_only=True`: a file from elsewhere can run no code. A checkpoint is what `torch.save` writes, a ZIP archive,
# and its SHA-256 stands in the archive's comment: a file that was cut off or overwritten is recognised, wherever the fault is.


FOLDER = "checkpoints"
FORMAT = 1
NETWORKS = {"average": "ema"}  # names of networks in checkpoints of earlier versions -> names of today
CHUNK_BYTES = 1 << 20
# What torch.load and zipfile raise on files without a seal that were cut off, overwritten or are no checkpoints at all.
_DAMAGED = (
    RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OSError, AssertionError,
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error,
)  # fmt: skip
_END = b"PK\x05\x06"  # begins the last record of a ZIP archive, 22 bytes without its comment, the last two its length
_N_END = 22
_SEAL = b"legan-sha256:"  # begins the comment
_N_SEAL = len(_SEAL) + 64


def task_state(task: Task, n_steps_done: int) -> dict[str, Any]:
    """Return everything of a task that changes over time, as `torch.save` stores it."""
    return {
        "format": FORMAT,
        "n_steps_done": n_steps_done,
        "networks": {name: net.state_dict() for name, net in task.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
        "extra": task.extra_state(),
    }


def load_task_state(task: Task, state: Mapping[str, Any]) -> int:
    """Put a state back into a task built from the same config, and return the number of steps done.

    Raises:
        WeightsError: the state belongs to other networks.
    """
    try:
        for name, net in task.networks.items():
            net.load_state_dict(state["networks"][name])
        for name, optimizer in task.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        extra, n_steps_done = state["extra"], int(state["n_steps_done"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"the checkpoint does not fit these networks ({reason}): start a new run folder") from error
    task.load_extra_state(extra)
    return n_steps_done


def save_checkpoint(task: Task, run: Path, n_steps_done: int, n_kept: int = 2) -> Path:
    """Write a checkpoint atomically, then delete all but the `n_kept` newest and those of later steps, and return its path.

    Raises:
        LeganError: the disk is full or cannot be written; the message names the last good checkpoint, which stays.
    """
    folder = make_folder(Path(run) / FOLDER)
    path = folder / f"step_{n_steps_done:06d}.pt"
    buffer = io.BytesIO()
    torch.save(task_state(task, n_steps_done), buffer)
    _seal(buffer)
    try:
        with atomic_write(path) as file, buffer.getbuffer() as data:
            for start in range(0, len(data), CHUNK_BYTES):
                file.write(data[start : start + CHUNK_BYTES])
    except LeganError as error:
        kept = list_checkpoints(run)
        last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no earlier checkpoint"
        raise LeganError(f"{error} (the checkpoint takes {buffer.tell() / 1e6:.0f} MB; {last})") from error
    paths = list_checkpoints(run)
    at = paths.index(path) + 1
    for old in (*paths[: max(0, at - n_kept)], *paths[at:]):  # later ones could not be read: this run went on without them
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run by step, the newest last."""
    paths = [p for p in (Path(run) / FOLDER).glob("step_*.pt") if re.fullmatch(r"step_\d+\.pt", p.name)]
    return sorted(paths, key=lambda path: int(path.stem.removeprefix("step_")))


def remove_leftovers(run: Path) -> None:
    """Delete half-written temporary files that a killed process left. Only the holder of the run may call it."""
    for path in (Path(run) / FOLDER).glob(".step_*.tmp"):
        path.unlink(missing_ok=True)


def newest_checkpoint(run: Path) -> dict[str, Any] | None:
    """Read the newest readable checkpoint of a run onto the CPU; None when the run has none yet. Damaged files are named on stderr.

    Raises:
        WeightsError: there are checkpoints and all are damaged.
        LeganError: a file that may be whole cannot be read.
    """
    paths = list_checkpoints(run)
    for path in reversed(paths):
        state = _read(path)
        if state is not None:
            return state
        print(f"warning: skipping damaged checkpoint {path}", file=sys.stderr)
    if paths:
        raise WeightsError(f"no checkpoint in {Path(run) / FOLDER} can be read: delete that folder to start the run afresh")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file, or None where it is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LeganError(
            f"cannot read {path} ({error.strerror or error}): make it readable and run the same command again"
        ) from error
    if not is_whole(data):
        return None
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _DAMAGED:
        return None
    has_parts = isinstance(state, dict) and state.get("format") == FORMAT and isinstance(state.get("n_steps_done"), int)
    return _of_today(state) if has_parts else None


def _of_today(state: dict[str, Any]) -> dict[str, Any]:
    """A state with the names of networks that it would have now."""
    networks = state.get("networks")
    if not isinstance(networks, dict):
        return state
    return {**state, "networks": {NETWORKS.get(name, name): weights for name, weights in networks.items()}}


def _seal(buffer: io.BytesIO) -> None:
    """Write the SHA-256 of an archive into its comment, which readers of ZIP archives pass over."""
    buffer.seek(-_N_END, io.SEEK_END)
    assert buffer.read(len(_END)) == _END, "torch.save writes an archive without a comment"
    buffer.seek(-2, io.SEEK_END)
    buffer.write(_N_SEAL.to_bytes(2, "little"))
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(_SEAL + digest.encode())


def is_whole(data: bytes) -> bool:
    """Whether a checkpoint is as it was written. Those of earlier versions have no seal: the archive's own checksums decide."""
    if data[-_N_SEAL : -_N_SEAL + len(_SEAL)] == _SEAL:
        return hashlib.sha256(memoryview(data)[:-_N_SEAL]).hexdigest().encode() == data[-_N_SEAL + len(_SEAL) :]
    if data[-_N_END : -_N_END + len(_END)] != _END or data[-2:] != b"\0\0":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except _DAMAGED:
        return False


# Weights that a training starts from (`init`, fine-tuning), and what its exported result says of them.


def init_path(path: Path) -> Path:
    """Return a weights file as a config holds it: absolute, so that a run continues from any folder; names such as `packaged` stay."""
    return path if str(path) in (PACKAGED, *QUALITY_MODELS) else path.resolve()


def describe_init(path: Path) -> dict[str, Any]:
    """Return what the result of a fine-tuning keeps of the weights file it started from.

    `file` name, `sha256`, `data`, `licence`, and `steps` and `images_seen` of all trainings that it comes from: None where the file
    does not say.
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
    """Return the steps of all trainings that wrote a weights file, from its metadata; None where some are not recorded."""
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
