"""What open pages hold, and what becomes of it."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import landmarks_at, textured

import legan
from legan.core.errors import FaceError, ImageError, LeganError
from legan.core.files import sha256_of
from legan.editing.editor import Editor
from legan.editing.loader import load_editor
from legan.faces.detect import Face
from legan_app import visits
from legan_app.batch import edit_batch
from legan_app.controls import LAMP, ROOM, Controls
from legan_app.visits import Page, Pages, edited_name, read_photo

SQUARES = ((150.0, 90.0, 256.0), (480.0, 60.0, 150.0))


@pytest.fixture
def editor(keeping_editor: Path) -> Editor:
    return load_editor(keeping_editor).cached()


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch, known_faces: Callable[..., None]) -> None:
    """Two faces in every photo, of which the smaller one takes a thorough look."""
    found = [Face((x, y, x + side, y + side), landmarks_at(x, y, side), 1.0) for x, y, side in SQUARES]
    monkeypatch.setattr(visits, "detect", lambda image, thorough=True: found if thorough else found[:1])
    known_faces(*SQUARES)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    textured(700, 420).save(path, exif=exif, quality=95)
    return path


@pytest.mark.usefixtures("faces")
def test_what_is_shown_is_small_and_what_is_saved_is_whole(
    editor: Editor, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits, "SHOWN_SIDE", 350)
    visit = Page(tmp_path / "page").open(photo, "photo.jpg", 1)
    controls = Controls(light=LAMP, ambient=0.5, strength=0.8)
    shown = visit.show(editor, controls)
    before, after = (Image.open(path) for path in (shown.before, shown.after))
    assert before.size == after.size == (350, 210)
    assert not after.getexif().get(0x010F), "the preview does not carry the photo's own metadata"
    saved = visit.save(editor, controls)
    assert saved.name == "photo-edited.jpg" and Image.open(saved).size == (700, 420)
    assert Image.open(saved).getexif()[0x010F] == "A camera"
    marks = [legan.read_mark(path) for path in (shown.after, saved)]
    assert marks[0] == marks[1] and marks[0] is not None
    assert marks[0].edit == "expression=kept lighting=-45,20 ambient=0.5 strength=0.8" and marks[0].photo == sha256_of(photo)
    # Both are the same edit, but for the grain.
    coarse = [np.asarray(image.resize((35, 21), Image.Resampling.BOX), float) for image in (Image.open(saved), after, before)]
    assert np.abs(coarse[0] - coarse[1]).max() < 3 < 8 < np.abs(coarse[1] - coarse[2]).max()


@pytest.mark.usefixtures("faces")
def test_an_edit_is_computed_once_and_old_files_go(
    editor: Editor, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = Page(tmp_path / "page").open(photo, "photo.jpg", 1)
    monkeypatch.setattr(visits, "_N_STALE", 2)
    for ambient in (0.9, 0.8, 0.7, 0.6, 0.5):
        shown = visit.show(editor, Controls(light=LAMP, ambient=ambient))
    assert shown.after.exists() and shown.before.exists()
    assert len(list(visit.folder.iterdir())) == 1 + 1 + 2
    assert visit.show(editor, Controls()).after == shown.before, "nothing to change: the photo itself"


@pytest.mark.usefixtures("faces")
def test_small_faces_are_offered_later(editor: Editor, photo: Path, tmp_path: Path) -> None:
    visit = Page(tmp_path / "page").open(photo, "photo.jpg", 1)
    assert len(visit.thumbnails()) == 1
    second = Controls(light=LAMP, face="2")
    with pytest.raises(FaceError, match="there is no face 2"):
        visit.show(editor, second)
    visit.look_closer(editor)
    assert len(visit.thumbnails()) == 2
    shown = visit.show(editor, second)
    changed = np.abs(np.asarray(Image.open(shown.after), int) - np.asarray(Image.open(shown.before), int)).max((0, 2)) > 12
    share = np.flatnonzero(changed) / len(changed)
    assert share.min() > 420 / 700 and share.max() < 690 / 700


@pytest.mark.usefixtures("faces")
def test_a_turned_face_is_warned_of_or_refused(
    editor: Editor, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [replace(face, mouth_spread=spread) for face, spread in zip(visits.detect(None), (10.0, 20.0), strict=True)]
    monkeypatch.setattr(visits, "detect", lambda image, thorough=True: found)
    visit = Page(tmp_path / "page").open(photo, "photo.jpg", 1)
    smile = Controls((0.5, 0, 0, 0, 0))
    shown = visit.show(editor, smile)
    assert shown.edit is not None and "the mouth seems covered" in shown.edit.warnings[0]
    with pytest.raises(FaceError, match="not edited, the mouth seems covered"):
        visit.show(editor, replace(smile, face="2"))
    assert visit.show(editor, replace(smile, face="2", force=True)).edit is not None
    # Light does not touch the mouth.
    assert visit.show(editor, Controls(light=ROOM, face="2")).edit.warnings == ()  # type: ignore[union-attr]


@pytest.mark.usefixtures("faces")
def test_pages_make_room_and_leave_nothing(editor: Editor, photo: Path, tmp_path: Path) -> None:
    pages = Pages(tmp_path / "pages", limit=2)
    for name in ("a", "b"):
        pages.opened(name).open(photo, "photo.jpg", 1).show(editor, Controls(light=ROOM))
    first = pages.get("a")
    assert first is not None and pages.get("nobody") is None and len(pages) == 2
    pages.opened("c").open(photo, "photo.jpg", 1)
    assert pages.get("b") is None and pages.get("a") is first, "the one unused longest makes room"
    assert len(list((tmp_path / "pages").iterdir())) == 2
    visit = first.visit
    assert visit is not None
    first.open(photo, "again.jpg", 1)
    assert not visit.folder.exists(), "another photo on the same page"
    with pytest.raises(LeganError, match="not held any more: drop it again"):
        visit.show(editor, Controls(light=ROOM))
    for name in ("a", "c", "nobody"):
        pages.close(name)
    assert len(pages) == 0 and list((tmp_path / "pages").iterdir()) == []


@pytest.mark.usefixtures("faces")
def test_a_batch_says_what_became_of_each_photo(
    editor: Editor, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(tmp_path / "page")
    large = tmp_path / "large.png"
    textured(1200, 900).save(large)
    upload = tmp_path / "other" / "photo.jpg"
    upload.parent.mkdir()
    textured(700, 420, seed=5).save(upload)
    assert page.add_to_batch([photo, upload, large, photo], limit=3) == 1
    assert photo.exists() and [name for _, name in page.batch] == ["photo.jpg", "photo.jpg", "large.png"]
    out = page.folder / "edited.zip"
    steps = [len(done.rows) for done in edit_batch(editor, page.batch, Controls(light=ROOM).request(), out, 1, 60)]
    assert steps == [1, 2, 3]
    with zipfile.ZipFile(out) as packed:
        assert sorted(packed.namelist()) == ["edits.csv", "photo-edited-2.jpg", "photo-edited.jpg"]
        table = packed.read("edits.csv").decode().splitlines()
    assert table[:3] == ["photo,output,note", "photo.jpg,photo-edited.jpg,", "photo.jpg,photo-edited-2.jpg,"]
    assert table[3].startswith('large.png,,"large.png is 1200x900 pixels: too large, at most 1 megapixels are read')
    # Out of time: what is done by then is packed.
    clock = iter((0.0, 1.0, 100.0, 101.0))
    monkeypatch.setattr("legan_app.batch.time.monotonic", lambda: next(clock))
    *_, done = edit_batch(editor, page.batch, Controls(light=ROOM).request(), out, 1, 60)
    assert (done.n_edited, done.n_failed) == (1, 2) and "not begun after 60 seconds" in done.rows[1][2]
    page.close()
    assert not page.folder.exists() and photo.exists()


def test_names_and_limits_of_files(tmp_path: Path) -> None:
    assert edited_name("../../a b.JPG") == "a b-edited.JPG"
    assert edited_name("photo.heic") == "photo-edited.png"
    assert edited_name("<img src=x>.png", "grid", ".png") == "_img src=x_-grid.png".replace("=", "_")
    assert edited_name("...") == "photo-edited.png"
    wide = tmp_path / "wide.png"
    Image.new("RGB", (1100, 1000)).save(wide)
    with pytest.raises(ImageError, match=r"holiday\.png is 1100x1000 pixels: too large"):
        read_photo(wide, "holiday.png", 1)
    photo, checksum = read_photo(wide, "holiday.png", 2)
    assert photo.path is None and checksum == sha256_of(wide)
