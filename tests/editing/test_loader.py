"""Editors by name: files, run folders, the packaged network; what is opened, what its checksum is, and what is refused."""

import shutil
from pathlib import Path

import pytest

from legan.core.errors import WeightsError
from legan.core.files import sha256_of
from legan.core.weights import load_metadata, packaged
from legan.editing.loader import FITTED, editor_checksum, editor_path, load_crop_editor


@pytest.fixture
def run(tiny_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose export is the tiny editor."""

    def export(run: Path, out: Path, known_faults: object = ()) -> dict:
        assert list(known_faults) == ["pale lids"]
        shutil.copy(tiny_editor, out)
        return load_metadata(out)

    monkeypatch.setattr("legan.train.recipes.export_run", export)
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def test_files_and_the_packaged_network_are_opened_where_they_are(tiny_editor: Path, tmp_path: Path) -> None:
    for name, path in ((tiny_editor, tiny_editor), ("packaged", packaged("editor")), (None, packaged("editor"))):
        assert editor_path(name, tmp_path / "not-written") == path
        assert editor_checksum(path) == sha256_of(path)
    assert load_crop_editor(tiny_editor).checksum == editor_checksum(tiny_editor)
    assert not list(tmp_path.iterdir())


def test_a_run_folder_is_exported_and_leaves_nothing_behind(run: Path, tiny_editor: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported.safetensors"
    assert editor_path(run, out, ["pale lids"]) == out and sha256_of(out) == sha256_of(tiny_editor)
    assert load_crop_editor(run, known_faults=["pale lids"]).checksum == sha256_of(tiny_editor)
    assert not list(run.iterdir())


def test_the_fitted_head_is_named_without_loading_it(tmp_path: Path) -> None:
    assert editor_path(FITTED, tmp_path / "x") == Path(FITTED)


def test_what_is_refused(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors does not exist: name a file of `legan export`, a run folder"):
        editor_path(tmp_path / "none.safetensors", tmp_path / "x")
    monkeypatch.setattr("legan.train.recipes.export_run", lambda run, out, faults: {"network": {}})
    with pytest.raises(WeightsError, match="is not a run of an editor: name one of `legan train legan`"):
        load_crop_editor(run)
