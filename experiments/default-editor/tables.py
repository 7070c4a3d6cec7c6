"""Figures with their intervals, and tables of them as Markdown and as plain values."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from legan.metrics.intervals import mean_interval


@dataclass(frozen=True)
class Figure:
    """A mean over n crops; `half` is half the width of its 95% bootstrap interval, people drawn with replacement."""

    mean: float
    half: float
    n: int
    is_share: bool = True

    def __str__(self) -> str:
        if self.is_share:
            return f"{self.mean:.1%} ± {100 * self.half:.1f}"
        return f"{self.mean:.3f} ± {self.half:.3f}"

    def as_json(self) -> dict[str, float]:
        """The figure as plain values."""
        return {"mean": self.mean, "half_interval": self.half, "n": self.n}


@dataclass(frozen=True)
class Table:
    """A named table; cells are figures, numbers or text, None where there is nothing to say."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def markdown(self) -> str:
        """The table under its title."""
        lines = [
            f"**{self.title}**",
            "",
            f"| {' | '.join(self.columns)} |",
            f"| {' | '.join('---' for _ in self.columns)} |",
            *(f"| {' | '.join('-' if cell is None else str(cell) for cell in row)} |" for row in self.rows),
        ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The table as plain values."""
        rows = [[cell.as_json() if isinstance(cell, Figure) else cell for cell in row] for row in self.rows]
        return {"title": self.title, "columns": list(self.columns), "rows": rows}


def figure(values: np.ndarray, people: np.ndarray, is_share: bool = True) -> Figure:
    """Mean of `values` (n,) with its interval over `people` (n,)."""
    found = mean_interval(values, people)
    assert found is not None, "no values"
    return Figure(found.value, (found.high - found.low) / 2, len(values), is_share)
