"""The table that long work writes: names that a spreadsheet would run, and numbers as they are."""

from pathlib import Path

from legan.apply.journal import Journal


def test_formulas_stand_behind_an_apostrophe_and_are_read_as_they_are(tmp_path: Path) -> None:
    names = ["=HYPERLINK(1).jpg", "@x/1.png", "'-a.png", "-0.5", "plain.png"]
    journal = Journal(tmp_path / "table.csv", ("image", "score"), {"weights": "w"})
    journal.add({"image": name, "score": -1.5} for name in names)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[1:] == [
        "'=HYPERLINK(1).jpg,-1.5,w,", "'@x/1.png,-1.5,w,", "''-a.png,-1.5,w,", "-0.5,-1.5,w,", "plain.png,-1.5,w,",
    ]  # fmt: skip
    again = Journal(tmp_path / "table.csv", ("image", "score"), {"weights": "w"})
    assert again.rows == journal.rows and list(again.rows) == names
    again.forget(["plain.png"])
    assert list(Journal(tmp_path / "table.csv", ("image", "score"), {"weights": "w"}).rows) == names[:-1]
