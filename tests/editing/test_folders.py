"""Files and folders: names of outputs, what is never replaced, what goes on when one photo fails."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from legan.core.errors import ConditionError, ImageError, LeganError
from legan.core.images import load_photo
from legan.editing.editor import Editor
from legan.editing.folders import edit_files, plan
from legan.editing.loader import load_editor
from legan.editing.marks import read_mark
from legan.requests import EditRequest

Know = Callable[..., None]
SMILE = EditRequest(expression="smile", lightings=("left",))


@pytest.fixture
def editor(tiny_editor: Path) -> Editor:
    return load_editor(tiny_editor)


@pytest.fixture
def album(tmp_path: Path, photo: Path) -> Path:
    """A folder with photos at two depths, and files that are none."""
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    image = Image.open(photo)
    for name in ("b.png", "a.jpg", "inner/c.tiff", ".hidden/d.png", "._a.jpg"):
        image.save(folder / name, "PNG" if name.endswith("png") else "TIFF" if name.endswith("tiff") else "JPEG")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_one_file(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    report = edit_files(editor, [photo], tmp_path / "new" / "out.jpg", SMILE)
    assert report.done == [tmp_path / "new" / "out.jpg"] and report.messages() == []
    assert read_mark(report.done[0]).edit == "expression=smile lighting=left strength=1"
    edit_files(editor, [photo], tmp_path / "plain.png", EditRequest("smile", ("left",), no_mark=True))
    assert read_mark(tmp_path / "plain.png") is None
    with Image.open(tmp_path / "plain.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(editor(photo, "smile", "left").image))


def test_default_names_stand_beside_the_photos(editor: Editor, photo: Path, album: Path, known_faces: Know) -> None:
    assert edit_files(editor, [photo], None, SMILE).done == [photo.with_name("photo-edited.png")]
    report = edit_files(editor, [album], None, SMILE)
    assert names(album.with_name("album-edited")) == ["a.jpg", "b.png", "inner/c.tiff"]
    assert report.n_edited == 3


def test_folder_is_walked_in_order_and_continues(editor: Editor, tmp_path: Path, album: Path, known_faces: Know) -> None:
    out = tmp_path / "out"
    report = edit_files(editor, [album], out, SMILE)
    assert [p.relative_to(out).as_posix() for p in report.done] == ["a.jpg", "b.png", "inner/c.tiff"]
    before = (out / "a.jpg").stat().st_mtime_ns
    (out / "b.png").unlink()
    report = edit_files(editor, [album], out, SMILE)
    assert report.done == [out / "b.png"] and len(report.kept) == 2
    assert report.messages() == ["note: 2 outputs existed and were kept; --overwrite makes them anew"]
    assert (out / "a.jpg").stat().st_mtime_ns == before
    report = edit_files(editor, [album], out, EditRequest("smile", ("left",), overwrite=True))
    assert len(report.done) == 3 and not report.kept


def test_outputs_inside_the_folder_are_no_inputs(editor: Editor, album: Path, known_faces: Know) -> None:
    for _ in range(2):
        edit_files(editor, [album], album / "edited", SMILE)
    assert [n for n in names(album) if n.startswith("edited/")] == ["edited/a.jpg", "edited/b.png", "edited/inner/c.tiff"]


def test_bad_photos_do_not_stop_the_others(editor: Editor, tmp_path: Path, album: Path, known_faces: Know) -> None:
    data = (album / "a.jpg").read_bytes()
    (album / "a.jpg").write_bytes(data[: len(data) // 2])
    Image.new("RGBA", (300, 200), (9, 9, 9, 0)).save(album / "z.webp")
    report = edit_files(editor, [album, tmp_path / "missing.png"], tmp_path / "out", SMILE)
    assert names(tmp_path / "out") == ["b.png", "inner/c.tiff", "z.webp"]
    assert list(report.failed) == [album / "a.jpg", tmp_path / "missing.png"]
    assert report.messages()[-1] == "error: 2 of 5 photos could not be edited, the others were"
    assert "truncated" in report.messages()[0] and report.as_json()["n_edited"] == 3


def test_one_photo_that_fails_raises_and_leaves_nothing(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    known_faces()
    with pytest.raises(LeganError, match="no face found"):
        edit_files(editor, [photo], tmp_path / "out" / "out.png", SMILE)
    assert not (tmp_path / "out").exists()


def test_an_existing_file_needs_overwrite(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    (tmp_path / "out.png").write_bytes(b"mine")
    with pytest.raises(ImageError, match=r"out\.png exists already: give another name with -o, or add --overwrite"):
        edit_files(editor, [photo], tmp_path / "out.png", SMILE)
    assert (tmp_path / "out.png").read_bytes() == b"mine"
    edit_files(editor, [photo], tmp_path / "out.png", EditRequest("smile", ("left",), overwrite=True))
    assert load_photo(tmp_path / "out.png").image.size == (320, 200)


def test_a_note_says_that_one_of_several_faces_was_edited(
    editor: Editor, tmp_path: Path, photo: Path, known_faces: Know
) -> None:
    known_faces((40, 30, 128), (200, 60, 64))
    report = edit_files(editor, [photo], tmp_path / "out.png", SMILE)
    note = "2 faces found, the largest is edited: choose others by face 'all' or a number (2: the second largest)"
    assert report.messages() == [f"note: {photo}: {note}"] and report.as_json()["notes"] == [f"{photo}: {note}"]
    for face in ("all", "2", 1):
        report = edit_files(editor, [photo], tmp_path / f"{face}.png", EditRequest("smile", ("left",), face=face))
        assert report.messages() == []


def test_a_note_says_which_formats_become_png_and_what_is_lost(
    editor: Editor, tmp_path: Path, album: Path, known_faces: Know
) -> None:
    Image.new("RGB", (300, 200)).save(album / "old.pgm")
    Image.new("RGB", (300, 200)).save(album / "said.jpg", comment=b"by hand")
    report = edit_files(editor, [album], tmp_path / "out", SMILE)
    assert report.notes == ["edits are written as PNG where the photo's own format is only read: 1 .pgm"]
    report = edit_files(editor, [album / "said.jpg"], tmp_path / "said.webp", SMILE)
    assert report.notes == [f"{album / 'said.jpg'}: its comment cannot be kept in WEBP"]


def test_an_input_is_never_replaced(editor: Editor, tmp_path: Path, photo: Path, album: Path, known_faces: Know) -> None:
    before = photo.read_bytes()
    os.link(photo, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to(photo)
    (tmp_path / "same").symlink_to(album)
    overwriting = EditRequest("smile", ("left",), overwrite=True)
    for photos, out in [
        ([photo], photo),
        ([photo], tmp_path / "hard.png"),
        ([photo], tmp_path / "soft.png"),
        ([photo], tmp_path),
        ([album], album),
        ([album], tmp_path / "same"),
        ([album / "a.jpg", album / "b.png"], album),
    ]:
        with pytest.raises(ImageError, match=r"would replace the photo .*: name another place with -o"):
            edit_files(editor, photos, out, overwriting)
    assert photo.read_bytes() == before


def test_plans_that_cannot_work(tmp_path: Path, photo: Path, album: Path) -> None:
    (tmp_path / "twin").mkdir()
    twin = tmp_path / "twin" / "photo.png"
    twin.write_bytes(photo.read_bytes())
    with pytest.raises(ImageError, match="would both be"):
        plan([photo, twin], tmp_path / "out")
    with pytest.raises(ImageError, match=r"2 photos cannot go to the one file .*out\.png: name a folder"):
        plan([photo, twin], tmp_path / "out.png")
    with pytest.raises(ImageError, match=r"choose \.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"):
        plan([photo], tmp_path / "out.bmp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"no images in .*empty: name photos"):
        plan([tmp_path / "empty"], None)


def test_masks_and_notes(editor: Editor, tmp_path: Path, known_faces: Know) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (200, 320)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    report = edit_files(editor, [tmp_path / "deep.png"], tmp_path / "out.png", EditRequest("smile", ("left",), masks=True))
    assert [p.name for p in report.done] == ["out.png", "out.expression-mask.png", "out.lighting-mask.png"]
    with Image.open(report.done[1]) as mask:
        assert mask.size == (128, 128)
    assert report.messages() == []


def test_16_bits_are_kept_in_tiff_and_png_and_named_in_jpeg(editor: Editor, tmp_path: Path, known_faces: Know) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (200, 320, 3)).astype(np.uint16)
    photo = tmp_path / "deep.tif"
    tifffile.imwrite(photo, levels, photometric="rgb", software="scanner")
    report = edit_files(editor, [photo], tmp_path / "out.tiff", SMILE)
    edited = tifffile.imread(report.done[0])
    assert edited.dtype == np.uint16 and edited.shape == levels.shape and report.messages() == []
    same = (edited == levels).all(axis=2)
    assert same.mean() < 0.98 and same[:, 300:].all(), "the face is edited, what is not the person stays bit for bit"
    shown = np.asarray(editor(photo, "smile", "left").image)
    assert np.abs(edited / 257 - shown).mean() < 0.5
    assert read_mark(report.done[0]).edit == "expression=smile lighting=left strength=1"
    report = edit_files(editor, [photo], tmp_path / "out.jpg", SMILE)
    (note,) = report.notes
    assert (
        note == f"{photo}: 16 bits a channel: the result has 8, as JPEG is written so; name a .tiff or .png file to keep them"
    )


def test_masks_never_replace_a_file(editor: Editor, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        Image.open(photo).convert("RGB").save(folder / name)
    choice = EditRequest("smile", masks=True)
    with pytest.raises(ImageError, match=r"would both be .*a\.expression-mask\.png"):
        edit_files(editor, [folder], out, choice)
    (folder / "a.jpg").rename(folder / "b.jpg")
    out.mkdir()
    (out / "b.lighting-mask.png").write_text("theirs")
    report = edit_files(editor, [folder], out, choice)
    assert (out / "b.lighting-mask.png").read_text() == "theirs" and report.kept == [out / "b.lighting-mask.png"]
    (out / "a.lighting-mask.png").unlink()  # of a run that was killed there
    assert edit_files(editor, [folder], out, choice).done == [out / "a.lighting-mask.png"]


def test_a_photo_named_twice(editor: Editor, album: Path, known_faces: Know) -> None:
    with pytest.raises(ImageError, match=r"a\.jpg was named twice"):
        edit_files(editor, [album, album / "a.jpg"], None, SMILE)


def test_the_folder_one_stands_in(editor: Editor, album: Path, known_faces: Know, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((album, "."), (album / "inner", "..")):
        monkeypatch.chdir(place)
        edit_files(editor, [Path(name)], None, EditRequest("smile", overwrite=True))
        assert names(album.with_name("album-edited")) == ["a.jpg", "b.png", "inner/c.tiff"]


def test_grids(editor: Editor, tmp_path: Path, photo: Path, album: Path, known_faces: Know) -> None:
    report = edit_files(editor, [photo], None, EditRequest(lightings=("left", "right"), grid=True))
    assert report.done == [photo.with_name("photo-grid.png")]
    mark = read_mark(report.done[0])
    assert mark is not None and mark.edit == "grid of all expressions, lighting left right, strength=1"
    report = edit_files(editor, [album], None, EditRequest(grid=True))
    assert names(album.with_name("album-grid")) == ["a.png", "b.png", "inner/c.png"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (EditRequest(), "nothing to change: name --expression, --lighting or both"),
        (EditRequest("smile", ("left", "right")), "several lightings need --grid"),
        (EditRequest("smile", grid=True), "a grid shows all expressions"),
        (EditRequest(grid=True, masks=True), "a grid has no masks"),
        (EditRequest("gurn"), "unknown expression 'gurn'"),
        (EditRequest(lightings=("left", "leftt"), grid=True), "unknown lighting 'leftt'.*did you mean 'left'"),
        (EditRequest("smile", strength=2), "strength 2 is out of range"),
    ],
)
def test_wrong_wishes_are_told_before_anything_is_written(
    editor: Editor, tmp_path: Path, photo: Path, known_faces: Know, choice: EditRequest, message: str
) -> None:
    with pytest.raises(ConditionError, match=message):
        edit_files(editor, [photo], tmp_path / "out" / "x.png", choice)
    assert not (tmp_path / "out").exists()


def test_an_edit_of_a_photo_that_changed_is_made_anew(
    editor: Editor, tmp_path: Path, photo: Path, album: Path, known_faces: Know
) -> None:
    first = edit_files(editor, [album], tmp_path / "out", SMILE)
    old = (tmp_path / "out" / "b.png").read_bytes()
    stamp = (album / "b.png").stat()
    flipped = Image.open(photo).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    flipped.save(album / "b.png")
    os.utime(album / "b.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as `cp -p` and `mv` of another photo leave it
    again = edit_files(editor, [album], tmp_path / "out", SMILE)
    assert again.done == [tmp_path / "out" / "b.png"] and len(again.kept) == len(first.done) - 1
    assert (tmp_path / "out" / "b.png").read_bytes() != old
    assert not edit_files(editor, [album], tmp_path / "out", SMILE).done


def test_an_unmarked_output_is_kept_and_told_of(editor: Editor, tmp_path: Path, album: Path, known_faces: Know) -> None:
    plain = EditRequest(expression="smile", lightings=("left",), no_mark=True)
    edit_files(editor, [album], tmp_path / "out", plain)
    before = (tmp_path / "out" / "b.png").read_bytes()
    os.utime(album / "b.png", ns=(2**62, 2**62))
    report = edit_files(editor, [album], tmp_path / "out", plain)
    assert not report.done and (tmp_path / "out" / "b.png").read_bytes() == before
    assert [note for note in report.notes if "b.png: kept, though" in note and "--overwrite" in note]
