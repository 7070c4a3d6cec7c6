"""Multi-PIE, RaFD and CelebA on tiny trees of their true names: labels, people, and what is wrong is named."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from legan.core.errors import DataError
from legan.core.images import load_photo
from legan.core.weights import asset
from legan.data.import_faces import import_faces
from legan.data.manifest import read_manifest
from legan.data.public.celeba import STARGAN_ATTRIBUTES, read_celeba
from legan.data.public.multipie import read_multipie
from legan.data.public.rafd import read_rafd

RECORDINGS = {"01": 2, "02": 3, "03": 3, "04": 3}


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def shot(folder: Path, person: int, session: str, recording: int, number: int, camera: str = "05_1") -> Path:
    place = folder / f"session{session}" / "multiview" / f"{person:03d}" / f"{recording:02d}" / camera
    return touch(place / f"{person:03d}_{session}_{recording:02d}_{camera.replace('_', '')}_{number:02d}.png")


@pytest.fixture
def multipie(tmp_path: Path) -> Path:
    """Two people, one of whom came to two sessions only; high-resolution images beside."""
    for session, n in RECORDINGS.items():
        for person in (1, 2) if session in ("01", "02") else (1,):
            for recording in range(1, n + 1):
                for number in (0, 7, 13, 19):
                    shot(tmp_path, person, session, recording, number)
        touch(tmp_path / f"session{session}" / "highres" / "001" / f"001_{session}_01.png")
    return tmp_path


def test_multipie(multipie: Path, caplog: pytest.LogCaptureFixture) -> None:
    shot(multipie, 1, "01", 1, 0, camera="19_1")
    with caplog.at_level(logging.WARNING, "legan.core"):
        images = read_multipie(multipie)
    assert caplog.messages == ["1 images of other cameras than 05_1 are left out"]
    assert len(images) == 4 * (2 + 3 + 3 + 3) + 4 * (2 + 3)
    assert {image.identity for image in images} == {"multipie001", "multipie002"}, "one name in all sessions"
    of_first = {image.path.stem: image for image in images if image.identity == "multipie001"}
    assert (of_first["001_02_02_051_07"].expression, of_first["001_02_02_051_07"].lighting) == ("surprise", "07")
    assert [of_first[f"001_{name}_051_13"].expression for name in ("01_02", "02_03", "03_02", "03_03", "04_02", "04_03")] == [
        *("smile", "squint", "smile", "disgust", "neutral", "scream")
    ]
    assert Counter(image.lighting for image in of_first.values()) == {"00": 22, "07": 11, "13": 11}, "shot 19 has no flash"
    assert of_first["001_03_01_051_00"].setting == "photo/multi-pie/session03"


def test_multipie_is_imported_with_its_conditions(multipie: Path, tmp_path: Path) -> None:
    # Reals in place of the empty files: a rendered face, found by the detector.
    face = sorted(asset("faces").glob("london*.jpg"))[0].read_bytes()
    names = ["001_01_02_051_07", "002_02_02_051_00"]
    for path in list(multipie.rglob("*_051_*.png")):
        if path.stem in names:
            path.write_bytes(face)
    counts = import_faces("multipie", multipie, tmp_path / "out", licence="CMU")
    assert counts["n_images"] == 2 and counts["left_out"] == {"not readable": 62}
    rows = read_manifest(tmp_path / "out").sort_values("identity").to_dict("records")
    assert [(row["identity"], row["expression"], row["lighting"]) for row in rows] == [
        ("multipie001", "smile", "07"), ("multipie002", "surprise", "00"),
    ]  # fmt: skip
    assert "attributes" not in rows[0] and rows[0]["licence"] == "CMU"


def test_what_is_wrong_with_multipie_is_named(multipie: Path, tmp_path: Path) -> None:
    wrong = shot(multipie, 1, "04", 4, 0)
    with pytest.raises(DataError, match="is of recording 04 of session 04, which Multi-PIE has not"):
        read_multipie(multipie)
    wrong.unlink()
    wrong = shot(multipie, 1, "01", 1, 20)
    with pytest.raises(DataError, match="of shot 20: Multi-PIE has 00 to 19"):
        read_multipie(multipie)
    wrong.rename(wrong.with_name("002_01_01_051_08.png"))
    with pytest.raises(DataError, match=r"002_01_01_051_08.png is not where its name says: files are session<01..04>"):
        read_multipie(multipie)
    (wrong.with_name("002_01_01_051_08.png")).unlink()
    (multipie / "session02").rename(multipie / "elsewhere")
    with pytest.raises(DataError, match="lacks session02, where squint, surprise come from: extract all four sessions"):
        read_multipie(multipie)
    (tmp_path / "sides").mkdir()
    shot(tmp_path / "sides", 1, "01", 1, 0, camera="19_1")
    with pytest.raises(DataError, match="holds the cameras 19_1 and no image of the frontal one, 05_1"):
        read_multipie(tmp_path / "sides")
    with pytest.raises(DataError, match=r"holds no images as session<01..04>/multiview"):
        read_multipie(touch(tmp_path / "other" / "a.png").parent)


def test_rafd(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [
        "Rafd090_01_Caucasian_female_angry_frontal",
        "Rafd090_72_Moroccan_male_surprised_left",
        "Rafd090_63_Kid_male_contemptuous_right",
    ]
    for name in (*names, "Rafd135_01_Caucasian_female_angry_frontal"):
        touch(tmp_path / f"{name}.jpg")
    with caplog.at_level(logging.WARNING, "legan.core"):
        images = read_rafd(tmp_path)
    assert caplog.messages == ["1 images of other cameras than 090 are left out"]
    assert {(image.identity, image.expression, image.setting) for image in images} == {
        ("rafd01", "anger", "photo/rafd/frontal"),
        ("rafd72", "surprise", "photo/rafd/left"),
        ("rafd63", "contempt", "photo/rafd/right"),
    }
    touch(tmp_path / "Rafd090_01_Caucasian_female_cross_frontal.jpg")
    with pytest.raises(DataError, match=r"female_cross_frontal.jpg is not named as RaFD names its files"):
        read_rafd(tmp_path)
    side = touch(tmp_path / "side" / "Rafd000_01_Caucasian_female_angry_frontal.jpg").parent
    with pytest.raises(DataError, match="no image of RaFD's frontal camera, 090"):
        read_rafd(side)


HEADING = ("5_o_Clock_Shadow", *STARGAN_ATTRIBUTES)


def write_celeba(folder: Path, rows: Sequence[tuple[str, str, str, str]]) -> Path:
    """Lists of (name, attributes, person, partition), as CelebA is distributed."""
    for place in ("Anno", "Eval", "Img/img_align_celeba"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    attributes = "".join(f"{name} {values}\n" for name, values, _, _ in rows)
    (folder / "Anno" / "list_attr_celeba.txt").write_text(f"{len(rows)}\n{' '.join(HEADING)} \n{attributes}")
    (folder / "Anno" / "identity_CelebA.txt").write_text("".join(f"{name} {person}\n" for name, _, person, _ in rows))
    (folder / "Eval" / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, _, _, part in rows))
    return folder


ROWS = [("000001.jpg", "-1  1 -1 -1  1  1", "2880", "0"), ("000002.jpg", "1 -1 -1 -1 -1 1", "2937", "2")]


def test_celeba(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "celeba", ROWS)
    face = sorted(asset("faces").glob("london*.jpg"))[0]
    load_photo(face).image.save(folder / "Img" / "img_align_celeba" / "000001.jpg")
    images = read_celeba(folder)
    assert [(image.identity, image.split, image.attributes) for image in images] == [
        ("celeba2880", "train", ("Black_Hair", "Male", "Young")), ("celeba2937", "test", ("Young",)),
    ]  # fmt: skip
    counts = import_faces("celeba", folder, tmp_path / "out")
    assert counts["n_images"] == 1 and counts["left_out"] == {"not readable": 1}
    assert pd.read_parquet(tmp_path / "out" / "manifest.parquet")["attributes"].tolist() == ["Black_Hair Male Young"]


def test_what_is_wrong_with_celeba_is_named(tmp_path: Path) -> None:
    folder = write_celeba(tmp_path, ROWS)
    lists = folder / "Anno" / "list_attr_celeba.txt"
    right = lists.read_text()
    lists.write_text(right.replace("000002.jpg 1", "000002.jpg 2"))
    with pytest.raises(DataError, match=r"list_attr_celeba.txt, line 4: cannot read '000002.jpg 2.*6 numbers, 1 or -1"):
        read_celeba(folder)
    lists.write_text(right.replace("Young", "Old", 1))
    with pytest.raises(DataError, match=r"line 1: .*the number of images, and the next line the names"):
        read_celeba(folder)
    lists.write_text(right + "000003.jpg 1 1 1 1 1 1\n")
    with pytest.raises(DataError, match=r"identity_CelebA.txt of .* does not say what 000003.jpg is"):
        read_celeba(folder)
    lists.write_text(right)
    (folder / "Img" / "img_align_celeba").rmdir()
    with pytest.raises(DataError, match=r"has no Img/img_align_celeba or Img/img_celeba"):
        read_celeba(folder)
    (folder / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"list_eval_partition.txt does not exist: it is CelebA's, in Eval/"):
        read_celeba(folder)
