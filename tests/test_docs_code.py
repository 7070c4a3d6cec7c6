"""Every Python block of the README and of docs/ runs as it stands, in a folder that has what the pages speak of."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.face_sets import make_face_set
from typer.testing import CliRunner

import legan
from legan.cli import app
from legan.core.conditions import Classes
from legan.core.weights import asset

ROOT = Path(__file__).parent.parent
TESTED_ELSEWHERE = {"quality-loss.md", "onnx.md", "augment.md"}  # tests/test_docs.py
Names = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_editor: Path) -> Path:
    """Photos, a folder of faces, one of photos by expression and light, two data sets, and an editor."""
    folder = tmp_path_factory.mktemp("pages")
    photos = sorted(asset("faces").glob("london-*.jpg"))
    for photo, name in zip(photos, ("photo.jpg", "other.jpg"), strict=False):
        shutil.copy(photo, folder / name)
    shutil.copytree(asset("faces"), folder / "faces", ignore=shutil.ignore_patterns("*.png"))
    Image.new("RGB", (200, 200)).save(folder / "faces" / "black.jpg")
    for expression in ("calm", "angry"):
        for light, factor in (("window", 1.0), ("lamp", 0.7)):
            (folder / "photos" / expression / light).mkdir(parents=True)
            for photo in photos[:2]:
                darker = Image.open(photo).point(lambda value, factor=factor: int(value * factor))
                darker.save(folder / "photos" / expression / light / photo.name)
    make_face_set(folder / "data" / "rendered", n_identities=9, size=128, lightings=tuple(range(20)))
    for name in ("relit", "reexpressed"):
        shutil.copytree(folder / "data" / "rendered", folder / "data" / name)
    shutil.copy(tiny_editor, folder / "editor.safetensors")
    (folder / "data" / "rated").mkdir()
    imported = pd.DataFrame({"identity": ["a", "b"], "key": ["photo-000000.png", "photo-000001.png"]})
    imported.to_parquet(folder / "data" / "rated" / "manifest.parquet")
    (folder / "own.csv").write_text("rater,image,rating\nanna,a.jpg,7\nanna,faceless.jpg,1\n")
    return folder


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def check_edited(names: Names) -> None:
    assert Image.open("edited.jpg").size == Image.open("photo.jpg").size


def check_fields(names: Names) -> None:
    import tifffile

    before, after = (tifffile.imread(name) for name in ("photo.tif", "relit.tif"))
    left, top, right, bottom = names["fields"].box
    beside = np.ones(before.shape[:2], bool)
    beside[top:bottom, left:right] = False
    assert after.dtype == np.uint16 and (after[beside] == before[beside]).all()
    assert len(np.unique(after)) > 2000  # more than 8 bits hold
    eight_bits = np.asarray(names["edit"].image, float)
    # The same edit but for the matte's edge, which is found on the pixels.
    assert np.quantile(np.abs(after / 257 - eight_bits), 0.999) <= 1 and np.abs(before / 257 - eight_bits).mean() > 2
    # What the page says of the fields, where the face is whole and nothing moves: light alone was edited.
    fields, inner = names["fields"], np.s_[240:260, 240:260]
    row, column = slice(240 - top, 260 - top), slice(240 - left, 260 - left)
    assert (fields.displacement[row, column] == 0).all() and (fields.matte[row, column] == 1).all()
    own = before[inner] * (2 / 65535) * np.exp(fields.gain[row, column]) + fields.bias[row, column]
    np.testing.assert_allclose(own.clip(0, 2), after[inner] * (2 / 65535), atol=1e-4)
    assert "lighting=-45" in tifffile.TiffFile("relit.tif").pages[0].tags["ImageDescription"].value


def check_scores(names: Names) -> None:
    scores = names["scores"]
    assert len(scores) == 5 and scores["score"].notna().sum() == 4 and "no face" in scores["reason"].iloc[-1]
    assert len(list(Path("kept").iterdir())) == 2


def check_own_classes(names: Names) -> None:
    check_edited(names)
    assert names["editor"].networks.classes == Classes.parse(["calm", "angry"], ["window=-60,10", "lamp=60,10"])
    assert names["edited"].mark.edit == "expression=angry lighting=lamp strength=1"


def check_fine_tuned(names: Names) -> None:
    check_edited(names)
    packaged, mine = (legan.load_editor(name).networks.generator.state_dict() for name in (None, "mine.safetensors"))
    assert packaged.keys() == mine.keys() and any((packaged[name] != mine[name]).any() for name in packaged)


def check_readme(names: Names) -> None:
    check_edited(names)
    assert names["editor"].metadata["steps"] == 7


def check_renamed_ratings(names: Names) -> None:
    assert Path("ratings.csv").read_text().splitlines() == ["rater,image,rating", "anna,photo-000000.png,7"]


def check_nothing(names: Names) -> None:
    """That it ran says all."""


CHECKS: dict[str, Callable[[Names], None]] = {
    "README.md": check_readme,
    "edit.md": check_edited,
    "evaluate.md": check_nothing,
    "fine-tune.md": check_fine_tuned,
    "index.md": check_edited,
    "own-classes.md": check_own_classes,
    "own-quality.md": check_renamed_ratings,
    "relight-raw.md": check_fields,
    "score-folder.md": check_scores,
    "train.md": check_nothing,
}


def test_each_page_with_code_is_tested() -> None:
    pages = {page.name for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if blocks(page)}
    assert pages == CHECKS.keys() | TESTED_ELSEWHERE


@pytest.mark.parametrize("name", CHECKS)
def test_code_of_a_page(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "edited.jpg").unlink(missing_ok=True)
    names: Names = {}
    for block in blocks(ROOT / name if name == "README.md" else ROOT / "docs" / name):
        exec(compile(block, name, "exec"), names)
    CHECKS[name](names)


@pytest.mark.slow
def test_the_commands_of_fine_tuning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but those that make and measure, which take long and have tests of their own."""
    monkeypatch.chdir(folder)
    text = (ROOT / "docs" / "fine-tune.md").read_text()
    lines = re.findall(r"^legan (.*)$", text, re.MULTILINE)
    small = ["--set", "loop.n_steps=1", "--set", "data.batch_size=2", "--set", "loss.perceptual=0"]
    done = []
    for words in (line.split("  #")[0].split() for line in lines):
        if words[0] in ("relight", "reexpress", "evaluate"):
            continue
        result = CliRunner().invoke(app, [*words, *(small if words[0] == "train" else [])])
        assert result.exit_code == 0, (words, result.output)
        done.append(words[0])
    assert done == ["train", "export", "edit"]
    assert Image.open("edited.jpg").size == Image.open("photo.jpg").size
