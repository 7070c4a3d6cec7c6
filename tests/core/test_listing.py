"""One walk of folders for all commands: what it lists, what it names as left out, links in circles, names of any encoding."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from legan.core import listing
from legan.core.listing import find_images, images_in_folder, list_images, utf8_name
from legan.data.public.layout import images_in
from legan.editing.folders import plan
from legan_faces3d.photos import list_photos
from legan_study.create import read_items

SOURCE = Path(listing.__file__).parent.parent


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_images_are_listed_sorted_and_the_rest_is_named(tmp_path: Path) -> None:
    folder = touch(
        tmp_path / "in", "b.PNG", "a.jpg", "inner/c.heic", "inner/old.pgm", "IMG.CR3", "notes.txt", ".hidden/d.png", "._a.jpg"
    )
    found = list_images(folder)
    assert names(found.images, folder) == ["a.jpg", "b.PNG", "inner/c.heic", "inner/old.pgm"]
    assert found.notes() == ["left out, not of a format that is read: IMG.CR3, notes.txt"]


def test_many_left_out_are_counted_by_ending(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", *(f"{i}.nef" for i in range(5)), "a.mov", "README")
    assert list_images(folder).notes() == ["left out, not of a format that is read: 7 files (5 .nef, 1 .mov, 1 no ending)"]


def test_what_is_left_out_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = touch(tmp_path / "in", "a.png", "b.dng")
    assert names(images_in_folder(folder), folder) == ["a.png"]
    assert caplog.messages == [f"{folder}: left out, not of a format that is read: b.dng"]


def test_linked_folders_are_walked_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "z/own.png")
    touch(tmp_path / "elsewhere", "b.png", "deep/c.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "b-link").symlink_to(folder / "z")  # walked already, and under its own name
    (folder / "file.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    found = list_images(folder)
    assert names(found.images, folder) == ["a.png", "again/b.png", "again/deep/c.png", "file.png", "z/own.png"]
    assert found.notes() == ["left out, a link to a folder that is walked already: b-link, link"]


def test_links_in_circles_end(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "inner/b.png")
    other = touch(tmp_path / "other", "c.png")
    (folder / "self").symlink_to(folder)
    (folder / "inner" / "up").symlink_to(tmp_path)
    (folder / "out").symlink_to(other)
    (other / "back").symlink_to(folder / "inner")
    (other / "self").symlink_to(other)
    (folder / "nothing").symlink_to(tmp_path / "gone")
    found = list_images(folder)
    assert names(found.images, folder) == ["a.png", "inner/b.png", "out/c.png"]
    assert sorted(found.left_out) == ["a link to a folder that is walked already", "a link to nothing"]
    assert len(found.left_out["a link to a folder that is walked already"]) == 4


def test_a_folder_named_by_a_link_is_walked(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert names(list_images(tmp_path / "link").images, tmp_path) == ["link/a.png"]


def test_excluded_folders_and_special_files(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "out/b.png", "out.old/c.png")
    (folder / "link").symlink_to(folder / "out")
    os.mkfifo(folder / "pipe.png")
    found = list_images(folder, exclude=folder / "out")
    assert names(found.images, folder) == ["a.png", "out.old/c.png"]
    assert found.notes() == ["left out, not a regular file: pipe.png"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scan = touch(tmp_path / "in", "a.png", "locked/b.png"), os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = list_images(folder)
    assert names(found.images, folder) == ["a.png"]
    assert found.notes() == ["left out, cannot be read (Permission denied): locked"]


def test_every_command_lists_the_same_files(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "._a.jpg", ".cache/b.png", "x/c.HEIC", "y.txt")
    touch(tmp_path / "elsewhere", "d.pgm")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    expected = ["a.jpg", "link/d.pgm", "x/c.HEIC"]
    assert names(find_images([folder]), folder) == expected
    assert names(images_in(folder), folder) == expected
    assert sorted(names([entry.path for entry in list_photos(folder)], folder)) == expected
    assert [item.name for item in read_items(folder, "rating")[0]] == expected
    assert names([job.photo for job in plan([folder], tmp_path / "out")[0]], folder) == expected


def test_folders_are_walked_in_one_place() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "READ_SUFFIXES" in text else ():
            walks = isinstance(node, ast.Attribute) and node.attr in ("rglob", "walk", "glob")
            assert not walks or path.name == "listing.py", f"{path.name} walks folders for images itself"


def test_names_that_are_not_utf8() -> None:
    name = os.fsdecode(b"b\xe9b\xe9 \xc3\xa9.jpg")
    assert utf8_name(name) == r"b\xe9b\xe9 é.jpg"
    assert utf8_name("légende 李.jpg") == "légende 李.jpg"
    utf8_name(name).encode()


def test_command_line_names_what_is_left_out_and_prints_any_name(tmp_path: Path, tiny_editor: Path) -> None:
    folder = touch(tmp_path / "in", "b.dng")
    path = os.fsencode(folder) + b"/\xe9.png"
    Image.new("RGB", (128, 128), "gray").save(folder / "a.png")
    (folder / "a.png").rename(os.fsdecode(path))
    options = ["-e", "smile", "--face", "aligned", "--editor", tiny_editor, "-o", tmp_path / "out"]
    command = [sys.executable, "-m", "legan", "edit", folder, *options]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONUTF8": "1"}, check=True)
    assert done.stdout == os.fsencode(tmp_path) + b"/out/\xe9.png\n"
    assert f"note: {folder}: left out, not of a format that is read: b.dng" in done.stderr.decode()
