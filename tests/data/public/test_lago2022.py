"""The importer of lago2022, on a small folder of the same layout."""

from pathlib import Path

import pytest

from legan.core.errors import DataError
from legan.data.public.lago2022 import read_generators, read_lago2022


def write_folder(folder: Path) -> Path:
    lines = ["rater,image,likert,milliseconds,order"]
    lines += [f"s-{r},im-{i}.jpg,{1 + (r + 3 * i) % 7},{900 + r},{i + 1}" for r in range(6) for i in range(5)]
    lines += ["s-9,im-0.jpg,-1,2000,1", "s-9,im-1.jpg,7,2000,2", "bad,im-0.jpg,1,2000,1"]
    (folder / "ratings.csv").write_text("\n".join(lines))
    (folder / "images.csv").write_text("image,source\n" + "".join(f"im-{i}.jpg,photo\n" for i in range(5)))
    (folder / "excluded_raters.txt").write_text("bad\n")
    return folder


def test_scale_and_cleaning(tmp_path: Path) -> None:
    kept = read_lago2022(write_folder(tmp_path))
    assert kept.exclusions == {"excluded rater": 1, "skipped": 1}  # quick answers stay: the authors kept them
    one = kept.ratings.set_index(["rater", "image"])
    assert one.loc[("s-9", "im-1.jpg"), "rating"] == 0  # 7: synthetic
    assert one.loc[("s-0", "im-0.jpg"), "rating"] == 10  # 1: real
    assert one.loc[("s-3", "im-0.jpg"), "rating"] == pytest.approx(5)
    assert one.loc[("s-3", "im-0.jpg"), "seconds"] == pytest.approx(0.903)
    assert read_generators(tmp_path).to_dict() == {f"im-{i}.jpg": "photo" for i in range(5)}


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ratings\.csv does not exist"):
        read_lago2022(tmp_path)
    write_folder(tmp_path)
    (tmp_path / "ratings.csv").write_text("rater,image,likert,milliseconds,order\na,x,9,1,1\n")
    with pytest.raises(DataError, match=r"outside 1\.\.7"):
        read_lago2022(tmp_path)
