"""Editors by name: what counts as an id of the hub, what is asked of it, and what a user reads when it does not answer."""

import sys
from pathlib import Path

import pytest

from legan.core.errors import WeightsError
from legan.core.weights import editor_file
from legan.editing.loader import load_editor

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install legan[hub]")


class FakeHub:
    """Stands in for `hf_hub_download`: keeps what it was asked, gives a file or raises."""

    def __init__(self, answer: Path | Exception) -> None:
        self.answer, self.asked = answer, []

    def __call__(self, repository: str, file: str, revision: str | None = None) -> str:
        self.asked.append((repository, file, revision))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("someone/faces", ("someone/faces", "editor.safetensors", None)),
        ("someone/faces-2.1@v1.0", ("someone/faces-2.1", "editor.safetensors", "v1.0")),
        (Path("someone/faces@refs/pr/1"), ("someone/faces", "editor.safetensors", "refs/pr/1")),
    ],
)
def test_ids_are_fetched(name: str | Path, asked: tuple[str, ...], tiny_editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub(tiny_editor)
    monkeypatch.setattr(hub, "hf_hub_download", fake)
    assert load_editor(name).networks.checksum == load_editor(tiny_editor).networks.checksum
    assert fake.asked == [asked]


@pytest.mark.parametrize(
    "name", ["editor.safetensors", "runs/editor.safetensors", "a/b/c", "/owner/name", "./owner/name", "name", "~a/b"]
)
def test_paths_are_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub(Path("never"))
    monkeypatch.setattr(hub, "hf_hub_download", fake)
    if name == "./owner/name":  # pathlib drops the dot, so only a file that exists tells it from an id
        Path("owner").mkdir()
        Path("owner/name").touch()
    with pytest.raises(WeightsError, match=r"does not exist|is not a safetensors file"):
        load_editor(name)
    assert fake.asked == []


def test_a_file_of_an_ids_name_wins(tiny_editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHub(Path("never"))
    monkeypatch.setattr(hub, "hf_hub_download", fake)
    Path("owner").mkdir()
    Path("owner/name").write_bytes(tiny_editor.read_bytes())
    assert editor_file("owner/name") == Path("owner/name") and fake.asked == []


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    def raised(kind: type[Exception]) -> Exception:
        return kind.__new__(kind)  # their constructors differ between versions

    for kind, message in (
        (errors.LocalEntryNotFoundError, "there is no file someone/faces@v9, and the Hugging Face hub cannot be reached"),
        (errors.RepositoryNotFoundError, "no model someone/faces on the Hugging Face hub"),
        (errors.RevisionNotFoundError, "has no revision 'v9'"),
        (errors.GatedRepoError, "accept its terms"),
        (errors.EntryNotFoundError, "holds no editor.safetensors"),
        (ConnectionResetError, "try again later"),
    ):
        monkeypatch.setattr(hub, "hf_hub_download", FakeHub(raised(kind)))
        with pytest.raises(WeightsError, match=message):
            editor_file("someone/faces@v9")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"there is no file someone/faces; .*pip install legan\[hub\]"):
        editor_file("someone/faces")


def test_offline_with_the_real_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match="cannot be reached"):
        editor_file("someone/faces")
