"""Studies that are made once, and a clock that tests turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.study.studies import make_study

from legan_study.study import Study, open_study


class Clock:
    """Seconds since 1970 that only pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """An open rating study of 12 items, three raters each, and two items to practise on."""
    with open_study(make_study(tmp_path / "study")) as opened:
        yield opened
