"""The table that long work writes: names that a spreadsheet would run, and numbers as they are."""

from pathlib import Path

from legan.core.table import Journal


def table(path: Path) -> Journal:
    return Journal(path, ("image", "score"), {"weights": "w"})


def test_formulas_stand_behind_an_apostrophe_and_are_read_as_they_are(tmp_path: Path) -> None:
    path, names = tmp_path / "table.csv", ["=HYPERLINK(1).jpg", "@x/1.png", "'-a.png", "-0.5", "plain.png"]
    with table(path) as journal:
        journal.add({"image": name, "score": -1.5} for name in names)
    assert path.read_text().splitlines()[1:] == [
        "'=HYPERLINK(1).jpg,-1.5,w,", "'@x/1.png,-1.5,w,", "''-a.png,-1.5,w,", "-0.5,-1.5,w,", "plain.png,-1.5,w,",
    ]  # fmt: skip
    with table(path) as again:
        assert again.rows == journal.rows and list(again.rows) == names
        again.forget(["plain.png"])
    with table(path) as after:
        assert list(after.rows) == names[:-1]
