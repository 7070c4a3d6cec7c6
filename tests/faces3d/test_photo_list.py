"""Lists of photos: from CSV, from names, from folders, and errors that say what to do."""

from pathlib import Path

import pytest
from tests.photo_makers import write_photos

from legan.core.errors import DataError
from legan_faces3d.photos import list_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [f"{number:03d}_{expression}.png" for number in range(10) for expression in ("neutral", "smile")]
    return write_photos(tmp_path / "photos", names)


def write_csv(folder: Path, text: str) -> Path:
    path = folder / "faces.csv"
    path.write_text(text)
    return path


def test_csv_with_every_column(folder):
    csv = write_csv(
        folder,
        "file,identity,expression,split,source,licence,age\n000_smile.png,anna,Happy,test,here,CC0-1.0,30\n"
        "001_neutral.png,ben,neutral,,,,\n",
    )
    anna, ben = list_photos(folder, manifest=csv, source="there", licence="mine")
    assert (anna.identity, anna.expression, anna.split, anna.source, anna.licence) == (
        "anna",
        "smile",
        "test",
        "here",
        "CC0-1.0",
    )
    assert (ben.split, ben.source, ben.licence) == ("train", "there", "mine")
    assert anna.path == folder / "000_smile.png" and anna.name == "000_smile" and anna.expression_known


def test_every_fifth_identity_is_validation(folder):
    photos = list_photos(folder, identity_from_name=r"(?P<identity>\d+)_(?P<expression>[a-z]+)")
    splits = {photo.identity: photo.split for photo in photos}
    assert [name for name, split in splits.items() if split == "val"] == ["004", "009"]
    assert set(splits.values()) == {"train", "val"} and len(photos) == 20
    assert {photo.expression for photo in photos} == {"neutral", "smile"}


def test_a_few_people_have_one_for_validation(tmp_path):
    write_photos(tmp_path / "few", ["a.png", "b.png", "c.png"])
    assert [photo.split for photo in list_photos(tmp_path / "few")] == ["train", "train", "val"]
    write_photos(tmp_path / "one", ["a.png"])
    assert [photo.split for photo in list_photos(tmp_path / "one")] == ["train"]
    csv = write_csv(tmp_path / "few", "file,identity,expression,split\na.png,a,neutral,val\nb.png,b,neutral,\n")
    assert [photo.split for photo in list_photos(tmp_path / "few", manifest=csv)] == ["val", "train"], "as the manifest says"


def test_first_group_and_whole_match_name_the_person(folder):
    assert {photo.identity for photo in list_photos(folder, identity_from_name=r"^(\d\d)\d_")} == {"00"}
    photos = list_photos(folder, identity_from_name=r"^\d+")
    assert len({photo.identity for photo in photos}) == 10
    assert all(photo.expression == "neutral" and not photo.expression_known for photo in photos)


def test_without_names_folders_are_people(tmp_path):
    write_photos(tmp_path / "set" / "anna", ["a1.png", "a2.png"])
    write_photos(tmp_path / "set", ["alone.png"])
    found = {photo.name: photo.identity for photo in list_photos(tmp_path / "set")}
    assert found == {"a1": "anna", "a2": "anna", "alone": "alone"}
    assert {(photo.source, photo.licence) for photo in list_photos(tmp_path / "set")} == {("set", "unknown")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,identity\n000_smile.png,a\n", "lacks the column expression"),
        ("file,identity,expression\nnone.png,a,smile\n", r"line 2: .*none\.png does not exist"),
        ("file,identity,expression\n000_smile.png,a,smille\n", "line 2: unknown expression 'smille'.*did you mean 'smile'"),
        ("file,identity,expression\n000_smile.png,,smile\n", "line 2: the entry identity is empty"),
        ("file,identity,expression\n000_smile.png,../a,smile\n", "may hold letters, digits"),
        ("file,identity,expression,split\n000_smile.png,a,smile,training\n", "unknown split 'training'"),
        (
            "file,identity,expression,split\n000_smile.png,a,smile,val\n001_smile.png,a,smile,train\n",
            "identity 'a' is in the splits val and train",
        ),
        ("file,identity,expression\n000_smile.png,a,smile\n000_smile.png,b,smile\n", "have the same name"),
        ("", "is not a CSV file"),
    ],
)
def test_bad_csv_says_what_is_wrong(folder, text, message):
    with pytest.raises(DataError, match=message):
        list_photos(folder, manifest=write_csv(folder, text))


def test_csv_names_no_files_outside_of_the_folder(folder, tmp_path):
    write_photos(tmp_path, ["out.png"])
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    for name in ("../out.png", str(tmp_path / "out.png"), "link.png"):
        with pytest.raises(DataError, match="outside of it"):
            list_photos(folder, manifest=write_csv(folder, f"file,identity,expression\n{name},anna,smile\n"))


def test_other_mistakes(folder, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list_photos(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no photos"):
        (tmp_path / "empty").mkdir()
        list_photos(tmp_path / "empty")
    with pytest.raises(DataError, match="cannot read the regular expression"):
        list_photos(folder, identity_from_name="(")
    with pytest.raises(DataError, match="matches nothing in the name 000_neutral"):
        list_photos(folder, identity_from_name="x+")
    with pytest.raises(DataError, match="leave --identity-from-name out"):
        list_photos(folder, identity_from_name=".", manifest=folder / "faces.csv")
    with pytest.raises(DataError, match=r"faces\.csv does not exist"):
        list_photos(folder, manifest=folder / "faces.csv")
