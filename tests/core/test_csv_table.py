"""Tables of people's tools: nothing is shifted, guessed or taken for missing; what cannot be read names the line."""

from pathlib import Path

import pytest

from legan.core.errors import DataError
from legan.core.table import read_csv_table

RIGHT = [["ann", "a,b.png", "3.5"], ["NA", "null", "4"]]


@pytest.mark.parametrize(
    "text",
    [
        'rater,image,rating\nann,"a,b.png",3.5\nNA,null,4\n',
        'rater,image,rating\nann,"a,b.png",3.5,\nNA,null,4,,\n',  # commas at the ends
        'rater,image,rating,\r\nann,"a,b.png",3.5,\r\n,,,\r\n\r\nNA,null,4,\r\n',  # a spreadsheet's empty column and rows
        "\ufeffrater;image;rating\nann;a,b.png;3.5\nNA;null;4\n",
        "rater\timage\trating\n ann \ta,b.png\t3.5\nNA\tnull\t4",
    ],
)
def test_what_spreadsheets_write_is_the_same_table(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "t.csv").write_text(text, encoding="utf-8")
    table = read_csv_table(path)
    assert table.columns == ["rater", "image", "rating"]
    assert table.rows == RIGHT
    assert table.texts("rater") == ["ann", "NA"] and table.numbers("rating") == [3.5, 4.0]


def test_decimal_commas_are_read_where_the_comma_does_not_separate(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("image;rating\na;3,5\nb;NA\n", encoding="utf-8")
    numbers = read_csv_table(path).numbers("rating")
    assert numbers[0] == 3.5 and numbers[1] != numbers[1]


@pytest.mark.parametrize("cell", ["1_0", "\u0663", "\uff13", "inf", "0x3", "1e", "3 4", "--3", "1,000"])
def test_only_plain_digits_are_numbers(tmp_path: Path, cell: str) -> None:
    (path := tmp_path / "t.csv").write_text(f'image,rating\na,2\nb,"{cell}"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"in line 3: give a number in plain digits$"):
        read_csv_table(path).numbers("rating")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"a,b\n1,2,3\n", "has 3 cells in line 2 and 2 columns"),
        (b"a,b,a\n1,2,3\n", "has two columns 'a'"),
        (b"a,,b\n1,2,3\n\n1,,,", None),
        (b'a,b\n"1,2\n', "is not a CSV file"),
        (b"\xff\xfea\x00,\x00", "is not a CSV file in UTF-8"),
        (b"a,b\n\x00,2\n", None),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, data: bytes, message: str | None) -> None:
    (path := tmp_path / "t.csv").write_bytes(data)
    if message is None:
        assert read_csv_table(path).columns[0] == "a"
        return
    with pytest.raises(DataError) as caught:
        read_csv_table(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_composed_and_decomposed_cells_are_one_name(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("image\nZo\u00eb.png\nZoe\u0308.png\n", encoding="utf-8")
    assert set(read_csv_table(path).texts("image")) == {"Zo\u00eb.png"}
