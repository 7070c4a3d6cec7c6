"""Reference images: of the target's condition, whatever the side and the tone; targets that the data does not hold."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.face_sets import draw_face, make_face_set

from legan.core.errors import DataError
from legan.core.images import from_network
from legan.data.batches import DataConfig, FaceBatches, ReferenceBatches
from legan.data.faces import FaceDataset

HELD = (0, 1, 7, 13)  # 1 and 13 mirror each other


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    return FaceDataset([make_face_set(tmp_path_factory.mktemp("data") / "drawn", lightings=HELD)], "train", size=32)


def make(dataset: FaceDataset, flip: bool = False, tone: float = 0.0, **by: bool) -> ReferenceBatches:
    config = DataConfig(batch_size=32, flip=flip, tone=tone, pair_probability=0.0)
    return ReferenceBatches(FaceBatches(dataset, config, seed=3), **by)


def classes(batch: dict, role: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(batch[f"{name}_{role}"].argmax(1).numpy() for name in ("expression", "lighting"))  # type: ignore[return-value]


def people_with(image: np.ndarray, expression: int, lighting: int) -> list[int]:
    """Who of the ten looks just like this under a condition."""
    return [i for i in range(10) if np.array_equal(image, draw_face(i, expression, lighting, 32))]


@pytest.mark.parametrize("flip", [False, True])
def test_references_show_the_target_condition(dataset: FaceDataset, flip: bool) -> None:
    batch = make(dataset, flip)(5, 0, 1)
    expression, lighting = classes(batch, "trg")
    assert set(lighting) <= set(HELD)
    shown = []
    for name in ("x_ref", "x_ref2"):
        for image, e, light in zip(from_network(batch[name]), expression, lighting, strict=True):
            # Drawn faces are symmetric but for their light, so a flipped one is the same person under the mirrored light.
            shown.append(people_with(image, e, light))
    assert all(len(people) == 1 for people in shown)
    assert len({people[0] for people in shown}) > 4, "of whomever"
    assert shown[:32] != shown[32:], "two draws"


def test_sources_and_held_targets_are_those_of_the_plain_batches(dataset: FaceDataset) -> None:
    batches = make(dataset, flip=True, tone=0.5)
    plain, batch = batches.batches(7, 0, 1), batches(7, 0, 1)
    for name in ("x_real", "expression_src", "lighting_src"):
        assert torch.equal(plain[name], batch[name])
    is_held = np.isin(classes(plain, "trg")[1], HELD)
    assert 0 < is_held.sum() < 32
    for before, after in zip(classes(plain, "trg"), classes(batch, "trg"), strict=True):
        assert np.array_equal(before[is_held], after[is_held])
    assert "x_true" not in batch and batches.batch_size == 32


def test_one_attribute_alone(dataset: FaceDataset) -> None:
    plain = make(dataset)
    by_expression, by_lighting = make(dataset, by_lighting=False), make(dataset, by_expression=False)
    batch = by_expression(2, 0, 1)
    assert torch.equal(batch["lighting_trg"], plain.batches(2, 0, 1)["lighting_trg"]), "light plays no part: nothing to replace"
    seen = []
    for image, e in zip(from_network(batch["x_ref"]), classes(batch, "trg")[0], strict=True):
        seen.append([light for light in HELD if people_with(image, e, light)])
    assert all(seen) and len({lights[0] for lights in seen}) == 3, "any light; drawn faces look alike in room and frontal light"
    batch = by_lighting(2, 0, 1)
    assert torch.equal(batch["expression_trg"], plain.batches(2, 0, 1)["expression_trg"])
    for image, light in zip(from_network(batch["x_ref"]), classes(batch, "trg")[1], strict=True):
        assert any(people_with(image, e, light) for e in range(6))


def test_a_function_of_the_step(dataset: FaceDataset) -> None:
    a, b = make(dataset, flip=True, tone=0.5), make(dataset, flip=True, tone=0.5)
    a(0, 0, 1)
    for name, tensor in b(4, 1, 2).items():
        assert torch.equal(tensor, a(4, 1, 2)[name]) and len(tensor) == 16
    assert not torch.equal(a(4, 0, 2)["x_ref"], a(4, 1, 2)["x_ref"])


def test_photos_under_their_own_light_are_no_reference_of_a_lighting(tmp_path: Path) -> None:
    import pandas as pd

    folder = make_face_set(tmp_path / "drawn", lightings=HELD)
    rows = pd.read_parquet(folder / "manifest.parquet")
    rows.loc[rows["lighting"] == "01", "lighting"] = "even"
    rows.to_parquet(folder / "manifest.parquet")
    data = FaceDataset([folder], "train", size=32)
    assert (data.lighting < 0).any()
    assert set(classes(make(data)(0, 0, 1), "trg")[1]) <= {0, 7, 13}
    faces = from_network(make(data, by_lighting=False)(0, 0, 1)["x_ref"])
    assert any(people_with(face, e, 1) for face in faces for e in range(6)), "their expression is known"


def test_without_any_lighting_domains_are_expressions(tmp_path: Path) -> None:
    import pandas as pd

    folder = make_face_set(tmp_path / "drawn", lightings=HELD)
    rows = pd.read_parquet(folder / "manifest.parquet")
    rows.assign(lighting="even").to_parquet(folder / "manifest.parquet")
    data = FaceDataset([folder], "train", size=32)
    with pytest.raises(DataError, match=r"no image of the data is under one of the lightings: set network\.domains=expression"):
        make(data)
    assert make(data, by_lighting=False)(0, 0, 1)["x_ref"].shape == (32, 3, 32, 32)
