"""Cells of CSV files: numbers as people write them, and text that no spreadsheet takes for a formula.

A name such as `=HYPERLINK("http://x").jpg` is run when the file is opened in a spreadsheet. As OWASP advises ("CSV Injection"), such text
is written behind an apostrophe, which spreadsheets show as text; readers of legan's own files take it away again.
"""

import math
import re
from typing import TypeVar

T = TypeVar("T")
_STARTS = "=+-@\t\r\n＝＋－＠"  # the last four: as East Asian keyboards write them
_MARK = "'"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


def escaped(value: T) -> T | str:
    """Return a cell's value as it is written: text that a spreadsheet could take for a formula gets an apostrophe, all else stays.

    Text that has apostrophes there already gets one more, so that `unescaped` gives back every text.
    """
    if not isinstance(value, str) or not value.lstrip(_MARK).startswith(tuple(_STARTS)) or _NUMBER.fullmatch(value):
        return value
    return _MARK + value


def unescaped(text: str) -> str:
    """Undo `escaped`."""
    is_escaped = text.startswith(_MARK) and text.lstrip(_MARK).startswith(tuple(_STARTS))
    return text[1:] if is_escaped else text


def read_number(text: str | None) -> float | None:
    """Read a decimal number of plain digits; None for anything else, such as `1_0`, `nan` or Arabic digits, which Python takes too."""
    text = (text or "").strip(" ")
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None
