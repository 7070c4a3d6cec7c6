"""JSON and TOML of unknown origin: plain values of a bounded depth, or one kind of error, whatever stands in the text."""

import json
import tomllib
from typing import Any

MAX_DEPTH = 64  # of lists and tables within one another; no file of ours has ten


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
