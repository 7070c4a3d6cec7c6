"""The rendered set's folder: whole shards, resume, splits, and errors that say what to do."""

import io
import json
import os
import tarfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.shard_jobs import make_shards_here

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.errors import ConfigError, DataError, LeganError
from legan.data.manifest import read_bytes, read_manifest
from legan.data.shards import write_shard
from legan_faces3d.render import dataset
from legan_faces3d.render.camera import View
from legan_faces3d.render.dataset import SetSettings, identity_seed, render_identity, render_set


class FakeRenderer:
    """Stands in for the real one: images that tell seed, expression and lighting apart."""

    def render(self, seed: int, expression: str, view: View) -> SimpleNamespace:
        images = np.zeros((20, 8, 8, 3), np.uint8)
        images[:] = seed % 251
        images[..., 1] = EXPRESSIONS.index(expression)
        images[..., 2] = np.arange(20)[:, None, None]
        landmarks = np.arange(136, dtype=np.float32).reshape(68, 2)
        matte = np.full((8, 8), EXPRESSIONS.index(expression), np.uint8)
        return SimpleNamespace(images=images, lightings=LIGHTING_NAMES, landmarks=landmarks, matte=matte)


@pytest.fixture
def without_processes(monkeypatch):
    """Renders in this process with the stand-in; gives the list of the shards made."""
    monkeypatch.setattr(dataset, "Renderer", lambda *settings: FakeRenderer())
    return make_shards_here(monkeypatch)


def test_set_has_every_condition_of_every_identity(tmp_path, without_processes):
    done = []
    manifest = render_set(tmp_path / "set", 11, seed=3, progress=lambda n, total: done.append((n, total)))
    assert manifest == tmp_path / "set" / "manifest.parquet"
    assert done == [(n, 11) for n in range(12)]
    frame = read_manifest(tmp_path / "set")
    assert len(frame) == 11 * 6 * 20
    assert not frame.duplicated(["identity", "expression", "lighting"]).any()
    assert set(frame["domain"]) == {"render"} and set(frame["licence"]) == {"CC0-1.0"}
    assert sorted(frame["identity"].unique()) == [f"r{i:06d}" for i in range(11)]
    splits = frame.groupby("identity")["split"].first()
    assert splits["r000008"] == "val" and splits["r000009"] == "test" and (splits.drop(["r000008", "r000009"]) == "train").all()


def test_a_set_of_four_people_can_be_trained_on_and_grows(tmp_path, without_processes):
    render_set(tmp_path / "set", 4)
    frame = read_manifest(tmp_path / "set")
    assert frame.groupby("identity")["split"].first().tolist() == ["train", "train", "train", "val"]
    render_set(tmp_path / "set", 11)
    assert without_processes == [f"r{index:06d}" for index in range(11)], "nobody is rendered again"
    frame = read_manifest(tmp_path / "set")
    assert frame.groupby("identity")["split"].first().tolist() == [*["train"] * 8, "val", "test", "train"]


def test_rows_lead_to_the_right_images(tmp_path, without_processes):
    render_set(tmp_path / "set", 2, seed=3)
    frame = read_manifest(tmp_path / "set")
    row = frame[(frame.identity == "r000001") & (frame.expression == "squint") & (frame.lighting == "13")].iloc[0]
    image = np.asarray(Image.open(io.BytesIO(read_bytes(tmp_path / "set", row))))
    assert tuple(image[0, 0]) == (identity_seed(3, 1) % 251, EXPRESSIONS.index("squint"), 13)
    np.testing.assert_allclose(row["landmarks"], np.arange(136))
    with tarfile.open(tmp_path / "set" / row["path"]) as shard:  # an ordinary tar as well
        assert shard.extractfile("squint/13.png").read() == read_bytes(tmp_path / "set", row)


