"""Editors for GAN edits: snapshots of one editor along its training, or the packaged one."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from legan.apply.quality_images.pictures import EditorFile
from legan.core.errors import DataError, WeightsError
from legan.core.weights import PACKAGED, load_metadata, packaged

_FIRST_FAULT, _LAST_FAULT = 1.0, 0.3  # by design, of the first snapshot and the last


def find_editors(folder: Path | None) -> list[EditorFile]:
    """Return the editors of a folder by their steps, which a file's metadata or else its name tells; None is the packaged one.

    Faults fall with the logarithm of the steps, as training gains most at its beginning.

    Raises:
        DataError: the folder holds no weights, or two of one number of steps.
        WeightsError: a file that is no editor, or does not tell its steps.
    """
    if folder is not None and str(folder) == PACKAGED:
        folder = None
    if folder is not None and not Path(folder).is_dir():
        raise DataError(f"{folder} is no folder: name one with editors that `legan export` wrote (.safetensors)")
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
        raise WeightsError(f"{path} does not tell the steps that it was trained: put the number into its name")
    return int(found[-1])


def _faults(steps: Sequence[int]) -> list[float]:
    logs = [math.log(1 + step) for step in steps]
    width = max(logs[-1] - logs[0], 1e-9)
    return [_LAST_FAULT + (_FIRST_FAULT - _LAST_FAULT) * (logs[-1] - log) / width for log in logs]
