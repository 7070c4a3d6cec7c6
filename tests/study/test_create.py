"""Making a study: from every kind of folder, with nothing in the copies that tells where they came from, all or nothing."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select
from tests.face_sets import make_face_set
from tests.study.studies import make_study, write_compared, write_images

from legan.core.errors import ConfigError, DataError, ImageError, LeganError, StudyError
from legan.data.manifest import image_names, read_manifest, write_manifest
from legan.requests import StudyRequest
from legan_study import store as tables
from legan_study.check import check_study
from legan_study.config import StudyConfig, read_keys, read_settings, write_settings
from legan_study.create import create_study
from legan_study.study import open_study


def names(folder: Path, role: str = "main") -> set[str]:
    with open_study(folder) as study, study.store.reading() as connection:
        return set(connection.execute(select(tables.item.c.name).where(tables.item.c.role == role)).scalars())


@pytest.mark.parametrize("name", ["../secret.png", "{folder}/secret.png", "link.png"])
def test_a_data_set_gives_no_images_from_elsewhere(tmp_path: Path, name: str) -> None:
    data = make_face_set(tmp_path / "data", n_identities=1, size=32, lightings=(0,))
    Image.new("RGB", (32, 32)).save(tmp_path / "secret.png")
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    rows: list[Any] = read_manifest(data).to_dict("records")
    own = {"path": name.format(folder=tmp_path), "key": "", "offset": None, "n_bytes": None}
    write_manifest([{**rows[0], **own}, *({**row, "offset": int(row["offset"])} for row in rows[1:])], data)
    with pytest.raises(DataError, match="outside of it"):
        create_study(StudyRequest(data, tmp_path / "study", "rating"))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("kind", ["rating", "preference"])
def test_names_that_are_not_utf_8(tmp_path: Path, kind: str) -> None:
    source = write_compared(tmp_path / "compared", 4) if kind == "preference" else write_images(tmp_path / "pictures", 4)
    for path in list(source.rglob("f00.png")):
        path.rename(path.with_name(os.fsdecode(b"f\xff.png")))
    create_study(StudyRequest(source, tmp_path / "study", kind, n_practice=0))
    assert r"f\xff" in {name.removesuffix(".png") for name in names(tmp_path / "study")}


def test_a_study_serves_no_files_from_elsewhere(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=3)
    with open_study(folder) as study, study.store.writing() as connection:
        connection.execute(tables.image.update().where(tables.image.c.id == 1).values(file="../secrets.toml"))
    with pytest.raises(DataError, match="outside of it"):
        open_study(folder)


def test_from_a_data_set(tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "data", n_identities=2, size=32, lightings=(0,))
    made = create_study(StudyRequest(data, tmp_path / "study", "rating", n_practice=2))
    assert (made.n_main, made.n_practice) == (10, 2)
    assert names(tmp_path / "study") | names(tmp_path / "study", "practice") == set(image_names(read_manifest(data)))
    with open_study(tmp_path / "study") as study:
        assert all(one.width == 32 for one in study.images.values())


def test_copies_tell_nothing(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", 2)
    image = Image.open(source / "f00.png")
    exif = Image.Exif()
    exif[0x010E] = "made by StarGAN"
    image.save(source / "f02.jpg", exif=exif, quality=90)
    made = create_study(StudyRequest(source, tmp_path / "study", "rating", n_practice=0))
    files = list((tmp_path / "study" / "pictures").iterdir())
    assert len(files) == made.n_main == 3 and {file.suffix for file in files} == {".png"}
    for file in files:
        data = file.read_bytes()
        assert b"StarGAN" not in data and b"eXIf" not in data and b"tEXt" not in data and "f0" not in file.stem


def test_pixels_are_kept(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", 3)
    create_study(StudyRequest(source, tmp_path / "study", "rating", n_practice=0))
    kept = {Image.open(file).tobytes() for file in (tmp_path / "study" / "pictures").iterdir()}
    assert kept == {Image.open(file).convert("RGB").tobytes() for file in source.iterdir()}


def test_draws_are_repeatable_and_roles_exclude_each_other(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", 20)
    gold = tmp_path / "gold.csv"
    gold.write_text("image,low,high\nf03.png,7,10\n")
    for name in ("a", "b"):
        create_study(StudyRequest(source, tmp_path / name, "rating", gold=gold, n_practice=3, n_items=8, seed=4))
    roles = [names(tmp_path / "a", role) for role in ("main", "gold", "practice")]
    assert [len(role) for role in roles] == [8, 1, 3] and len(set.union(*roles)) == 12 and roles[1] == {"f03.png"}
    assert roles == [names(tmp_path / "b", role) for role in ("main", "gold", "practice")]
    assert read_settings(tmp_path / "a").gold_per_rater == 1


def test_gold_and_practice_from_elsewhere(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", 4)
    extra = write_images(tmp_path / "extra", 2)
    (extra / "f00.png").rename(extra / "bad.png")
    (extra / "gold.csv").write_text("image,low,high\nbad.png,0,3\n")
    practice = write_images(tmp_path / "practice", 5)
    made = create_study(
        StudyRequest(source, tmp_path / "study", "rating", gold=extra / "gold.csv", practice=practice, n_practice=2)
    )
    assert (made.n_main, made.n_gold, made.n_practice) == (4, 1, 2)


def test_preference(tmp_path: Path) -> None:
    source = write_compared(tmp_path / "compared", 4, ("a", "b", "c"))
    (source / "b" / "f00.png").rename(source / "b" / "f00.webp")  # endings may differ
    made = create_study(StudyRequest(source, tmp_path / "study", "preference", n_practice=1))
    assert made.models == ("a", "b", "c") and made.n_main == 3 and made.notes == ()
    Image.open(source / "a" / "f01.png").resize((32, 32)).save(source / "a" / "f01.png")
    made = create_study(StudyRequest(source, tmp_path / "other", "preference", n_practice=0))
    assert "differ in size" in made.notes[0] and names(tmp_path / "other") == {"f00", "f01", "f02", "f03"}


def test_secrets_are_for_the_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_study(StudyRequest(write_images(tmp_path / "source", 3), tmp_path / "study", "rating", n_practice=0))
    for name in ("secrets.toml", "study.sqlite"):
        assert stat.S_IMODE((tmp_path / "study" / name).stat().st_mode) == 0o600
    keys = read_keys(tmp_path / "study")
    assert len(keys.session_key) >= 40 and len(keys.admin_password) >= 20
    monkeypatch.setenv("LEGAN_STUDY_ADMIN_PASSWORD", "from the environment")
    assert read_keys(tmp_path / "study").admin_password == "from the environment"
    os.chmod(tmp_path / "study" / "secrets.toml", 0o644)
    with pytest.raises(StudyError, match="chmod 600"):
        read_keys(tmp_path / "study")
    monkeypatch.setenv("LEGAN_STUDY_SECRET", "short")
    monkeypatch.setenv("LEGAN_STUDY_DATABASE", "sqlite:///study.sqlite")
    with pytest.raises(StudyError, match="16 characters"):
        read_keys(tmp_path / "study")


def test_settings_are_read_as_written(tmp_path: Path) -> None:
    config = StudyConfig(
        title='Quotes " and \\ and ü 🙂 $title', kind="preference", allow_skip=False, completion_url="https://x/{code}"
    )
    write_settings(tmp_path, config)
    found = read_settings(tmp_path)
    assert (found.title, found.kind, found.allow_skip, found.completion_url) == (
        config.title,
        "preference",
        False,
        "https://x/{code}",
    )
    (tmp_path / "study.toml").write_text("titel = 'x'")
    with pytest.raises(ConfigError, match="title"):
        read_settings(tmp_path)
    for name in ("completion_url", "full_url"):
        (tmp_path / "study.toml").write_text(f"{name} = 'javascript:alert(1)'")
        with pytest.raises(StudyError, match=f"{name} must begin with https://"):
            read_settings(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "none"}, "is not a folder"),
        ({"source": "empty"}, "holds no images"),
        ({"kind": "ranking"}, "unknown kind"),
        ({"out": "source"}, "exists already"),
        ({"kind": "preference"}, "needs 2 to 4"),
        ({"kind": "preference", "source": "uneven"}, "'f02' is not in every model's folder"),
        ({"gold": "gold.csv"}, "the gold item 'nobody.png' is neither in"),
        ({"gold": "columns.csv"}, "lacks the column 'low'"),
        ({"gold": "bounds.csv"}, "give 0 <= low <= high <= 10"),
        ({"gold": "short.csv", "kind": "preference", "source": "compared"}, "unknown model '' for 'f01'"),
        ({"source": "damaged"}, "f00.png"),
        ({"database": "mysql://x/y"}, "not supported"),
        ({"database": "no url"}, "cannot be read"),
        ({"n_practice": -1}, "--n-practice must be 0 or more"),
        ({"n_items": 0}, "--n-items 1 or more"),
    ],
)
def test_invalid_options_leave_nothing_behind(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_images(tmp_path / "source", 3)
    (tmp_path / "empty").mkdir()
    write_compared(tmp_path / "uneven", 3)
    (tmp_path / "uneven" / "legan" / "f02.png").unlink()
    write_images(tmp_path / "damaged", 1)
    (tmp_path / "damaged" / "f00.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "gold.csv").write_text("image,low,high\nnobody.png,1,2\n")
    (tmp_path / "columns.csv").write_text("image,best\nf00.png,x\n")
    (tmp_path / "bounds.csv").write_text("image,low,high\nf00.png,5,11\n")
    write_compared(tmp_path / "compared", 3)
    (tmp_path / "short.csv").write_text("image,best\nf00,legan\nf01\n")
    before = {path for path in tmp_path.rglob("*")}
    paths = {name: tmp_path / value for name, value in options.items() if name in ("source", "out", "gold")}
    arguments = {
        "source": tmp_path / "source",
        "kind": "rating",
        "out": tmp_path / "study",
        "n_practice": 0,
        **options,
        **paths,
    }
    with pytest.raises((StudyError, ImageError, LeganError), match=message):
        create_study(StudyRequest(**arguments))  # type: ignore[arg-type]
    assert {path for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["f01", "f01.png"])
def test_gold_of_preferences_is_named_with_or_without_its_ending(tmp_path: Path, name: str) -> None:
    write_compared(tmp_path / "compared", 4)
    gold = tmp_path / "gold.csv"
    gold.write_text(f"image,best\n{name},legan\n")
    made = create_study(StudyRequest(tmp_path / "compared", tmp_path / "study", "preference", gold=gold, n_practice=0))
    assert (made.n_main, made.n_gold) == (3, 1)


@pytest.mark.parametrize(
    ("settings", "n_faults"),
    [
        (("panel_parameter = 'workerId'",), 0),
        ((), 1),
        (("completion_code = 'C1'",), 0),
        (("completion_url = 'https://x/?cc={code}'",), 1),
        (("completion_url = 'https://x/?cc={code}'", "completion_code = 'C1'"), 0),
    ],
)
def test_a_panel_needs_a_way_back(tmp_path: Path, settings: tuple[str, ...], n_faults: int) -> None:
    make_study(tmp_path / "study", "entry = 'panel'", *settings)
    faults = check_study(tmp_path / "study")
    assert sum("Prolific" in fault for fault in faults) == n_faults, faults


@pytest.mark.parametrize(
    ("settings", "n_faults"),
    [
        (("full_url = 'https://x/?cc={code}'",), 1),
        (("full_url = 'https://x/?cc={code}'", "full_code = 'OUT'"), 0),
        (("full_code = 'C1'", "completion_code = 'C1'"), 1),
    ],
)
def test_the_code_of_a_full_study(tmp_path: Path, settings: tuple[str, ...], n_faults: int) -> None:
    make_study(tmp_path / "study", *settings)
    assert sum(fault.startswith("full_") for fault in check_study(tmp_path / "study")) == n_faults
