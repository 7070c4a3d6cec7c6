"""Filtering: bounds, shares, matches and near-duplicates decide as they should; files, decisions and page are written."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.conftest import textured
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError, DataError, LeganError
from legan.quality.filter import Matcher, decide, filter_images, near_duplicates, perceptual_hash
from legan.requests import FilterRequest


class FakeEmbedder:
    """Tells images apart by their mean colour."""

    name, provenance = "colour", {"sha256": "c0"}

    def embed(self, crops: Sequence[Image.Image]) -> np.ndarray:
        means = np.stack([np.asarray(crop).mean((0, 1)) - 100 for crop in crops])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def tinted(seed: int, colour: tuple[int, int, int]) -> Image.Image:
    image = np.asarray(textured(128, 128, seed)).astype(int) // 4 + np.array(colour)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def scattered(seed: int) -> Image.Image:
    """Blocks of random grey: images that look nothing alike."""
    blocks = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)
    return Image.fromarray(blocks).resize((128, 128), Image.Resampling.BICUBIC)


def frame(scores: list[float], hashes: list[str] | None = None, matches: list[float] | None = None) -> pd.DataFrame:
    n = len(scores)
    codes = hashes or [np.random.default_rng(i).bytes(32).hex() for i in range(n)]
    return pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(n)],
            "score": scores,
            "match": matches or [np.nan] * n,
            "hash": codes,
            "reason": "",
        }
    )


def test_bounds_and_shares() -> None:
    table = frame([3, 9, 5, np.nan, 7, 1])
    why = decide(table, FilterRequest(min_quality=5))["why"].tolist()
    assert why == ["below min-quality", "", "", "no face found", "", "below min-quality"]
    kept = decide(table, FilterRequest(keep=0.4))  # 2 of 5 faces
    assert kept.loc[kept["kept"], "image"].tolist() == ["1.png", "4.png"]
    assert decide(table, FilterRequest(keep=1))["kept"].sum() == 5
    matched = decide(frame([3, 9, 5], matches=[0.9, 0.2, 0.6]), FilterRequest(min_match=0.5, min_quality=4))
    assert matched["why"].tolist() == ["below min-quality", "below min-match", ""]


def test_the_most_natural_of_near_duplicates_stays() -> None:
    code = bytearray(32)
    near = bytearray(code)
    near[0], near[31] = 0b111, 0b1
    hashes = [code.hex(), near.hex(), (b"\xff" * 32).hex()]
    table = decide(frame([4, 8, 6], hashes), FilterRequest(min_quality=0))
    assert table["kept"].tolist() == [False, True, True] and table["duplicate_of"].tolist() == ["1.png", "", ""]
    # One that does not pass takes nothing with it.
    assert decide(frame([4, 8, 6], hashes), FilterRequest(keep=1, min_quality=7))["duplicate_of"].tolist() == ["", "", ""]
    assert decide(frame([4, 8, 6], hashes), FilterRequest(keep=1, duplicates=True))["kept"].all()
    assert near_duplicates([], np.array([]), np.array([], bool)) == {}


def test_hash_forgives_compression_and_tells_images_apart(tmp_path: Path) -> None:
    def bits(image: Image.Image) -> np.ndarray:
        return np.unpackbits(np.frombuffer(bytes.fromhex(perceptual_hash(np.asarray(image))), np.uint8))

    clean = scattered(2)
    clean.save(tmp_path / "x.jpg", quality=70)
    assert (bits(clean) != bits(Image.open(tmp_path / "x.jpg"))).sum() <= 8
    brighter = clean.point(lambda v: round(v * 0.9))
    assert (bits(clean) != bits(brighter)).sum() <= 8
    assert (bits(scattered(0)) != bits(scattered(1))).sum() > 60


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "generated"
    (folder / "ann").mkdir(parents=True)
    (folder / "bob").mkdir()
    for i in range(6):
        tinted(i, (150, 20, 20)).save(folder / "ann" / f"{i}.png")
        scattered(i).save(folder / "bob" / f"{i}.png")
    return folder


def test_files_decisions_and_page(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    scattered(0).save(faces / "bob" / "twin.png")
    (faces / "broken.png").write_text("no image")
    out = tmp_path / "out"
    done = filter_images(faces, out, FilterRequest(keep=0.7), weights=tiny_quality)
    table = pd.read_parquet(out / "decisions.parquet")
    assert len(table) == 14 and done.n_kept == table["kept"].sum() > 0
    kept = {p.relative_to(out / "images").as_posix() for p in (out / "images").rglob("*.png")}
    assert kept == set(table.loc[table["kept"], "image"])
    assert all((out / "images" / name).read_bytes() == (faces / name).read_bytes() for name in kept)
    assert sum(done.left_out.values()) + done.n_kept == 14 and done.left_out["unreadable"] == 1
    assert table.loc[table["image"] == "broken.png", "reason"].item()
    page = (out / "index.html").read_text()
    of_group = {part.split("</h2>")[0]: part.count("data:image/webp") for part in page.split("<h2>")[1:]}
    assert of_group["Best"] == of_group["Worst"] == 6, "of 13 scored images none is among both"
    assert "Best" in page and "Worst" in page and page.count("data:image/webp") > 5 and "http" not in page.split("<svg")[0]

    # Other bounds on the same scores: nothing is scored again, the folder follows the new decisions.
    before = (out / "scores.csv").read_bytes()
    tighter = filter_images(faces, out, FilterRequest(keep=0.3, link=True), weights=tiny_quality)
    assert (out / "scores.csv").read_bytes() == before and tighter.n_kept < done.n_kept
    assert len(list((out / "images").rglob("*.png"))) == tighter.n_kept


def test_match_goes_by_person_then_name_then_loose_references(tmp_path: Path, faces: Path) -> None:
    reference = tmp_path / "reference"
    (reference / "ann").mkdir(parents=True)
    tinted(50, (150, 20, 20)).save(reference / "ann" / "photo.png")
    tinted(51, (20, 20, 150)).save(reference / "x.png")
    matcher = Matcher(reference, FakeEmbedder(), 128, "auto")
    red, blue = (np.asarray(tinted(60, colour)) for colour in ((150, 20, 20), (20, 20, 150)))
    own, other = matcher.match(["ann/1.png", "ann/2.png"], [red, blue])
    assert own > 0.95 and other < 0.5  # ann's folder is ann's reference
    assert matcher.match(["x.png"], [red])[0] < 0.5  # same name
    red_of_bob, other = matcher.match(["bob/1.png", "y.png"], [red, blue])
    assert red_of_bob < 0.5 and other > 0.95  # what lies directly in the folder; ann's image judges nobody else
    # However deep an image lies, it is of the person of the first folder.
    assert matcher.match(["ann/2020/x.png"], [red])[0] > 0.95


def test_a_person_without_a_usable_reference_is_judged_by_nobody(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    reference = tmp_path / "reference"
    for name in ("ann", "bob"):
        (reference / name).mkdir(parents=True)
        tinted(50, (150, 20, 20)).save(reference / name / "1.png")
    (reference / "bob" / "1.png").write_bytes((reference / "bob" / "1.png").read_bytes()[:300])
    choice = FilterRequest(min_match=-1, duplicates=True)
    done = filter_images(faces, tmp_path / "out", choice, reference, tiny_quality, embedder=FakeEmbedder())
    table = pd.read_parquet(tmp_path / "out" / "decisions.parquet").set_index("image")
    assert table["kept"].filter(like="ann/").all()
    assert set(table["why"].filter(like="bob/")) == {"no usable reference of the person"}
    assert table["match"].filter(like="bob/").isna().all()
    assert "reference/bob/1.png" in str(done) and len(done.as_json()["notes"]) == 1
    # Nor by the others where the references name other people only.
    shutil.rmtree(reference / "bob")
    tinted(51, (150, 20, 20)).save((reference / "cid").mkdir() or reference / "cid" / "1.png")
    filter_images(faces, tmp_path / "other", choice, reference, tiny_quality, embedder=FakeEmbedder())
    table = pd.read_parquet(tmp_path / "other" / "decisions.parquet").set_index("image")
    assert table["match"].filter(like="bob/").isna().all() and table["match"].filter(like="ann/").notna().all()


def test_an_image_that_changed_is_scored_and_copied_again(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    out, choice = tmp_path / "out", FilterRequest(keep=1, duplicates=True)
    filter_images(faces, out, choice, weights=tiny_quality)
    scattered(77).save(faces / "ann" / "1.png")
    filter_images(faces, out, choice, weights=tiny_quality)
    filter_images(faces, tmp_path / "fresh", choice, weights=tiny_quality)
    again, fresh = (pd.read_parquet(place / "decisions.parquet") for place in (out, tmp_path / "fresh"))
    assert again.equals(fresh)
    assert (out / "images" / "ann" / "1.png").read_bytes() == (faces / "ann" / "1.png").read_bytes()


def test_matches_decide(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    tinted(50, (150, 20, 20)).save(reference / "ann.png")
    choice = FilterRequest(min_match=0.9, duplicates=True)
    done = filter_images(faces, tmp_path / "out", choice, reference, tiny_quality, embedder=FakeEmbedder())
    table = pd.read_parquet(tmp_path / "out" / "decisions.parquet").set_index("image")
    assert table["kept"].filter(like="ann/").all() and done.embedder == "colour" and "colour" in str(done)
    assert table["match"].between(-1, 1.001).all()


def test_another_reference_is_not_taken_for_the_first(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    for name, colour in (("a", (150, 20, 20)), ("b", (20, 20, 150))):
        (tmp_path / name).mkdir()
        tinted(50, colour).save(tmp_path / name / "ann.png")
    words = tmp_path / "out", FilterRequest(min_match=0.9), tmp_path / "a", tiny_quality
    filter_images(faces, *words, embedder=FakeEmbedder())
    filter_images(faces, *words, embedder=FakeEmbedder())
    with pytest.raises(LeganError, match="made with other weights or settings"):
        filter_images(faces, *words[:2], tmp_path / "b", tiny_quality, embedder=FakeEmbedder())


def test_files_of_others_are_left_alone(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    theirs = tmp_path / "out" / "images" / "ann"
    theirs.mkdir(parents=True)
    (theirs / "1.png").write_text("theirs")
    with pytest.raises(DataError, match="holds other files: choose an empty or a new folder"):
        filter_images(faces, tmp_path / "out", FilterRequest(keep=0.5), weights=tiny_quality)
    assert (theirs / "1.png").read_text() == "theirs"


def test_half_a_copy_is_made_anew(faces: Path, tmp_path: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:50])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copy2", killed)
        filter_images(faces, tmp_path / "out", FilterRequest(keep=1), weights=tiny_quality)
    filter_images(faces, tmp_path / "out", FilterRequest(keep=1), weights=tiny_quality)
    kept = [path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()]
    assert kept and all(
        path.read_bytes() == (faces / path.relative_to(tmp_path / "out" / "images")).read_bytes() for path in kept
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (FilterRequest(), "nothing to filter by"),
        (FilterRequest(keep=1.5), "--keep 1.5 is out of range"),
        (FilterRequest(min_quality=11), "--min-quality 11 is out of range"),
        (FilterRequest(min_match=0.5), "needs images of the person"),
        (FilterRequest(keep=0.5, faces="align"), "did you mean 'aligned'"),  # type: ignore[arg-type]
    ],
)
def test_bad_wishes(faces: Path, tmp_path: Path, choice: FilterRequest, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        filter_images(faces, tmp_path / "out", choice)
    assert not (tmp_path / "out").exists()


def test_command(faces: Path, tmp_path: Path, tiny_quality: Path) -> None:
    out = tmp_path / "out"
    words = ["filter", str(faces), "--keep", "0.5", "-o", str(out), "--weights", str(tiny_quality)]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_kept"] == len(list((out / "images").rglob("*.png")))
    assert "decisions.parquet" in CliRunner().invoke(app, words).stdout
    assert CliRunner().invoke(app, ["filter", str(faces), "-o", str(out)]).exit_code == 2
