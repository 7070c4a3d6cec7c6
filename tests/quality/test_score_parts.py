"""Scores as Parquet parts: the values of the table, each part written once, made again only where its images changed."""

import math
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.conftest import textured
from tests.quality_weights import write_tiny_quality
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import DataError
from legan.quality import scorer
from legan.quality.scorer import score_images, score_in_parts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine crops, an image without a face and a broken one, in parts of four."""
    monkeypatch.setattr(scorer, "PART_SIZE", 4)
    folder = tmp_path / "crops"
    folder.mkdir()
    for i in range(9):
        textured(128, 128, seed=i).save(folder / f"{i}.png")
    Image.new("RGB", (200, 150), (90, 120, 160)).save(folder / "sky.png")
    (folder / "broken.png").write_text("no image")
    return folder


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted((out / "shards").iterdir())}


def test_parts_hold_the_scores_of_the_table(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    result = score_in_parts([folder], tmp_path / "out", tiny_quality)
    table = pd.read_parquet(tmp_path / "out" / "shards")
    expected = score_images([folder], weights=tiny_quality)
    assert list(table["image"]) == [one.image for one in expected] and list(stamps(tmp_path / "out")) == [
        f"{number:06d}.parquet" for number in range(3)
    ]
    for row, one in zip(table.itertuples(), expected, strict=True):
        assert row.score == pytest.approx(one.score, abs=1e-3, nan_ok=True) and row.reason == one.reason
        assert math.isnan(row.spread) == math.isnan(one.spread)
    assert (result.n_images, result.n_scored) == (11, 9) and dict(result.left_out).keys() == {"no face found", "cannot be read"}
    left_out = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert [Path(name).name for name in left_out["image"]] == ["broken.png", "sky.png"]
    assert "which: " in str(result) and result.as_json()["n_scored"] == 9


def test_only_parts_that_lack_or_changed_are_made(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    out = tmp_path / "out"
    score_in_parts([folder], out, tiny_quality)
    before = stamps(out)
    score_in_parts([folder], out, tiny_quality)
    assert stamps(out) == before
    (out / "shards" / "000001.parquet").unlink()
    os.utime(folder / "8.png", ns=(1, 1))
    score_in_parts([folder], out, tiny_quality)
    after = stamps(out)
    assert after["000000.parquet"] == before["000000.parquet"]
    assert all(after[name] != before[name] for name in ("000001.parquet", "000002.parquet"))
    for i in range(5):
        (folder / f"{i}.png").unlink()
    assert score_in_parts([folder], out, tiny_quality).n_images == 6
    assert list(stamps(out)) == ["000000.parquet", "000001.parquet"], "no part of images that are gone"
    assert len(pd.read_parquet(out / "shards")) == 6


def test_what_is_there_must_be_of_the_same_weights(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    out = tmp_path / "out"
    score_in_parts([folder], out, tiny_quality)
    with pytest.raises(DataError, match="another weights"):
        score_in_parts([folder], out, write_tiny_quality(tmp_path / "other.safetensors", seed=1))
    (out / "shards" / "000000.parquet").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"000000\.parquet is damaged: delete it and run the same command again"):
        score_in_parts([folder], out, tiny_quality)


def test_command(folder: Path, tmp_path: Path, tiny_quality: Path) -> None:
    out = tmp_path / "out"
    words = ["score", str(folder), "--parts", str(out), "--quality", str(tiny_quality)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and f"9 of 11 images scored: {out / 'shards'}" in result.stdout
    assert CliRunner().invoke(app, [*words, "--csv"]).exit_code != 0
