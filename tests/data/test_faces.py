"""The face data set: what it reads, which images are each other's truth, what it refuses."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.face_sets import draw_face, make_face_set, png, row

from legan.core.errors import DataError
from legan.data.faces import FaceDataset, LabelledFaces
from legan.data.manifest import write_manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn")


def write_folder(folder: Path, rows: list[dict[str, object]], size: int = 32) -> Path:
    """A folder of plain image files, one for each row, named by its number."""
    folder.mkdir()
    for index, entry in enumerate(rows):
        entry["path"] = f"{index}.png"
        (folder / f"{index}.png").write_bytes(png(draw_face(index, 0, 0, size)))
    write_manifest(rows, folder)
    return folder


def test_split_and_conditions(folder: Path) -> None:
    train, val = FaceDataset([folder], "train", size=32), FaceDataset([folder], "val", size=32)
    assert (len(train), train.n_identities, len(val), val.n_identities) == (8 * 24, 8, 24, 1)
    assert set(train.lighting) == {0, 1, 7, 13} and set(train.expression) == set(range(6))
    assert train.of_folder("source", 0) == ["drawn"] and train.of_folder("licence", 0) == ["CC0-1.0"]


def test_memory_and_file_give_the_drawn_pixels(folder: Path) -> None:
    in_memory, lazy = FaceDataset([folder], "train", size=32), FaceDataset([folder], "train", size=32, memory_gb=0)
    assert in_memory._memory is not None and lazy._memory is None
    chosen = np.array([190, 0, 37])
    np.testing.assert_array_equal(in_memory.images(chosen), lazy.images(chosen))
    for index, image in zip(chosen, lazy.images(chosen), strict=True):
        person = int(Path(lazy.rows[index]["path"]).stem[1:])
        np.testing.assert_array_equal(image, draw_face(person, lazy.expression[index], lazy.lighting[index], 32))


def test_truth_is_the_same_person_under_that_condition(folder: Path) -> None:
    data = FaceDataset([folder], "train", size=32)
    assert data.has_pair.all() and (data.truth >= 0).sum() == len(data)
    for person, expression, lighting in ((0, 0, 0), (3, 5, 13), (7, 2, 7)):
        index = data.truth[person, expression, lighting]
        assert (data.identity[index], data.expression[index], data.lighting[index]) == (person, expression, lighting)
    assert (data.truth[:, :, 2] == -1).all(), "the set has no lighting 02"


def test_which_images_are_truths(tmp_path: Path) -> None:
    rows = [
        row("a", "neutral", "00", domain="photo"),
        row("a", "neutral", "03", domain="relit"),
        row("a", "smile", "03", domain="relit"),
        row("a", "smile", "03", domain="relit"),  # two takes under one condition: neither is known to be the other's
        row("b", "neutral", "03", domain="generated"),
    ]
    data = FaceDataset([write_folder(tmp_path / "mixed", rows)], "train", size=32)
    assert data.has_pair.tolist() == [True, True, False, False, False]
    assert data.truth[0, 0, 3] == 1 and (data.truth >= 0).sum() == 1
    with_photos = FaceDataset([tmp_path / "mixed"], "train", size=32, paired_domains=("photo", "relit"))
    assert with_photos.truth[0, 0, 0] == 0


def test_a_take_is_all_that_was_made_from_one_photo(tmp_path: Path) -> None:
    one, other = [1.0, 0, 3, 0, 1, 4], [1.0, 0, 5, 0, 1, 6]
    relit = [
        row("a", "neutral", "even", domain="photo", alignment=one),
        row("a", "neutral", "03", domain="relit", alignment=one),
        row("a", "smile", "05", domain="relit", alignment=other),
    ]
    reexpressed = [row("a", "smile", "03", domain="reexpressed", alignment=one)]
    folders = [write_folder(tmp_path / "relit", relit), write_folder(tmp_path / "reexpressed", reexpressed)]
    data = FaceDataset(folders, "train", size=32)
    assert data.lighting.tolist() == [-1, 3, 5, 3] and data.has_pair.all()
    assert data.take[0] == data.take[1] == data.take[3] != data.take[2]
    first, second = data.truth[data.take[0]], data.truth[data.take[2]]
    assert first[0, 3] == 1 and first[1, 3] == 3 and (first >= 0).sum() == 2, "even light is nobody's truth"
    assert second[1, 5] == 2 and (second >= 0).sum() == 1, "another photo of the same person is another take"


def test_folders_never_share_people(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", [row("d000", "neutral", "00", source="elsewhere")])
    data = FaceDataset([folder, other], "train", size=32)
    assert data.n_identities == 9 and data.identity[-1] == 8 and data.folder[-1] == 1
    assert data.truth[8].max() == 192 and data.truth[0].max() < 24


def test_a_person_in_two_splits_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", [row("d000", "neutral", "00", split="val")])
    with pytest.raises(DataError, match="'d000' of drawn is in different splits"):
        FaceDataset([folder, other], "train", size=32)


def test_refusals_name_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r/0\.png.* is 32x32 pixels, not 64x64"):
        FaceDataset([write_folder(tmp_path / "r", [row("a", "neutral", "00")])], "train", size=64)
    with pytest.raises(DataError, match="unknown expression 'smirk'"):
        FaceDataset([write_folder(tmp_path / "e", [row("a", "smirk", "00")])], "train", size=32)
    with pytest.raises(DataError, match=r"no image of the split 'val' \(people: 1 train\): make it of at least 2 people"):
        FaceDataset([tmp_path / "r"], "val", size=32)
    damaged = write_folder(tmp_path / "d", [row("a", "neutral", "00")])
    (damaged / "0.png").write_bytes((damaged / "0.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"d/0\.png is damaged"):
        FaceDataset([damaged], "train", size=32)
    (damaged / "0.png").unlink()
    with pytest.raises(DataError, match=r"missing image: 0\.png"):
        FaceDataset([damaged], "train", size=32)


def test_an_expression_by_another_data_set_s_name_is_the_same_class(tmp_path: Path) -> None:
    rows = [row("a", "Happiness", "00"), row("a", "smile", "07"), row("b", "disgusted", "00")]
    faces = FaceDataset([write_folder(tmp_path / "named", rows)], "train", size=32)
    assert list(faces.expression) == [1, 1, 4], "smile, smile, disgust"


def test_palette_and_grey_images_become_rgb(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "grey", [row("a", "neutral", "00")])
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(buffer, "PNG")
    (folder / "0.png").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(FaceDataset([folder], "train", size=32).images([0]), np.full((1, 32, 32, 3), 77))


def test_labelled_faces_take_any_label_and_an_unknown_light(tmp_path: Path) -> None:
    rows = [
        row("a", "contempt", ""),
        row("a", "", "", domain="generated"),
        row("b", "happy", ""),
        row("c", "sad", "", split="val"),
    ]
    folder = write_folder(tmp_path / "any", rows)
    faces = LabelledFaces([folder], "train", 32)
    assert list(faces.label) == ["contempt", "", "happy"] and list(faces.person) == [0, 0, 1] and len(faces) == 3
    assert list(faces.domain) == ["render", "generated", "render"] and faces.of_folder("licence", 0) == ["CC0-1.0"]
    assert np.array_equal(faces.images([2]), LabelledFaces([folder], "train", 32, memory_gb=0.0).images([2]))
    assert np.array_equal(faces.images([2])[0], draw_face(2, 0, 0, 32))
    with pytest.raises(DataError, match="unknown expression"):
        FaceDataset([folder], "train", size=32)
