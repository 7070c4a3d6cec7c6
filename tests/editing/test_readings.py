"""What is measured on an edit, when, with what, and where it is written; a least match, with lower strengths."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from tests.conftest import landmarks_at, textured
from typer.testing import CliRunner

import legan
from legan.cli import app
from legan.core.errors import ConditionError, FaceError, ImageError
from legan.core.images import load_photo
from legan.editing.editor import Editor, load_editor, read_crops
from legan.editing.folders import edit_files
from legan.editing.marks import read_mark
from legan.faces.detect import Face
from legan.faces.embeddings import load_embedding
from legan.metrics.verification import match_scores
from legan.quality.scorer import load_quality
from legan.requests import EditRequest

Know = Callable[..., None]
SMILE = ("smile", "left")


@pytest.fixture
def editor(tiny_editor: Path) -> Editor:
    return load_editor(tiny_editor)


def test_readings_are_those_of_the_saved_photo(editor: Editor, photo: Path, known_faces: Know) -> None:
    known_faces((40, 30, 128), (180, 60, 120))
    edit = editor(photo, *SMILE, face="all")
    assert "readings" not in edit.__dict__
    found = edit.readings
    assert edit.readings is found and len(found.faces) == 2 and found.identity == "packaged"
    aligned = editor.prepare(edit.image, face="all")  # the same faces, in the edited photo
    after = [crop.image for crop in aligned.crops]
    embedding, scorer = load_embedding("packaged"), load_quality()
    matches = match_scores(embedding.embed(edit.sources), embedding.embed(after))
    for number, face in enumerate(found.faces):
        assert face.match == pytest.approx(float(matches[number]), abs=1e-4)
        assert face.quality_before == pytest.approx(scorer(edit.sources[number], "aligned"), abs=0.05)
        assert face.quality_after == pytest.approx(scorer(after[number], "aligned"), abs=0.05)
        assert face.expression.name in legan.EXPRESSIONS and 1 / 6 <= face.expression.probability <= 1
        assert face.lighting.name in [lighting.name for lighting in legan.LIGHTINGS]
    assert found.match == min(face.match for face in found.faces) < 0.999


def test_without_an_edit_all_stays(editor: Editor, photo: Path, known_faces: Know) -> None:
    face = editor(photo, *SMILE, strength=0).readings.faces[0]
    assert face.match == pytest.approx(1, abs=1e-5) and face.quality_before == face.quality_after


def test_without_a_critic_nothing_is_seen(editor: Editor, tiny_generator: Path) -> None:
    crops = [textured(128, 128, seed) for seed in (0, 1)]
    found = read_crops(crops, crops, load_editor(tiny_generator).networks)
    assert [(face.expression, face.lighting) for face in found.faces] == [(None, None)] * 2
    assert "expression" not in str(found) and str(found).count(" critic=none") == 2
    assert found.as_json()["faces"][0]["lighting"] is None


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_the_mark_has_them_once_measured(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know, ending: str) -> None:
    edit = editor(photo, *SMILE)
    edit.save(tmp_path / f"before.{ending}")
    words = str(edit.readings)
    edit.save(tmp_path / f"after.{ending}")
    assert words.startswith("match=") and "identity=packaged quality=" in words
    assert read_mark(tmp_path / f"before.{ending}").readings == ""
    assert read_mark(tmp_path / f"after.{ending}").readings == words
    with Image.open(tmp_path / f"after.{ending}") as image:
        assert words in image.getexif()[ExifTags.Base.Software]
    again = editor(load_photo(tmp_path / f"after.{ending}"), *SMILE)
    again.save(tmp_path / f"again.{ending}")
    assert read_mark(tmp_path / f"again.{ending}").readings == "", "those of the first edit do not hold for the second"


def test_a_least_match_lowers_the_strength(editor: Editor, photo: Path, known_faces: Know) -> None:
    by_strength = {s: editor(photo, *SMILE, strength=s).readings.match for s in (1.0, 0.75, 0.5, 0.25)}
    assert by_strength[1.0] < by_strength[0.5] < by_strength[0.25]
    least = (by_strength[0.75] + by_strength[0.5]) / 2
    edit = editor(photo, *SMILE, min_match=least)
    assert edit.strength == 0.5 and edit.readings.match == pytest.approx(by_strength[0.5], abs=1e-4)
    assert edit.mark.edit.endswith("strength=0.5")
    note = edit.warnings[-1]
    assert f"at strength 1 is {by_strength[1.0]:.3f} (packaged)" in note and "strength 0.5 is used" in note
    assert editor(photo, *SMILE, min_match=-1).strength == 1
    with pytest.raises(FaceError, match=r"photo.png: the match .* at 0.25 still .*: it must be 1; ask for a smaller change"):
        editor(photo, *SMILE, min_match=1)
    with pytest.raises(ConditionError, match=r"min-match 1\.5 is out of range"):
        editor(photo, *SMILE, min_match=1.5)


def test_files_with_readings_and_a_least_match(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    choice = EditRequest("smile", ("left",), readings=True)
    report = edit_files(editor, [photo], tmp_path / "out.png", choice)
    found = report.as_json()["readings"][str(tmp_path / "out.png")]
    assert found["identity"] == "packaged" and -1 <= found["faces"][0]["match"] <= 1
    assert json.loads(json.dumps(found)) and read_mark(tmp_path / "out.png").readings
    assert "readings" not in edit_files(editor, [photo], tmp_path / "plain.png", replace(choice, readings=False)).as_json()
    folder = tmp_path / "album"
    folder.mkdir()
    Image.open(photo).save(folder / "a.png")
    report = edit_files(editor, [folder], tmp_path / "edited", replace(choice, min_match=1.0))
    assert not report.done and "it must be 1" in report.failed[folder / "a.png"]
    with pytest.raises(ConditionError, match="a grid is not measured"):
        EditRequest(grid=True, readings=True).check()


def test_refused_warned_and_forced(
    editor: Editor, tiny_editor: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = [Face((40, 30, 60, 50), landmarks_at(40, 30, 24), 1.0)]
    monkeypatch.setattr("legan.editing.editor.detect", lambda image, **_: faces)
    with pytest.raises(FaceError, match=r"photo.png: not edited, the face's crop is only \d+ pixels a side"):
        editor(photo, *SMILE)
    forced = editor(photo, *SMILE, force=True)
    assert "pixels a side" in forced.warnings[0] and not np.array_equal(
        np.asarray(forced.image), np.asarray(forced.photo.image)
    )
    run = ["edit", str(photo), "-e", "smile", "-l", "left", "--editor", str(tiny_editor), "-o", str(tmp_path / "o.png")]
    refused = CliRunner().invoke(app, run)
    assert refused.exit_code == 2 and "--force" in refused.stderr
    allowed = CliRunner().invoke(app, [*run, "--force", "--json"])
    assert allowed.exit_code == 0 and "note: " in allowed.stderr and "pixels a side" in json.loads(allowed.stdout)["notes"][0]


def test_a_notebook_shows_it(editor: Editor, photo: Path, known_faces: Know) -> None:
    import io

    edit = editor(photo, *SMILE)
    with Image.open(io.BytesIO(edit._repr_png_())) as shown:
        assert np.array_equal(np.asarray(shown), np.asarray(edit.image))
    assert repr(edit) == "<Edit 320x200, 1 face, expression=smile lighting=left strength=1>"
    large = replace(edit, image=edit.image.resize((2000, 1250)))
    with Image.open(io.BytesIO(large._repr_png_())) as shown:
        assert shown.size == (1024, 640)


def test_arrays_and_lists_are_edited(editor: Editor, photo: Path, known_faces: Know) -> None:
    pixels = np.asarray(load_photo(photo).image)
    expected = np.asarray(editor(photo, *SMILE).image)
    unit = (pixels / 255).astype(np.float32)
    edits = editor([photo, pixels, unit, Image.fromarray(pixels)], *SMILE)
    assert len(edits) == 4
    for edit in edits:
        difference = np.abs(np.asarray(edit.image).astype(int) - expected)
        assert difference.max() <= 1 and difference.mean() < 1e-3  # a batch of four adds up in another order
    assert len(editor(np.stack([pixels, pixels]), *SMILE)) == 2 and editor([], *SMILE) == []
    for wrong, message in (
        (pixels.astype(np.int32), "uint8 or of floats"),
        (pixels.astype(np.float32), "divide 0..255 by 255"),
        (pixels[..., 0], r"an array \(H, W, 3\)"),
        (np.full_like(unit, np.nan), "must lie in"),
    ):
        with pytest.raises(ImageError, match=message):
            editor(wrong, *SMILE)


def test_match_and_score_take_arrays_and_lists(tiny_quality: Path, tmp_path: Path) -> None:
    crops = [textured(128, 128, seed) for seed in range(3)]
    crops[0].save(tmp_path / "a.png")
    arrays = [np.asarray(crop) for crop in crops]
    single = legan.match(tmp_path / "a.png", arrays[1])
    assert (single.a, single.b, single.embedding) == (str(tmp_path / "a.png"), "b", "packaged")
    several = legan.match(crops[0], arrays)
    assert [found.b for found in several] == ["b[0]", "b[1]", "b[2]"] and several[0].a == "a"
    assert several[0].score == pytest.approx(1, abs=1e-5) and several[1].score == pytest.approx(single.score, abs=1e-4)
    assert legan.match([], []) == [] and len(legan.match(np.stack(arrays), arrays)) == 3
    with pytest.raises(ImageError, match="3 images cannot be compared with 2"):
        legan.match(arrays, arrays[:2])
    scores = legan.score([tmp_path / "a.png", *arrays], weights=tiny_quality)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert scores[2] == pytest.approx(legan.score(arrays[1] / 255.0, weights=tiny_quality), abs=0.02)
    with pytest.raises(FaceError, match="image 1: no face found"):
        legan.score([arrays[0], np.zeros((200, 200, 3), np.uint8)], weights=tiny_quality)
