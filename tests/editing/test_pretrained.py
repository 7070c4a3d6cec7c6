"""Editors saved to folders and to the hub (a stand-in): what is written opens again as the same, and the card says what it is."""

import sys
from pathlib import Path

import pytest

import legan
from legan.core.errors import WeightsError
from legan.core.files import sha256_of
from legan.editing.pretrained import model_card


def test_a_saved_folder_opens_as_the_same_editor(tiny_editor: Path, tmp_path: Path) -> None:
    editor = legan.Editor.from_pretrained(tiny_editor)
    folder = editor.save_pretrained(tmp_path / "a" / "editor")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "editor.safetensors"]
    again = legan.Editor.from_pretrained(folder)
    assert again.networks.checksum == sha256_of(tiny_editor) and again.metadata == editor.metadata
    again.save_pretrained(folder)  # into the folder that it was opened from
    assert sha256_of(folder / "editor.safetensors") == sha256_of(tiny_editor)
    assert sha256_of(tiny_editor) in (folder / "README.md").read_text()


def test_the_card_states_licence_data_and_faults() -> None:
    yaml = pytest.importorskip("yaml")
    facts = {"licence": "CC-BY-4.0, public domain", "data": "noise", "steps": 7, "known_faults": ["no lashes"]}
    _, header, body = model_card(facts, "0" * 64).split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "other" and yaml.safe_load(header)["license_name"] == facts["licence"]
    assert all(line in body.splitlines() for line in ("- data: noise", "- steps: 7", "- no lashes"))
    assert yaml.safe_load(model_card({"licence": "CC0-1.0"}, "").split("---\n")[1])["license"] == "cc0-1.0"


def test_a_file_that_changed_or_is_gone_is_not_saved(tiny_editor: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(tiny_editor.read_bytes())
    editor = legan.Editor.from_pretrained(copy)
    copy.write_bytes(b"other")
    with pytest.raises(WeightsError, match="has changed since it was opened: open it again"):
        editor.save_pretrained(tmp_path / "out")
    editor.networks.file = None  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="not opened from a weights file: write one with `legan export`"):
        editor.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_readme_of_something_else_is_kept(tiny_editor: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(WeightsError, match="would be overwritten: choose another folder"):
        legan.Editor.from_pretrained(tiny_editor).save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "# My project\n"


def test_push_uploads_weights_and_card(tiny_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install legan[hub]")
    calls: list[tuple] = []

    class FakeApi:
        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> str:
            calls.append((repo_id, private, exist_ok))
            return f"https://hub/{repo_id}"

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
            if repo_id == "someone/refused":
                raise OSError("403 Forbidden")
            calls.append((repo_id, {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}))

    monkeypatch.setattr(hub, "HfApi", FakeApi)
    editor = legan.Editor.from_pretrained(tiny_editor)
    assert editor.push_to_hub("someone/faces") == "https://hub/someone/faces"
    (created, (name, files)) = calls
    assert created == ("someone/faces", True, True) and name == "someone/faces"
    assert files["editor.safetensors"] == tiny_editor.read_bytes() and b"# A face editor of legan" in files["README.md"]
    with pytest.raises(WeightsError, match=r"cannot be uploaded .*403 Forbidden.*hf auth login"):
        editor.push_to_hub("someone/refused")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"pip install legan\[hub\]"):
        editor.push_to_hub("someone/faces")
