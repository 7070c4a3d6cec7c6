"""Charts: points stand where their values are, and ticks are round numbers within the axis."""

import re
from itertools import pairwise

import pytest

from legan.evaluation.report import MAX_DOTS, Series, scatter, ticks


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.031, 0.034), (-3.2, 17), (4.99, 5.01), (1200, 98000)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6 and low <= found[0] and found[-1] <= high
    steps = {float(f"{b - a:.6g}") for a, b in pairwise(found)}
    assert len(steps) == 1 and re.fullmatch(r"[125]e[+-]\d\d", f"{steps.pop():.0e}")


def places(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]


def test_points_are_in_place_and_names_are_escaped() -> None:
    svg = scatter([Series("a<b", [1, 2, 3], [10, 30, 20], 0), Series("c", [2], [20], 9, is_named=True)], "x & y", "quality")
    (x1, y1), (x2, y2), (x3, y3), (xc, yc) = places(svg)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and y1 - y3 == pytest.approx(y3 - y2, abs=0.2) and y2 < y1
    assert (xc, yc) == (x2, y3), "one scale for all series"
    assert "a<b" not in svg and "x &amp; y" in svg and ">c</text>" in svg and 'class="c1 named"' in svg


def test_a_single_point_nothing_and_very_many() -> None:
    assert len(places(scatter([Series("a", [3], [3], 0)], "x", "y"))) == 1
    assert scatter([Series("a", [], [], 0)], "x", "y") == ""
    assert len(places(scatter([Series("a", range(2000), range(2000), 0)], "x", "y"))) == MAX_DOTS
