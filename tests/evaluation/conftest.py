"""A drawn data set and tiny networks, for the tests of the evaluation."""

from pathlib import Path

import pytest
from tests.evaluation.sets import make_set, tiny_choice

from legan.requests import EvaluationNetworks


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set folder of drawn faces."""
    return make_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory, tiny_quality: Path) -> EvaluationNetworks:
    """Networks that take no time."""
    return tiny_choice(tmp_path_factory.mktemp("nets"), tiny_quality)
