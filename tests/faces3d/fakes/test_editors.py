"""Editors for GAN edits: in the order of their steps, the first the worst."""

import pytest
from tests.conftest import write_tiny_editor

from legan.core.errors import DataError, WeightsError
from legan.core.weights import load_weights, save_weights
from legan_faces3d.fakes.build import find_editors


def snapshot(path, steps):
    tensors, metadata = load_weights(write_tiny_editor(path))
    save_weights(path, tensors, metadata | {"steps": steps})


def test_faults_fall_with_the_steps(tmp_path):
    for name, steps in (("b", 1600), ("a", 100), ("c", 400)):
        snapshot(tmp_path / f"{name}.safetensors", steps)
    found = find_editors(tmp_path)
    assert [editor.setting for editor in found] == ["step00100", "step00400", "step01600"]
    faults = [editor.fault for editor in found]
    assert faults[0] == pytest.approx(1.0) and faults[-1] == pytest.approx(0.3) and faults == sorted(faults, reverse=True)


def test_steps_stand_in_the_name_where_the_file_does_not_tell(tmp_path):
    snapshot(tmp_path / "step0250.safetensors", None)
    assert find_editors(tmp_path)[0].setting == "step00250"
    snapshot(tmp_path / "last.safetensors", None)
    with pytest.raises(WeightsError, match="put the number"):
        find_editors(tmp_path)


def test_the_packaged_editor_stands_alone():
    (editor,) = find_editors(None)
    assert editor.fault == pytest.approx(0.3)


def test_folders_without_editors_say_so(tmp_path):
    with pytest.raises(DataError, match="holds no editors"):
        find_editors(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        find_editors(tmp_path / "nothing")
    save_weights(tmp_path / "x1.safetensors", {}, {"model": "quality"})
    with pytest.raises(WeightsError, match="no editor"):
        find_editors(tmp_path)
    (tmp_path / "x1.safetensors").unlink()
    snapshot(tmp_path / "a.safetensors", 5)
    snapshot(tmp_path / "b.safetensors", 5)
    with pytest.raises(DataError, match="two editors"):
        find_editors(tmp_path)
