"""Errors whose message is one line that says what is wrong and what to do about it.

Everything that a user can cause raises a `LeganError`; the command line prints its message and exits with code 2.
Any other exception is a fault of the software and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class LeganError(Exception):
    """Base of all expected errors.

    Example:
        >>> try:
        ...     legan.edit("photo.jpg", expression="smlie")
        ... except legan.LeganError as error:
        ...     print(error)
        unknown expression 'smlie': choose from neutral, smile, surprise, squint, disgust, scream; did you mean 'smile'?
    """


class ImageError(LeganError):
    """An image cannot be read, or cannot be written."""


class FaceError(LeganError):
    """No usable face in an image."""


class ConditionError(LeganError):
    """An expression or lighting that does not exist or is out of range."""


class ConfigError(LeganError):
    """A setting that does not exist, or has a wrong value."""


class WeightsError(LeganError):
    """A weights file or checkpoint that cannot be used."""


class DataError(LeganError):
    """A data set folder that is incomplete or inconsistent."""


class StudyError(LeganError):
    """A study's folder, settings or database that cannot be used."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `"; did you mean 'smile'?"` for the closest of `names`, or `""` when none is close."""
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def no_such(what: str, name: str, names: Iterable[str]) -> str:
    """Return `"unknown preset 'lit': choose from lite, paper; did you mean 'lite'?"`."""
    names = list(names)
    return f"unknown {what} '{name}': choose from {', '.join(names)}{nearest(name, names)}"
