"""JSON and TOML of unknown origin: plain values of a bounded depth, or one kind of error, whatever stands in the text."""

import json
import re
import tomllib
from typing import Any

MAX_DEPTH = 64  # of lists and tables within one another; no file of ours has ten
# tomllib takes time by the square of the dots in a key.
_MAX_TOML, _MAX_DOTS = 1_000_000, 200  # characters in all; dots between words in one line
_DOT = re.compile(r"""[\w"'-]\s*\.\s*[\w"'-]""")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: no JSON, or nested too deeply.
    """
    try:
        return _bounded(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text.

    Raises:
        tomllib.TOMLDecodeError: no TOML, or nested too deeply.
    """
    if len(text) > _MAX_TOML:
        raise tomllib.TOMLDecodeError(f"it has {len(text):,} characters, at most {_MAX_TOML:,} are read")
    if any(len(_DOT.findall(line)) > _MAX_DOTS for line in text.splitlines() if line.count(".") > _MAX_DOTS):
        raise tomllib.TOMLDecodeError(f"a line has more than {_MAX_DOTS} dots")
    try:
        return _bounded(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        raise
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise tomllib.TOMLDecodeError(reason) from None


def _bounded(value: Any) -> Any:
    """The value itself, once its depth was checked; without recursion, which is what is bounded here."""
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > MAX_DEPTH:
            raise RecursionError
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return value
