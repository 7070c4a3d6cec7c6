"""Images are found by any name that points at one of them, however it is spelled."""

from pathlib import Path

import pytest

from legan.core.errors import DataError
from legan.core.listing import ImageNames, found_file

NAMES = ["shards/r1/a.png", "shards/r1/b.png", "shards/r2/b.png", "Zoe\u0308.png"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("shards/r1/a.png", "shards/r1/a.png"),
        ("data/set/shards/r1/a.png", "shards/r1/a.png"),
        ("shards/r1.tar/a.png", "shards/r1/a.png"),
        ("r2/b.png", "shards/r2/b.png"),
        ("a.png", "shards/r1/a.png"),
        ("shards\\r1\\a.png", "shards/r1/a.png"),
        ("Zo\u00eb.png", "Zoe\u0308.png"),
        ("photos/Zo\u00eb.png", "Zoe\u0308.png"),
        ("other/a.png", None),
        ("c.png", None),
        ("", None),
    ],
)
def test_an_image_is_found_by_path_key_and_plain_name(word: str, name: str | None) -> None:
    assert ImageNames(NAMES).find(word) == name


def test_a_name_of_several_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"'b\.png' could be shards/r1/b\.png or shards/r2/b\.png: write such names with"):
        ImageNames(NAMES).find("b.png")


def test_files_are_found_in_either_spelling(tmp_path: Path) -> None:
    (tmp_path / "Zoe\u0308.png").touch()
    (tmp_path / "\u00c5sa.png").touch()
    assert found_file(tmp_path, "Zo\u00eb.png").exists() and found_file(tmp_path, "A\u030asa.png").exists()
    assert found_file(tmp_path, "none.png") == tmp_path / "none.png"
