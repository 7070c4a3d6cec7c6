"""Scatter charts as SVG that take the colours of the page they stand in."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

N_COLOURS = 8  # classes c0 .. c7 of the page's style
MAX_DOTS = 500  # of one series; more would make a page heavy and show no more
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330, 250, 52, 10, 8, 40


class Series(NamedTuple):
    """Points of one colour: `label`, coordinates, and whether the label stands beside its points."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    is_named: bool = False


class _Axis(NamedTuple):
    low: float
    high: float
    start: float  # pixels
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def scatter(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Return a chart; points that are not finite must be left out before."""
    xs, ys = [x for one in series for x in one.xs], [y for one in series for y in one.ys]
    if not xs:
        return ""
    x_axis, y_axis = _axis(xs, LEFT, WIDTH - RIGHT), _axis(ys, HEIGHT - BOTTOM, TOP)
    lines, words = [], []
    for tick in ticks(x_axis.low, x_axis.high):
        x = f"{x_axis(tick):.1f}"
        lines.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>')
        words.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 15}">{tick:g}</text>')
    for tick in ticks(y_axis.low, y_axis.high):
        y = y_axis(tick)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        words.append(f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{tick:g}</text>')
    words.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    words.append(f'<text transform="translate(12 {middle}) rotate(-90)">{escape(y_label)}</text>')
    dots = "".join(_dots(one, x_axis, y_axis) for one in series)
    name = escape(f"{y_label} against {x_label}", quote=True)
    return (
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
        f'<g class="grid">{"".join(lines)}</g>{"".join(words)}{dots}</svg>'
    )


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About `n` round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / n))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= n + 1.5)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or max(abs(low) * 0.1, 0.1)
    return _Axis(low - margin, high + margin, start, end)


def _dots(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    points = [(x_axis(x), y_axis(y)) for x, y in zip(series.xs, series.ys, strict=True)][:MAX_DOTS]
    radius = 5 if series.is_named else 2
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in points)
    kind = "named" if series.is_named else "many"
    return f'<g class="c{series.colour % N_COLOURS} {kind}">{dots}{_name(series, points) if series.is_named else ""}</g>'


def _name(series: Series, points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    right = x > (LEFT + WIDTH) / 2  # names of points on the right stand to their left
    place = f'x="{x - 8:.1f}" class="y"' if right else f'x="{x + 8:.1f}" class="after"'
    return f'<text {place} y="{y + 4:.1f}">{escape(series.label)}</text>'
