"""Q in the real pyiqa, where that is installed beside legan: `pip install pyiqa`, which is for noncommercial use only."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

import legan
from legan.quality.pyiqa_plugin import LeganQ, register


def test_scores_are_those_of_the_scorer(tiny_quality: Path) -> None:
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    scores = LeganQ(tiny_quality)(images)
    assert scores.shape == (3, 1)
    torch.testing.assert_close(scores[:, 0], legan.load_quality(tiny_quality, precision="fp32")(images))


def test_the_entry_point_is_declared() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pyiqa.archs"] == {"legan": f"{register.__module__}:{register.__name__}"}


@pytest.fixture(scope="module")
def pyiqa() -> object:
    return pytest.importorskip("pyiqa", minversion="0.1.16", reason="needs pyiqa: pip install pyiqa, noncommercial use only")


def test_a_metric_of_pyiqa(pyiqa, tiny_quality: Path) -> None:  # type: ignore[no-untyped-def]
    register()
    register()  # again, as the entry point may do
    assert "legan-q" in pyiqa.list_models("NR", filter="legan*")
    images = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    metric = pyiqa.create_metric("legan-q", device="cpu", weights=tiny_quality)
    assert not metric.lower_better
    torch.testing.assert_close(metric(images)[:, 0], legan.load_quality(tiny_quality, precision="fp32")(images))
    with pytest.raises(AssertionError, match="normalized"):  # pyiqa's own check
        metric(images * 2)


def test_a_loss_of_pyiqa_has_gradients(pyiqa, tiny_quality: Path) -> None:  # type: ignore[no-untyped-def]
    register()
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = pyiqa.create_metric("legan-q", as_loss=True, device="cpu", weights=tiny_quality)(images)
    loss.backward()
    assert loss.shape == () and images.grad is not None and images.grad.any()


def test_pyiqa_finds_the_network_by_itself(pyiqa, tiny_quality: Path) -> None:  # type: ignore[no-untyped-def]
    from pyiqa.archs import build_network

    if not [one for one in entry_points(group="pyiqa.archs") if one.name == "legan"]:
        pytest.skip("legan is on the path but not installed, so that it has no entry points: pip install it")
    assert isinstance(build_network({"type": "LeganQ", "weights": tiny_quality}), LeganQ)
