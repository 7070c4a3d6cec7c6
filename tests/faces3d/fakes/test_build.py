"""`legan synthesize`: every kind becomes valid crops, equal seeds give equal bytes, a second run makes what is missing."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_tiny_editor
from tests.faces3d.fakes.sets import make_rendered_set
from tests.shard_jobs import make_shards_here

from legan.core.errors import ConfigError, DataError
from legan.data.manifest import QUALITY_COLUMNS, image_names, read_bytes, read_manifest
from legan.data.simulated_raters import naturalness
from legan.requests import SynthesisRequest
from legan_faces3d.fakes import build
from legan_faces3d.fakes.build import in_words, synthesize
from legan_faces3d.fakes.make import Makers


class FakeRenderer:
    """Stands in for the real one: a flat planned_image for each lighting."""

    def render(self, seed, expression, realism, lightings):
        images = np.stack([np.full((128, 128, 3), (seed + 7 * i) % 251, np.uint8) for i in range(len(lightings))])
        return SimpleNamespace(images=images)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("sources")
    (base / "editors").mkdir()
    write_tiny_editor(base / "editors" / "step7.safetensors")
    return SimpleNamespace(
        renders=make_rendered_set(base / "renders", 10),
        relit=make_rendered_set(base / "relit", 10, "relit", "q"),
        editors=base / "editors",
    )


@pytest.fixture(scope="module")
def request_(folders):
    return SynthesisRequest((folders.renders,), (folders.relit,), folders.editors, n=240, seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory, request_):
    out = tmp_path_factory.mktemp("made") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Makers, "_get_renderer", lambda self: FakeRenderer())
        patch.setattr(build, "_N_MODEL_FACES", 40)
        done = []
        found = synthesize(request_, out, progress=lambda n, total: done.append((n, total)))
    return SimpleNamespace(out=out, found=found, done=done, frame=read_manifest(out))


def test_every_image_is_a_crop(made):
    names = image_names(made.frame)
    assert len(names) == 240 and not names.duplicated().any()
    for row in made.frame.to_dict("records"):
        with Image.open(io.BytesIO(read_bytes(made.out, row))) as image:
            assert image.size == (128, 128) and image.mode == "RGB"
            assert row["kind"] == "graded" or np.asarray(image).std() > 1, row["key"]


def test_manifest_has_what_simulated_raters_need(made):
    frame = made.frame
    assert set(QUALITY_COLUMNS) <= set(frame.columns)
    assert frame["fault"].between(0, 1).all() and frame["strength"].between(0, 1).all()
    assert set(frame["reference"]) - {""} <= set(image_names(frame))
    assert frame["naturalness_distance"].isna().all()
    perceived = naturalness(frame.assign(naturalness_distance=0.1))
    assert ((perceived > 0) & (perceived < 10)).all()


def test_counts_add_up_and_are_told(made):
    found = made.found
    assert found["n_images"] == 240 == sum(sum(splits.values()) for splits in found["by_kind"].values())
    assert set(found["by_kind"]) == {"render", "graded", "relit", "warp", "swap", "edit", "sample"}
    assert json.loads(json.dumps(found)) == found
    assert "240 images" in in_words(found) and "swap" in in_words(found)
    assert made.done[0] == (0, 240) and made.done[-1] == (240, 240)


def test_second_run_makes_only_what_is_missing_and_equal_bytes(made, request_, monkeypatch):
    monkeypatch.setattr(Makers, "_get_renderer", lambda self: FakeRenderer())
    before = {path.name: path.read_bytes() for path in (made.out / "shards").iterdir()}
    victims = [name for name in before if not name.startswith("render")]
    for name in victims:
        (made.out / "shards" / name).unlink()
    (made.out / "shards" / ".warp-000.tar.abc.tmp").write_bytes(b"half a shard")
    started = make_shards_here(monkeypatch)
    synthesize(request_, made.out)
    assert sorted(started) == sorted(name.removesuffix(".tar") for name in victims)
    assert {path.name: path.read_bytes() for path in (made.out / "shards").iterdir()} == before


def test_other_requests_for_the_same_folder_are_refused(made, request_):
    from dataclasses import replace

    with pytest.raises(DataError, match="with seed 1, not 2"):
        synthesize(replace(request_, seed=2), made.out)


def test_folder_of_something_else_is_refused(tmp_path, request_):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="choose an empty"):
        synthesize(request_, tmp_path)


def test_bad_folders_and_numbers_give_one_line(tmp_path, folders):
    with pytest.raises(DataError, match="is not a data set"):
        synthesize(SynthesisRequest((tmp_path,)), tmp_path / "out")
    with pytest.raises(DataError, match="holds no editors"):
        synthesize(SynthesisRequest((folders.renders,), editors=tmp_path, n=200), tmp_path / "out")
    with pytest.raises(ConfigError, match="workers"):
        synthesize(SynthesisRequest((folders.renders,)), tmp_path / "out", n_workers=0)
    assert not (tmp_path / "out").exists()


def test_graded_renders_need_a_rendered_set(tmp_path, folders):
    renders = make_rendered_set(tmp_path / "renders", 10)
    (renders / "settings.json").unlink()
    with pytest.raises(DataError, match="leave 'graded' out"):
        synthesize(SynthesisRequest((renders,), n=200, kinds="graded"), tmp_path / "out")
