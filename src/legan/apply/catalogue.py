"""What there is to choose from: presets with their cost, and the weights that come with the package."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from legan.core.weights import ASSETS, load_metadata
from legan.models.summary import summary
from legan.train.init import total_steps

# What a list of weights shows of each file's metadata: steps and images of all trainings that led to it.
SHOWN = ("steps", "images_seen", "data", "licence")


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Return presets (parameters and GFLOP an image, counted on the networks) and packaged weights (size and metadata)."""
    return {"presets": [dict(row) for row in summary()], "weights": packaged_weights()}


def packaged_weights() -> list[dict[str, Any]]:
    """Return what `describe_weights` says of each packaged weights file."""
    return [describe_weights(path) for path in sorted((ASSETS / "weights").glob("*.safetensors"))]


def describe_weights(path: Path) -> dict[str, Any]:
    """Return name, bytes and, where the file says them, steps, images_seen, data and licence; None where it does not.

    `steps` counts all trainings that led to the file, and `n_steps_last` the last of them, for files that tell no more.
    """
    metadata = load_metadata(path)
    facts = {key: metadata.get(key) for key in SHOWN}
    total = {"steps": total_steps(metadata), "n_steps_last": metadata.get("steps")}
    return {"name": path.stem, "n_bytes": path.stat().st_size, **facts, **total}


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return what `catalogue` gave as text for people."""
    presets = Table("preset", "network", "parameters", "GFLOP an image", title="presets", title_justify="left")
    for row in found["presets"]:
        presets.add_row(row["preset"], row["network"], f"{row['n_parameters']:,}", f"{row['gflop_per_image']:.2f}")
    weights = Table("weights", "MB", *(key.replace("_", " ") for key in SHOWN), title="packaged weights", title_justify="left")
    for row in found["weights"]:
        shown = [_steps_in_words(row), *(_in_words(row[key]) for key in SHOWN[1:])]
        weights.add_row(row["name"], f"{row['n_bytes'] / 1e6:.1f}", *map(escape, shown))
    console = Console()
    with console.capture() as text:
        console.print(presets, weights)
    return text.get().rstrip()


def _steps_in_words(row: dict[str, Any]) -> str:
    if row["steps"] is None and isinstance(row["n_steps_last"], int):
        return f"{row['n_steps_last']:,} in its last training; the file does not tell those before"
    return _in_words(row["steps"] if row["steps"] is not None else row["n_steps_last"])


def _in_words(fact: Any) -> str:
    """A metadata entry in a cell of a table; one of several facts as `name value, name value`."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_in_words(value)}" for name, value in fact.items())
    if isinstance(fact, list):
        return ", ".join(map(_in_words, fact))
    if isinstance(fact, int):
        return f"{fact:,}"
    return "-" if fact is None else str(fact)
