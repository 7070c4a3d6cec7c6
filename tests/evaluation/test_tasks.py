"""What is asked: pairs drawn by seed, truths that are true, a reference that holds none of what is judged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.sets import make_set, write_images
from tests.face_sets import draw_face, row

from legan.core.errors import DataError, ImageError
from legan.data.faces import FaceDataset
from legan.data.manifest import write_manifest
from legan.evaluation.tasks import KINDS, Folders, from_data_set, from_folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("data") / "drawn")


def test_questions_of_a_data_set(folder: Path) -> None:
    evaluation_set = from_data_set(folder, "test", 60, seed=0)
    data = evaluation_set.library
    assert (
        isinstance(data, FaceDataset)
        and evaluation_set.name == "drawn/test"
        and len(evaluation_set) == 60
        and evaluation_set.target is not None
    )
    assert (
        not set(evaluation_set.reference) & ({*evaluation_set.source, *evaluation_set.real})
        and evaluation_set.has_own_reference
    )
    assert np.bincount(data.person[evaluation_set.reference]).tolist() == [3] * 8, "half of each person's six images"
    assert np.bincount(data.person[evaluation_set.source]).min() >= 7, "people in turn"
    assert evaluation_set.real_is_same.all() and (evaluation_set.real != evaluation_set.source).all()
    # The truth is the same person under the condition asked for.
    assert (evaluation_set.truth >= 0).all() and (data.person[evaluation_set.truth] == data.person[evaluation_set.source]).all()
    assert np.array_equal(np.stack([data.expression, data.lighting], 1)[evaluation_set.truth], evaluation_set.target)
    own = np.stack([data.expression, data.lighting], 1)[evaluation_set.source]
    changes = own != evaluation_set.target
    words = {(False, True): KINDS[0], (True, False): KINDS[1], (True, True): KINDS[2]}
    assert [words[tuple(change)] for change in changes.tolist()] == evaluation_set.attributes["edit"].tolist()
    assert min(np.unique(evaluation_set.attributes["edit"], return_counts=True)[1]) >= 10


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
    evaluation_set = from_data_set(tmp_path, "val", 50, seed=0)
    data = evaluation_set.library
    assert isinstance(data, FaceDataset) and evaluation_set.target is not None
    assert (data.lighting[evaluation_set.reference] >= 0).all() and (data.lighting[evaluation_set.real] >= 0).all()
    assert (
        (data.lighting[evaluation_set.source] < 0).any()
        and set(evaluation_set.target[:, 1]) == {3, 7, 11}
        and not evaluation_set.target[:, 0].any()
    )


def test_too_little_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"12 images are too few, at least 16 are needed"):
        from_data_set(make_set(tmp_path / "few", n_people=2), "test", 50, 0)
    with pytest.raises(DataError, match=r"5 images are too few"):
        from_data_set(folder, "test", 5, 0)
    with pytest.raises(DataError, match="has no image of the split 'val'"):
        from_data_set(folder, "val", 50, 0)


def test_folders_belong_together_by_name(tmp_path: Path) -> None:
    inputs, truth = write_images(tmp_path / "in", 20), write_images(tmp_path / "truth", 12, change=5, ending="webp")
    real = write_images(tmp_path / "real", 40, change=3)
    evaluation_set = from_folders(inputs, truth, real, 100, seed=0)
    assert len(evaluation_set) == 20 and evaluation_set.target is None and (evaluation_set.truth >= 0).sum() == 12
    assert isinstance(evaluation_set.library, Folders)
    paths = evaluation_set.library.paths
    for k in range(20):
        if evaluation_set.truth[k] >= 0:
            assert paths[evaluation_set.truth[k]].stem == paths[evaluation_set.source[k]].stem == evaluation_set.names[k]
    assert len(evaluation_set.reference) == 20 and len(evaluation_set.real) == 20 and evaluation_set.has_own_reference
    assert {paths[i].parent.name for i in (*evaluation_set.reference, *evaluation_set.real)} == {"real"}
    alone = from_folders(inputs, None, None, 17, seed=0)
    assert len(alone) == 17 and not alone.has_own_reference and not len(alone.real) and (alone.truth < 0).all()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images in"):
        from_folders(tmp_path / "empty", None, None, 100, 0)
    with pytest.raises(DataError, match=r"1 images are too few"):
        from_folders(write_images(tmp_path / "one", 1), None, None, 100, 0)
    inputs = write_images(tmp_path / "in", 18)
    with pytest.raises(DataError, match=r"1 real images are too few"):
        from_folders(inputs, None, tmp_path / "one", 100, 0)
    with pytest.raises(DataError, match="bear their inputs' names"):
        from_folders(inputs, write_images(tmp_path / "in2" / "x", 3).rename(tmp_path / "t").parent / "t" / "..", None, 50, 0)
    Image.new("RGB", (128, 100)).save(inputs / "7.png")
    evaluation_set = from_folders(inputs, None, None, 100, 0)
    with pytest.raises(DataError, match=r"7\.png is 128x100 pixels: aligned crops are square"):
        evaluation_set.library.images(evaluation_set.source)
    Image.new("RGB", (64, 64)).save(inputs / "7.png")
    with pytest.raises(DataError, match=r"7\.png is 64x64 pixels and others are 128x128: bring all images to one size"):
        evaluation_set.library.images(evaluation_set.source)
