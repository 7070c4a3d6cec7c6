"""tools/walks.py: which files it counts, and what it says of imports."""

import importlib
import sys
from pathlib import Path

import pytest

from tools import walks


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two modules that import each other, and one that only defines a class."""
    package = tmp_path / "legan_walked"
    package.mkdir()
    (package / "__init__.py").write_text('"""Empty."""\n')
    (package / "one.py").write_text("from legan_walked import two\n\ndef updates():\n    return two.other()\n")
    (package / "two.py").write_text(
        "def other():\n    return 1\n\ndef alone():\n    import legan_walked.one\n    return legan_walked.one.__name__\n"
    )
    (package / "three.py").write_text("class Named:\n    value = 3\n")
    (tmp_path / "legan").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("legan_walked")]:
        del sys.modules[name]


def test_a_file_counts_when_a_function_of_it_is_called(source: Path) -> None:
    recorder = walks.Recorder(source)
    with recorder.on():
        one = importlib.import_module("legan_walked.one")
        importlib.import_module("legan_walked.three")
    assert recorder.files == set()
    with recorder.on():
        one.updates()
    assert {Path(file).name for file in recorder.files} == {"one.py", "two.py"}


def test_only_what_runs_below_a_function_counts(source: Path) -> None:
    recorder = walks.Recorder(source, within="updates")
    two, one = importlib.import_module("legan_walked.two"), importlib.import_module("legan_walked.one")
    with recorder.on():
        two.alone()
    assert recorder.files == set()
    with recorder.on():
        one.updates()
        two.alone()
    assert {Path(file).name for file in recorder.files} == {"one.py", "two.py"}


def test_a_circle_inside_a_function_is_seen(source: Path) -> None:
    found = walks.structure(source)
    assert set(found["circle"].split(" -> ")) == {"legan_walked.one", "legan_walked.two"}
    assert found["one importer"] == 2 and found["folders"] == {"legan_walked": (4, 13)}
