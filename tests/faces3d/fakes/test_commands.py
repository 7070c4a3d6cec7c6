"""The verbs `legan synthesize` and `legan import`: what users see when a folder is wrong."""

import pytest
from typer.testing import CliRunner

from legan.cli import app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synthesize", "--renders", "{empty}", "--out", "{out}"], "is not a data set"),
        (["import", "stylegan={empty}", "--out", "{out}"], "holds no images"),
        (["import", "photo={empty}/nothing", "--out", "{out}"], "is not a folder"),
        (["import", "photo", "--out", "{out}"], "write NAME=DIR"),
    ],
)
def test_a_bad_folder_is_one_line_and_makes_nothing(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    words = [word.format(empty=tmp_path / "empty", out=tmp_path / "out") for word in arguments]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
