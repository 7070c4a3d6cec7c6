"""The images of a preference study, written from an evaluation: what people are shown, attention checks, and how many answers it takes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import norm

from legan.core.errors import ConfigError, DataError
from legan.core.files import make_folder, write_atomic
from legan.core.images import png_bytes
from legan.evaluation.measure import INPUT, Candidate, Predictor
from legan.evaluation.tasks import EvaluationSet

COMPARED, GOLD, POWER = "compared", "gold.csv", "power.csv"
MIN_MODELS, MAX_MODELS = 2, 4  # side by side on one page
CHECK_EVERY = 10  # items to one attention check
MIN_CHECKS = 3
SHARES, POWERS = (0.55, 0.6, 0.65, 0.7), (0.8, 0.9)
SIGNIFICANCE = 0.05
_BLOCKS = 12  # a side, of the spoiled images of attention checks
_INPUT_FOLDER = "input"


def write_study(
    folder: Path,
    evaluation_sets: Sequence[EvaluationSet],
    candidates: Sequence[Sequence[Candidate]],
    n_items: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """Write what `legan study create --kind preference` takes: the models' images of the same edits, under names that tell nothing.

    `compared/` gets a folder for each model and `input/` with the originals; `gold.csv` the right answers of the attention checks,
    items where one model's image is the unedited photo and the others' are in coarse blocks; `power.csv` how many answers tell a
    share of the picks from chance. Existing images are written again.

    Args:
        folder: where to.
        evaluation_sets: what is asked; items are their first edits, equally many of each.
        candidates: of each set; its models are compared.
        n_items: edits to show.
        device: where the networks run.

    Returns:
        `n_items`, `n_checks`, `models` and `answers`, as in power.csv.

    Raises:
        ConfigError, DataError: as `check_study`.
        LeganError: the folder cannot be written.
    """
    models = [candidate.name for candidate in candidates[0] if candidate.is_model]
    check_study(folder, models, n_items, len(evaluation_sets))
    compared = make_folder(folder / COMPARED)

    number, inputs = 0, []
    for asked, own, part in zip(
        evaluation_sets, candidates, np.array_split(np.arange(n_items), len(evaluation_sets)), strict=True
    ):
        questions = np.arange(min(len(part), len(asked)))
        for candidate in own:
            if candidate.is_model or candidate.name == INPUT:
                images, _ = Predictor(candidate, asked, device).predict(questions)
                place = _INPUT_FOLDER if candidate.name == INPUT else candidate.name
                inputs += list(images) if candidate.name == INPUT else []
                for k, image in enumerate(images):
                    _write(compared / place / f"{number + k + 1:04d}.png", image)
        number += len(questions)

    n_checks = max(MIN_CHECKS, number // CHECK_EVERY)
    lines = ["image,best"]
    for k in range(n_checks):
        image, best, name = inputs[(k * CHECK_EVERY) % number], models[k % len(models)], f"check-{k + 1:02d}"
        for model in models:
            _write(compared / model / f"{name}.png", image if model == best else in_blocks(image))
        _write(compared / _INPUT_FOLDER / f"{name}.png", image)
        lines.append(f"{name},{best}")
    write_atomic(folder / GOLD, ("\n".join(lines) + "\n").encode())
    answers = [
        {"share": share, "power": power, "answers": answers_needed(share, power)} for share in SHARES for power in POWERS
    ]
    table = ["share,power,answers", *(f"{row['share']},{row['power']},{row['answers']}" for row in answers)]
    write_atomic(folder / POWER, ("\n".join(table) + "\n").encode())
    return {"n_items": number, "n_checks": n_checks, "models": models, "answers": answers}


def check_study(folder: Path, models: Sequence[str], n_items: int, n_sets: int) -> None:
    """Check what a study is asked to compare, before anything is measured.

    Raises:
        ConfigError: not two to four models, one called as the originals' folder is, or fewer than one item of a data set.
        DataError: a folder that holds a study of other models.
    """
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        raise ConfigError(
            f"a preference study compares {MIN_MODELS} to {MAX_MODELS} models, not {len(models)}: name so many with --editor or --results"
        )
    if _INPUT_FOLDER in models:
        raise ConfigError(f"a model of a preference study cannot be called '{_INPUT_FOLDER}': name it otherwise, NAME=PATH")
    if n_items < n_sets:
        raise ConfigError(f"--study-items must be at least {n_sets}, one of each data set, not {n_items}")
    compared = folder / COMPARED
    others = sorted(path.name for path in compared.glob("*/") if path.name not in (*models, _INPUT_FOLDER))
    if others:
        raise DataError(f"{compared} holds images of {', '.join(others)}: name another folder with --study")


def answers_needed(share: float, power: float = 0.8, significance: float = SIGNIFICANCE) -> int:
    """Return how many independent answers tell a share of the picks between two models from one half, two-sided.

    By the normal approximation (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 2003, section 2.5). Answers of
    one rater resemble each other: with m of each and a correlation of r, multiply by 1 + (m - 1) r.

    Raises:
        ConfigError: a share that is one half or out of (0, 1).

    Example:
        >>> answers_needed(0.55), answers_needed(0.7)
        (783, 47)
    """
    if not 0 < share < 1 or share == 0.5:
        raise ConfigError(f"a share to tell from one half must lie in 0..1 and differ from 0.5, not {share:g}")
    z_alpha, z_beta = norm.ppf(1 - significance / 2), norm.ppf(power)
    return math.ceil(((z_alpha * 0.5 + z_beta * math.sqrt(share * (1 - share))) / (share - 0.5)) ** 2)


def in_blocks(image: np.ndarray) -> np.ndarray:
    """Return an image, uint8 (S, S, 3), in coarse blocks: what nobody who looks takes for the better one."""
    small = cv2.resize(image, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def _write(path: Path, image: np.ndarray) -> None:
    make_folder(path.parent)
    write_atomic(path, png_bytes(image))
