"""What is asked: pairs drawn by seed, truths that are true, a reference that holds none of what is judged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apply.evaluate.sets import make_set, write_pictures
from tests.face_sets import draw_face, row

from legan.apply.evaluate.exam import KINDS, Folders, from_data_set, from_folders
from legan.core.errors import DataError, ImageError
from legan.core.manifest import write_manifest
from legan.data.faces import FaceDataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("data") / "drawn")


def test_questions_of_a_data_set(folder: Path) -> None:
    exam = from_data_set(folder, "test", 60, seed=0)
    data = exam.library
    assert isinstance(data, FaceDataset) and exam.name == "drawn/test" and len(exam) == 60 and exam.target is not None
    assert not set(exam.reference) & ({*exam.source, *exam.real}) and exam.has_own_reference
    assert np.bincount(data.person[exam.reference]).tolist() == [3] * 8, "half of each person's six pictures"
    assert np.bincount(data.person[exam.source]).min() >= 7, "people in turn"
    assert exam.real_is_same.all() and (exam.real != exam.source).all()
    # The truth is the same person under the condition asked for.
    assert (exam.truth >= 0).all() and (data.person[exam.truth] == data.person[exam.source]).all()
    assert np.array_equal(np.stack([data.expression, data.lighting], 1)[exam.truth], exam.target)
    own = np.stack([data.expression, data.lighting], 1)[exam.source]
    changes = own != exam.target
    words = {(False, True): KINDS[0], (True, False): KINDS[1], (True, True): KINDS[2]}
    assert [words[tuple(change)] for change in changes.tolist()] == exam.attributes["edit"].tolist()
    assert min(np.unique(exam.attributes["edit"], return_counts=True)[1]) >= 10


def test_a_seed_gives_its_questions_and_more_of_them_begin_alike(folder: Path) -> None:
    a, b = from_data_set(folder, "test", 20, seed=3), from_data_set(folder, "test", 40, seed=3)
    assert np.array_equal(a.source, b.source[:20]) and a.target is not None and b.target is not None
    assert np.array_equal(a.target, b.target[:20]) and np.array_equal(a.reference, b.reference)
    assert a.fingerprint == from_data_set(folder, "test", 20, seed=3).fingerprint != b.fingerprint
    other = from_data_set(folder, "test", 20, seed=4)
    assert not np.array_equal(other.source, a.source) and other.fingerprint != a.fingerprint


def test_photos_under_their_own_light_are_sources_alone(tmp_path: Path) -> None:
    rows = []
    for person in range(6):
        for lighting in ("even", "03", "11", "07"):
            name = f"{person}{lighting}.png"
            Image.fromarray(draw_face(person, 0, 1, 128)).save(tmp_path / name)
            alignment = [1.0, 0, 0, 0, 1, person]
            domain = "photo" if lighting == "even" else "relit"
            facts = {"path": name, "split": "val", "domain": domain, "alignment": alignment}
            rows.append(row(f"p{person}", "neutral", lighting, **facts))
    write_manifest(rows, tmp_path)
    exam = from_data_set(tmp_path, "val", 50, seed=0)
    data = exam.library
    assert isinstance(data, FaceDataset) and exam.target is not None
    assert (data.lighting[exam.reference] >= 0).all() and (data.lighting[exam.real] >= 0).all()
    assert (data.lighting[exam.source] < 0).any() and set(exam.target[:, 1]) == {3, 7, 11} and not exam.target[:, 0].any()


def test_too_little_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"12 pictures are too few, at least 16 are needed"):
        from_data_set(make_set(tmp_path / "few", n_people=2), "test", 50, 0)
    with pytest.raises(DataError, match=r"5 pictures are too few"):
        from_data_set(folder, "test", 5, 0)
    with pytest.raises(DataError, match="has no image of the split 'val'"):
        from_data_set(folder, "val", 50, 0)


def test_folders_belong_together_by_name(tmp_path: Path) -> None:
    inputs, truth = write_pictures(tmp_path / "in", 20), write_pictures(tmp_path / "truth", 12, change=5, ending="webp")
    real = write_pictures(tmp_path / "real", 40, change=3)
    exam = from_folders(inputs, truth, real, 100, seed=0)
    assert len(exam) == 20 and exam.target is None and (exam.truth >= 0).sum() == 12
    assert isinstance(exam.library, Folders)
    paths = exam.library.paths
    for k in range(20):
        if exam.truth[k] >= 0:
            assert paths[exam.truth[k]].stem == paths[exam.source[k]].stem == exam.names[k]
    assert len(exam.reference) == 20 and len(exam.real) == 20 and exam.has_own_reference
    assert {paths[i].parent.name for i in (*exam.reference, *exam.real)} == {"real"}
    alone = from_folders(inputs, None, None, 17, seed=0)
    assert len(alone) == 17 and not alone.has_own_reference and not len(alone.real) and (alone.truth < 0).all()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pictures in"):
        from_folders(tmp_path / "empty", None, None, 100, 0)
    with pytest.raises(DataError, match=r"1 pictures are too few"):
        from_folders(write_pictures(tmp_path / "one", 1), None, None, 100, 0)
    inputs = write_pictures(tmp_path / "in", 18)
    with pytest.raises(DataError, match=r"1 real pictures are too few"):
        from_folders(inputs, None, tmp_path / "one", 100, 0)
    with pytest.raises(DataError, match="bear their inputs' names"):
        from_folders(inputs, write_pictures(tmp_path / "in2" / "x", 3).rename(tmp_path / "t").parent / "t" / "..", None, 50, 0)
    Image.new("RGB", (128, 100)).save(inputs / "7.png")
    exam = from_folders(inputs, None, None, 100, 0)
    with pytest.raises(DataError, match=r"7\.png is 128x100 pixels: aligned crops are square"):
        exam.library.images(exam.source)
    Image.new("RGB", (64, 64)).save(inputs / "7.png")
    with pytest.raises(DataError, match=r"7\.png is 64x64 pixels and others are 128x128: bring all pictures to one size"):
        exam.library.images(exam.source)
