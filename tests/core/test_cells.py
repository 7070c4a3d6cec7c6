"""Cells of CSV files: no formulas, every text given back, plain numbers only."""

import pytest

from legan.core.table import escaped, read_number, unescaped

FORMULAS = ("=HYPERLINK(1).jpg", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "--", "=", "-x.png", "-1_0", "-١")


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_written_as_text(text: str) -> None:
    assert escaped(text) == "'" + text and unescaped("'" + text) == text


@pytest.mark.parametrize(
    "text", [*FORMULAS, "'=1", "''=1", "'-5", "'", "''", "'a'", "a=1", "", "-5", "+0.5", "-1e-05", "x'=y", " =1"]
)
def test_every_text_is_given_back(text: str) -> None:
    assert unescaped(str(escaped(text))) == text


@pytest.mark.parametrize("value", [-1.5, 3, None, True, "-5", "-1.5e-3", "a.png", "it's"])
def test_harmless_cells_stay(value: object) -> None:
    assert escaped(value) is value


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-0.25", -0.25), ("1e1", 10), (".5", 0.5), ("7.", 7), (" 5 ", 5)])
def test_numbers(text: str, number: float) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text", ["1_0", "١٠", "５", "nan", "inf", "", None, "5 5", "1,5", "0x1", "5\n", "\t5", "²", "1e9999", "1e999"]
)
def test_what_is_no_plain_number(text: str | None) -> None:
    assert read_number(text) is None
