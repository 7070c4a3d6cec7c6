"""`legan import`: images of public sets become aligned crops with their kind, and what cannot be used is counted."""

import io

import numpy as np
import pytest
from PIL import Image
from tests.conftest import landmarks_at, textured

from legan.core.errors import ConfigError, DataError
from legan.core.geometry import EYES_Y
from legan.data import import_faces as imports
from legan.data.import_faces import import_faces, parse_source
from legan.data.manifest import read_bytes, read_manifest
from legan.faces.detect import Face


@pytest.fixture
def one_face(monkeypatch):
    """Every image wider than 100 pixels has a face at one place."""

    def detect(image):
        return [Face((40, 30, 168, 158), landmarks_at(40, 30, 128), 1.0)] if image.width > 100 else []

    monkeypatch.setattr(imports, "detect_largest", detect)


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "100k-generated-images" / "ffhq-1024x1024" / "psi-0.5"
    folder.mkdir(parents=True)
    for k in range(12):
        textured(seed=k).save(folder / f"{k:05d}.png")
    Image.new("RGB", (50, 50)).save(folder / "99998.png")
    (folder / "99999.png").write_text("no image")
    return tmp_path / "100k-generated-images"


def test_samples_become_aligned_crops(tmp_path, samples, one_face):
    done = []
    found = import_faces("stylegan", samples, tmp_path / "out", progress=lambda n, total: done.append((n, total)))
    assert found["n_images"] == 12 and found["by_setting"] == {"stylegan/ffhq-psi0.5": 12}
    assert found["left_out"] == {"no face found": 1, "not readable": 1}
    assert done[-1] == (14, 14)
    frame = read_manifest(tmp_path / "out")
    assert set(frame["kind"]) == {"stylegan"} and set(frame["domain"]) == {"generated"} and frame["identity"].is_unique
    assert {"train", "val", "test"} == set(frame["split"])
    row = frame.iloc[0]
    image = np.asarray(Image.open(io.BytesIO(read_bytes(tmp_path / "out", row))))
    assert image.shape == (128, 128, 3)
    assert np.asarray(row["landmarks"]).reshape(68, 2)[36:48, 1].mean() == pytest.approx(128 * EYES_Y, abs=2)


def test_limit_spreads_over_the_folder_and_a_second_run_keeps_what_is_there(tmp_path, samples, one_face, monkeypatch):
    found = import_faces("stylegan", samples, tmp_path / "out", limit=4)
    assert found["n_images"] == 4
    monkeypatch.setattr(imports, "detect_largest", None)  # nothing is left to do
    assert import_faces("stylegan", samples, tmp_path / "out", limit=4) == found
    with pytest.raises(DataError, match="was made with n 4, not 5"):
        import_faces("stylegan", samples, tmp_path / "out", limit=5)
    with pytest.raises(DataError, match=r"was made with licence unknown, not CC0-1\.0"):
        import_faces("stylegan", samples, tmp_path / "out", limit=4, licence="CC0-1.0")
    textured(seed=99).save(next(samples.rglob("00000.png")))
    with pytest.raises(DataError, match="was made with another pictures"):
        import_faces("stylegan", samples, tmp_path / "out", limit=4)


def test_images_that_a_list_names_and_that_are_not_there_are_counted(samples, one_face, tmp_path, monkeypatch):
    found = imports.READERS["stylegan"](samples)
    found[0].path.unlink()
    monkeypatch.setitem(imports.READERS, "stylegan", lambda folder: found)
    assert import_faces("stylegan", samples, tmp_path / "out")["left_out"]["not readable"] == 2


def test_a_folder_of_photos_has_people(tmp_path, one_face):
    for name in ("ann", "bob"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(2):
            textured(seed=k).save(tmp_path / "photos" / name / f"{k}.jpg")
    import_faces("photo", tmp_path / "photos", tmp_path / "out")
    frame = read_manifest(tmp_path / "out")
    assert sorted(frame["identity"]) == ["ann", "ann", "bob", "bob"] and set(frame["domain"]) == {"photo"}
    assert (frame["fault"] == 0).all()


def test_no_face_at_all_and_no_images_are_errors(tmp_path, samples, monkeypatch):
    monkeypatch.setattr(imports, "detect_largest", lambda image: [])
    with pytest.raises(DataError, match="no face found"):
        import_faces("stylegan", samples, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        import_faces("mygan", tmp_path / "empty", tmp_path / "out2")
    assert not (tmp_path / "out2").exists()


def test_sources_are_written_name_and_folder(tmp_path):
    assert parse_source("stylegan=a/b=c") == ("stylegan", "a/b=c")
    for text in ("stylegan", "=x", "x="):
        with pytest.raises(ConfigError, match="NAME=DIR"):
            parse_source(text)


def test_an_import_of_nothing_usable_blocks_no_other(tmp_path, samples, one_face):
    (tmp_path / "small").mkdir()
    Image.new("RGB", (50, 50)).save(tmp_path / "small" / "a.png")
    with pytest.raises(DataError, match="could be used"):
        import_faces("photo", tmp_path / "small", tmp_path / "set")
    assert import_faces("stylegan", samples, tmp_path / "set")["n_images"] == 12
