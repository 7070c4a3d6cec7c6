"""The public names: each is there, is documented, and its example runs as it stands."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import make_face_set

import legan
from legan.core.weights import asset

CONSTANTS = {"EXPRESSIONS", "LIGHTINGS"}  # the example in legan's own docstring shows them


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples read: two photos and a data set."""
    folder = tmp_path_factory.mktemp("examples")
    photos = sorted(asset("faces").glob("london-*.jpg"))
    for photo, name in zip(photos, ("photo.jpg", "other.jpg"), strict=False):
        shutil.copy(photo, folder / name)
    make_face_set(folder / "data" / "rendered", n_identities=10, size=128, lightings=(3, 11, 1, 5, 7, 9))
    return folder


@pytest.mark.parametrize("name", ["legan", *(name for name in legan.__all__ if name not in CONSTANTS)])
def test_example_of_each_public_name(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    doc = (legan if name == "legan" else getattr(legan, name)).__doc__
    example = doctest.DocTestParser().get_doctest(doc, {"legan": legan, "np": np, "torch": torch}, name, None, None)
    assert example.examples, f"legan.{name} has no example in its docstring"
    words: list[str] = []
    assert doctest.DocTestRunner().run(example, out=words.append).failed == 0, "".join(words)


def test_names_are_listed_once_and_nothing_is_loaded_before_its_use() -> None:
    assert sorted(legan._HOMES) == sorted(legan.__all__)
    code = "import sys, legan; legan.LeganError; print('torch' in sys.modules); legan.losses; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'edits'"):
        legan.edits  # noqa: B018


def test_a_data_set_is_one_folder_or_several(folder: Path) -> None:
    path = folder / "data" / "rendered"
    one, several = legan.load_dataset(path, "val"), legan.load_dataset([path], "val")
    assert len(one) == len(several) == 36 and (one.images([5]) == several.images([5])).all()
    with pytest.raises(legan.LeganError, match="no data"):
        legan.load_dataset([])
