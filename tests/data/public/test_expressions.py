"""AffectNet in both layouts, and folders of expressions, on tiny files in their exact forms."""

from pathlib import Path

import numpy as np
import pytest

from legan.core.errors import DataError
from legan.data.public.affectnet import read_affectnet
from legan.data.public.folder import read_expressions, read_people

HEAD = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
LANDMARKS = ";".join(f"{value / 2:.2f}" for value in range(136))


def line(name: str, expression: int, landmarks: str = LANDMARKS) -> str:
    return f"{name},134,134,899,899,{landmarks},{expression},0.785714,-0.055556\n"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Lists as distributed: the one for validation has no heading."""
    folder = tmp_path / "Manually_Annotated_file_lists"
    folder.mkdir()
    names = [
        "689/737db2483489148d783ef278f43f486c0a97e140fc4b6b61b84363ca.jpg",
        "392/c4db2f9b7e4b422d14b6e038f0cdc3ecee239b55.jpg",
    ]
    (folder / "training.csv").write_text(HEAD + line(names[0], 1) + line("103/x.jpg", 10, "") + line(names[1], 7))
    (folder / "validation.csv").write_text(line("9/y.png", 5))
    return tmp_path


def test_affectnet_lists(lists: Path) -> None:
    images = read_affectnet(lists)
    assert [(image.expression, image.split) for image in images] == [
        ("happy", "train"),
        ("contempt", "train"),
        ("disgust", "val"),
    ]
    assert images[2].path == lists / "Manually_Annotated_Images" / "9" / "y.png" and images[2].identity == "affectnet-9-y"
    assert len({image.identity for image in images}) == 3, "nobody is named"
    assert images[0].landmarks is not None and images[0].landmarks.shape == (68, 2)
    assert list(images[0].landmarks[2]) == [2.0, 2.5]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (line("a.jpg", 11), r"training.csv, line 3: cannot read 'a.jpg"),
        (line("a.jpg", 1, "1;2;3"), "training.csv, line 3"),
        (line("a.jpg", 1).replace("-0.055556", "-0.055556,9"), "training.csv, line 3"),
        ("a.jpg,1\n", "training.csv, line 3: .*nine columns"),
        (line("a.jpg", 1).replace(",1,0.78", ",happy,0.78"), "training.csv, line 3"),
    ],
)
def test_wrong_lines_are_named(lists: Path, wrong: str, message: str) -> None:
    path = lists / "Manually_Annotated_file_lists" / "training.csv"
    path.write_text(HEAD + line("b.jpg", 0) + wrong)
    with pytest.raises(DataError, match=message):
        read_affectnet(lists)


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """The layout of eight labels; expressions are stored as text there."""
    for name, split, code in (("0", "train_set", "3"), ("11", "train_set", "0"), ("4", "val_set", "7")):
        for part in ("images", "annotations"):
            (tmp_path / split / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / split / "images" / f"{name}.jpg").write_bytes(b"")
        stem = tmp_path / split / "annotations" / name
        np.save(f"{stem}_exp.npy", np.array(code))
        np.save(f"{stem}_lnd.npy", np.arange(136, dtype=np.float64))
    return tmp_path


def test_affectnet_of_eight_labels(annotated: Path) -> None:
    images = read_affectnet(annotated)
    assert [(image.path.name, image.expression, image.split) for image in images] == [
        ("0.jpg", "surprise", "train"), ("11.jpg", "neutral", "train"), ("4.jpg", "contempt", "val"),
    ]  # fmt: skip
    assert list(images[1].landmarks[67]) == [134, 135]  # type: ignore[index]


def test_wrong_annotations_are_named(annotated: Path) -> None:
    path = annotated / "train_set" / "annotations" / "11_exp.npy"
    for content, message in ((np.array("8"), "11_exp.npy holds 8"), (np.array([1, 2]), "11_exp.npy holds 2 numbers, not 1")):
        np.save(path, content)
        with pytest.raises(DataError, match=message):
            read_affectnet(annotated)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"11_exp.npy is damaged"):
        read_affectnet(annotated)
    path.unlink()
    with pytest.raises(DataError, match=r"11_exp.npy does not exist"):
        read_affectnet(annotated)
    with pytest.raises(DataError, match=r"neither training.csv"):
        read_affectnet(annotated / "train_set")


def test_folders_of_expressions_and_of_people(tmp_path: Path) -> None:
    for name in ("train/happy/a.png", "train/sad/a.png", "test/happy/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    images = read_expressions(tmp_path)
    assert [(image.expression, image.split) for image in images] == [("happy", "test"), ("happy", "train"), ("sad", "train")]
    assert len({image.identity for image in images}) == 3
    assert [(image.expression, image.split) for image in read_expressions(tmp_path / "train")] == [("happy", ""), ("sad", "")]
    assert {image.identity for image in read_people(tmp_path / "train")} == {"happy", "sad"}
    (tmp_path / "train" / "loose.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"loose.png lies in no folder of an expression"):
        read_expressions(tmp_path)