def test_an_expressions_matte_is_kept_once(tmp_path, without_processes):
    render_set(tmp_path / "set", 2)
    frame = read_manifest(tmp_path / "set")
    places = frame.groupby(["identity", "expression"])["matte_offset"].nunique()
    assert (places == 1).all() and frame.groupby("identity")["matte_offset"].nunique().eq(6).all()
    for row in frame.sample(10, random_state=0).to_dict("records"):
        place = {"path": row["path"], "offset": row["matte_offset"], "n_bytes": row["matte_n_bytes"]}
        matte = np.asarray(Image.open(io.BytesIO(read_bytes(tmp_path / "set", place))))
        assert matte.shape == (8, 8) and (matte == EXPRESSIONS.index(row["expression"])).all()


def test_second_run_renders_only_what_is_missing(tmp_path, without_processes):
    render_set(tmp_path / "set", 4)
    before = {path.name: path.read_bytes() for path in (tmp_path / "set" / "shards").iterdir()}
    (tmp_path / "set" / "shards" / "r000002.tar").unlink()
    (tmp_path / "set" / "shards" / ".r000002.tar.abc.tmp").write_bytes(b"half a shard")
    without_processes.clear()
    render_set(tmp_path / "set", 4)
    assert without_processes == ["r000002"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "set" / "shards").iterdir()} == before


def test_larger_set_keeps_the_smaller_one(tmp_path, without_processes):
    render_set(tmp_path / "set", 2)
    small = read_manifest(tmp_path / "set")
    without_processes.clear()
    render_set(tmp_path / "set", 3)
    assert without_processes == ["r000002"]
    large = read_manifest(tmp_path / "set")
    assert list(large["sha256"][: len(small)]) == list(small["sha256"])


def test_seeds_of_two_sets_share_nobody():
    first, second = ({identity_seed(seed, index) for index in range(500)} for seed in (0, 1))
    assert len(first) == len(second) == 500 and not first & second


@pytest.mark.parametrize("change", [{"seed": 1}, {"view": View.WIDE}, {"size": 64}])
def test_other_settings_are_refused(tmp_path, without_processes, change):
    render_set(tmp_path / "set", 1)
    with pytest.raises(DataError, match=f"{next(iter(change))}.*another folder"):
        render_set(tmp_path / "set", 1, **change)


def test_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="choose an empty"):
        render_set(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_damaged_shard_is_named(tmp_path, without_processes):
    render_set(tmp_path / "set", 2)
    (tmp_path / "set" / "shards" / "r000001.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"r000001\.tar is damaged: delete it"):
        render_set(tmp_path / "set", 2)


@pytest.mark.parametrize("arguments", [{"n_identities": 0}, {"n_workers": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(ConfigError, match="at least"):
        render_set(tmp_path / "set", **({"n_identities": 1} | arguments))
    assert not (tmp_path / "set").exists()


class FullDisk(FakeRenderer):
    def render(self, seed, expression, view):
        if expression == "squint":
            raise OSError(28, "No space left on device")
        return super().render(seed, expression, view)


def test_full_disk_is_explained_and_leaves_no_shard(tmp_path):
    with pytest.raises(LeganError, match="no space left"):
        write_shard(tmp_path / "r000000.tar", partial(render_identity, FullDisk(), SetSettings(0, "crop", 8, 1)), 0)
    assert list(tmp_path.iterdir()) == []


def die(settings: SetSettings) -> None:
    os._exit(9)


def test_killed_worker_is_an_error_not_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "build_renderer", die)
    with pytest.raises(LeganError, match="run the same command again"):
        render_set(tmp_path / "set", 2, n_workers=2)


@pytest.mark.slow
def test_real_workers_resume_and_their_number_does_not_matter(tmp_path):
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    small = {"size": 32, "samples_per_axis": 1}
    render_set(tmp_path / "set", 2, n_workers=2, **small)
    shard = tmp_path / "set" / "shards" / "r000001.tar"
    first = shard.read_bytes()
    shard.unlink()
    render_set(tmp_path / "set", 2, n_workers=1, **small)
    assert shard.read_bytes() == first
    settings = json.loads((tmp_path / "set" / "settings.json").read_text())
    assert settings["size"] == 32 and settings["view"] == "crop"
    assert read_manifest(tmp_path / "set")["sha256"].nunique() == 240
