"""Batches of an editor that keeps: what was not asked for is equal in source and truth, codes say what was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import draw_face, make_face_set

from legan.core.conditions import LIGHTINGS
from legan.core.errors import ConfigError
from legan.core.images import from_network
from legan.data.batches import DataConfig
from legan.data.edits import EditBatches, EditsConfig
from legan.data.faces import FaceDataset
from legan.data.manifest import MANIFEST, read_manifest

PLAIN = DataConfig(batch_size=32, flip=False)
BARE = EditsConfig(lamps=0.0, backdrops=0.0, jitter=0.0, degradation=0.0, grey=0.0)
ALL = tuple(range(len(LIGHTINGS)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    """Crops without mattes."""
    return FaceDataset([make_face_set(tmp_path_factory.mktemp("data") / "plain", 3, lightings=ALL)], "train", size=32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    matte = np.zeros((32, 32), np.uint8)
    matte[4:28, 4:28] = 255
    folder = make_face_set(tmp_path_factory.mktemp("data") / "drawn", 3, lightings=ALL, matte=matte)
    return FaceDataset([folder], "train", size=32)


def test_a_pure_function_of_seed_rank_and_step(dataset: FaceDataset) -> None:
    config = EditsConfig(unpaired=0.3)
    batches, again = EditBatches(dataset, PLAIN, config, 3), EditBatches(dataset, PLAIN, config, 3)
    batches(1, 0, 1)
    a, b = batches(5, 0, 1), again(5, 0, 1)
    assert all(torch.equal(a[name], b[name]) for name in a)
    others = [batches(6, 0, 1), batches(5, 1, 1), EditBatches(dataset, PLAIN, config, 4)(5, 0, 1)]
    assert not any(torch.equal(a["x_real"], other["x_real"]) for other in others)
    assert len(batches(5, 1, 2)["x_real"]) == 16, "two processes share the batch"


@pytest.mark.parametrize("task", [0, 1, 2])
def test_what_is_not_asked_for_stays_and_its_code_is_zeros(plain: FaceDataset, task: int) -> None:
    shares = tuple(float(k == task) for k in range(3))
    batch = EditBatches(plain, PLAIN, replace(BARE, tasks=shares), 0)(0, 0, 1)
    asks_expression, asks_lighting = task != 1, task != 0
    assert (batch["expression_trg"].sum(1) == float(asks_expression)).all()
    assert (batch["lighting_trg"].sum(1) == float(asks_lighting)).all()
    assert batch["has_true"].all() and batch["can_return"].all()
    real, true = from_network(batch["x_real"]), from_network(batch["x_true"])
    for i in range(len(real)):
        expression, lighting = int(batch["expression_src"][i].argmax()), int(batch["lighting_src"][i].argmax())
        person = [p for p in range(3) if np.array_equal(real[i], draw_face(p, expression, lighting, 32))]
        assert len(person) == 1, "the source is a crop of the set"
        wanted = (
            int(batch["expression_trg"][i].argmax()) if asks_expression else expression,
            int(batch["lighting_trg"][i].argmax()) if asks_lighting else lighting,
        )
        assert np.array_equal(true[i], draw_face(person[0], *wanted, 32))
        back = batch["expression_back"][i], batch["lighting_back"][i]
        assert back[0].sum() == asks_expression and back[1].sum() == asks_lighting


def test_an_expression_edit_under_lamps_keeps_them(dataset: FaceDataset) -> None:
    config = replace(BARE, tasks=(1.0, 0.0, 0.0), lamps=1.0)
    batch = EditBatches(dataset, PLAIN, config, 0)(0, 0, 1)
    assert not batch["lighting_src"].any(), "a mixture is none of the classes"
    skin = (slice(None), slice(None), slice(0, 6))  # rows above the eyes, where drawn expressions do not differ
    torch.testing.assert_close(batch["x_real"][skin], batch["x_true"][skin])
    asked = batch["expression_trg"].argmax(1) != batch["expression_src"].argmax(1)
    assert (batch["x_real"] != batch["x_true"]).flatten(1).any(1)[asked].all()


def test_light_from_lamps_goes_to_a_class_and_cannot_return(dataset: FaceDataset) -> None:
    batch = EditBatches(dataset, PLAIN, replace(BARE, tasks=(0.0, 1.0, 0.0), lamps=1.0), 0)(0, 0, 1)
    assert not batch["can_return"].any() and (batch["lighting_trg"].sum(1) == 1).all()


def test_a_backdrop_is_the_same_behind_source_and_truth(dataset: FaceDataset) -> None:
    batch = EditBatches(dataset, PLAIN, replace(BARE, backdrops=1.0), 0)(0, 0, 1)
    border = batch["x_real"][:, :, :4]
    assert torch.equal(border, batch["x_true"][:, :, :4])
    assert border.flatten(1).std(0).mean() > 0.1, "and another one for each"


def test_an_edit_of_light_leaves_what_lies_behind(dataset: FaceDataset) -> None:
    batch = EditBatches(dataset, PLAIN, replace(BARE, tasks=(0.0, 1.0, 0.0)), 0)(0, 0, 1)
    real, true = batch["x_real"], batch["x_true"]
    assert torch.equal(real[:, :, :4], true[:, :, :4]) and torch.equal(real[..., 28:], true[..., 28:])
    azimuth = torch.tensor([light.azimuth or 0.0 for light in LIGHTINGS])  # all that the drawn faces show of a light
    other = azimuth[batch["lighting_src"].argmax(1)] != azimuth[batch["lighting_trg"].argmax(1)]
    assert (real != true)[:, :, 4:28, 4:28].flatten(1).any(1)[other].all()


def test_unpaired_edits_have_no_truth(dataset: FaceDataset) -> None:
    batch = EditBatches(dataset, PLAIN, replace(BARE, tasks=(1.0, 0.0, 0.0), unpaired=1.0), 0)(0, 0, 1)
    assert not batch["has_true"].any() and torch.equal(batch["x_real"], batch["x_true"])


def test_takes_of_one_expression_alone_are_unpaired_at_a_rate_of_their_own_and_mostly_sent_to_neutral(tmp_path: Path) -> None:
    folder = make_face_set(tmp_path / "drawn", 4, lightings=ALL)
    rows = read_manifest(folder)
    is_lone = rows["identity"].isin(["d000", "d001"])
    rows[~is_lone | (rows["expression"] == "smile")].to_parquet(folder / MANIFEST)
    data = FaceDataset([folder], "train", size=32)
    edits = replace(BARE, tasks=(1.0, 0.0, 0.0), unpaired_lone=1.0, unpaired_neutral=0.75)
    batches = EditBatches(data, PLAIN, edits, 0)
    drawn = [batches(step, 0, 1) for step in range(20)]
    has_true = torch.cat([batch["has_true"] for batch in drawn]) > 0
    target = torch.cat([batch["expression_trg"] for batch in drawn]).argmax(1)
    lone = target[~has_true]  # two people of 20 images, beside two of 120
    assert len(lone) == pytest.approx(640 * 2 / (2 + 2 * 6), rel=0.3)
    assert float((lone == 0).float().mean()) == pytest.approx(0.75 + 0.25 / 6, abs=0.1)


def test_everything_at_once_stays_in_range_with_landmarks_where_none_are_known(dataset: FaceDataset) -> None:
    batches = EditBatches(
        dataset, DataConfig(batch_size=32, tone=1.0), EditsConfig(jitter=1.0, degradation=1.0, unpaired=0.5), 0
    )
    for step in range(4):
        batch = batches(step, 0, 1)
        assert batch["x_real"].abs().max() <= 1 and batch["x_true"].abs().max() <= 1
        assert (batch["points_real"] < 0).all(axis=2).any() or (batch["points_real"][..., 1] == -1).all()


def test_refusals(dataset: FaceDataset, tmp_path: Path) -> None:
    for tasks in ((0.0, 0.0, 0.0), (-1.0, 1.0, 1.0)):
        with pytest.raises(ConfigError, match="not shares"):
            EditBatches(dataset, PLAIN, replace(BARE, tasks=tasks), 0)
    few = FaceDataset([make_face_set(tmp_path / "few", 2)], "train", size=32)
    with pytest.raises(ConfigError, match="all twenty lightings"):
        EditBatches(few, PLAIN, BARE, 0)
