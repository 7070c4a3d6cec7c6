"""What there is to choose from: presets with their cost, and the weights that come with the package."""

from typing import Any

from rich.console import Console
from rich.table import Table

from legan.core.weights import ASSETS, load_metadata
from legan.models.summary import summary

# What a weights file's metadata may say that a list of weights shows.
SHOWN = ("steps", "data", "licence")


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Return presets (parameters and GFLOP an image, counted on the networks) and packaged weights (size and metadata)."""
    return {"presets": [dict(row) for row in summary()], "weights": packaged_weights()}


def packaged_weights() -> list[dict[str, Any]]:
    """Return name, bytes and, where the file says them, steps, data and licence of each packaged weights file."""
    rows = []
    for path in sorted((ASSETS / "weights").glob("*.safetensors")):
        metadata = load_metadata(path)
        rows.append({"name": path.stem, "n_bytes": path.stat().st_size, **{key: metadata.get(key) for key in SHOWN}})
    return rows


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return what `catalogue` gave as text for people."""
    presets = Table("preset", "network", "parameters", "GFLOP an image", title="presets", title_justify="left")
    for row in found["presets"]:
        presets.add_row(row["preset"], row["network"], f"{row['n_parameters']:,}", f"{row['gflop_per_image']:.2f}")
    weights = Table("weights", "MB", *SHOWN, title="packaged weights", title_justify="left")
    for row in found["weights"]:
        shown = (_in_words(row[key]) for key in SHOWN)
        weights.add_row(row["name"], f"{row['n_bytes'] / 1e6:.1f}", *shown)
    console = Console()
    with console.capture() as text:
        console.print(presets, weights)
    return text.get().rstrip()


def _in_words(fact: Any) -> str:
    """A metadata entry in a cell of a table; one of several facts as `name value, name value`."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_in_words(value)}" for name, value in fact.items())
    if isinstance(fact, list):
        return ", ".join(map(_in_words, fact))
    return "-" if fact is None else str(fact)
