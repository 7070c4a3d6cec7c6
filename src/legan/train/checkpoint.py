"""Checkpoints of a run: `checkpoints/step_000500.pt`, written whole or not at all, the last ones kept.

They are read with `weights_only=True`: a file from elsewhere can run no code. A checkpoint is what `torch.save` writes, a ZIP archive,
and its SHA-256 stands in the archive's comment: one that was cut off or overwritten is told from a whole one, wherever the fault is.
"""

import hashlib
import io
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from legan.core.errors import LeganError, WeightsError
from legan.core.files import atomic_write, make_folder
from legan.train.task import Task

FOLDER = "checkpoints"
FORMAT = 1
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
    found = list_checkpoints(run)
    at = found.index(path) + 1
    for old in (*found[: max(0, at - n_kept)], *found[at:]):  # later ones could not be read: this run went on without them
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run by step, the newest last."""
    found = [p for p in (Path(run) / FOLDER).glob("step_*.pt") if re.fullmatch(r"step_\d+\.pt", p.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("step_")))


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
    return state if has_parts else None


def _seal(buffer: io.BytesIO) -> None:
    """Write the SHA-256 of an archive into its comment, which readers of ZIP archives pass over."""
    buffer.seek(-_N_END, io.SEEK_END)
    assert buffer.read(len(_END)) == _END, "torch.save writes an archive without a comment"
    buffer.seek(-2, io.SEEK_END)
    buffer.write(_N_SEAL.to_bytes(2, "little"))
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(_SEAL + digest.encode())


def is_whole(data: bytes) -> bool:
    """Whether a checkpoint's bytes are those that were written. Files of earlier versions have no seal: the archive's own sums tell."""
    if data[-_N_SEAL : -_N_SEAL + len(_SEAL)] == _SEAL:
        return hashlib.sha256(memoryview(data)[:-_N_SEAL]).hexdigest().encode() == data[-_N_SEAL + len(_SEAL) :]
    if data[-_N_END : -_N_END + len(_END)] != _END or data[-2:] != b"\0\0":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except _DAMAGED:
        return False
