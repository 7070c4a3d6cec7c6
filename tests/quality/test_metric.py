"""The torchmetrics metrics: against values computed from the networks directly, whatever the batches, and summed over processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from tests.conftest import TINY_CRITIC
from tests.recognition_weights import TINY, write_tiny_identity
from torchmetrics import Metric

import legan
from legan.core.errors import ConditionError, ImageError
from legan.models.lightcnn import LightCNN
from legan.quality.metric import ExpressionAccuracy, FaceQuality, LightingAccuracy, MatchScore

N = 6


def images(seed: int = 0) -> torch.Tensor:
    """Smooth images (N, 3, 128, 128) in [0, 1] that differ much, so that the networks' answers do."""
    few = torch.rand(N, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(few, (128, 128), mode="bilinear")


def critic_classes(path: Path, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The classes that the critic in a file gives, from a critic loaded without legan's loaders."""
    critic = legan.Critic(TINY_CRITIC).eval()
    critic.load_state_dict(
        {k.removeprefix("critic."): t.float() for k, t in load_file(path).items() if k.startswith("critic.")}
    )
    with torch.no_grad():
        output = critic(x * 2 - 1)
    return {"expression": output.expression.argmax(1), "lighting": output.lighting.argmax(1)}


def by_parts(metric: Metric, size: int, *columns: torch.Tensor) -> torch.Tensor:
    """The metric of all rows, given in batches of `size`."""
    metric.reset()
    for part in zip(*(column.split(size) for column in columns), strict=True):
        metric.update(*part)
    return metric.compute()


def test_match_score_is_the_mean_cosine_whatever_the_batches(tmp_path: Path) -> None:
    path = write_tiny_identity(tmp_path / "identity.safetensors")
    net = LightCNN(TINY).eval()
    net.load_state_dict(load_file(path))
    a, b = images(0), images(1)
    with torch.no_grad():
        expected = torch.nn.functional.cosine_similarity(net(a * 2 - 1), net(b * 2 - 1)).mean()
    metric = MatchScore(path)
    for size in (1, 4, N):
        torch.testing.assert_close(by_parts(metric, size, a, b), expected, atol=1e-5, rtol=0)
    metric.update(a[:0], b[:0])
    torch.testing.assert_close(metric.compute(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "attribute"), [(ExpressionAccuracy, "expression"), (LightingAccuracy, "lighting")])
def test_accuracy_is_the_share_of_the_critics_classes(kind: type, attribute: str, tiny_editor: Path) -> None:
    right = critic_classes(tiny_editor, images())[attribute]
    targets = right.clone()
    metric = kind(tiny_editor)
    targets[:2] = (targets[:2] + 1) % metric.n_classes
    for size in (1, 4, N):
        assert by_parts(metric, size, images(), targets).item() == pytest.approx((N - 2) / N)
    assert by_parts(metric, N, images(), right) == 1


def test_nothing_yet_is_nan_and_what_is_refused(tiny_editor: Path, tiny_generator: Path) -> None:
    metric = ExpressionAccuracy(tiny_editor)
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert metric.compute().isnan()
    with pytest.raises(ImageError, match="6 images cannot be compared with 2 targets"):
        metric.update(images(), torch.tensor([0, 1]))
    for targets in (torch.full((N,), 6), torch.full((N,), -1), torch.zeros(N)):
        with pytest.raises(ConditionError, match="integers \\(B,\\) from 0 to 5"):
            metric.update(images(), targets)
    with pytest.raises(ImageError):
        metric.update(images() * 2, torch.zeros(N, dtype=torch.long))
    with pytest.raises(ConditionError, match="holds no critic to read the lighting by"):
        LightingAccuracy(tiny_generator)


def one_wrong(editor: str | Path) -> torch.Tensor:
    """The lightings that the critic gives, but for the first image."""
    targets = critic_classes(Path(editor), images())["lighting"]
    targets[0] = (targets[0] + 1) % len(legan.LIGHTINGS)
    return targets


def _process(rank: int, folder: str, quality: str, editor: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    rows = slice(0, 2) if rank == 0 else slice(2, N)  # of unlike length: a mean of means would differ
    accuracy, naturalness = LightingAccuracy(editor), FaceQuality(quality)
    accuracy.update(images()[rows], one_wrong(editor)[rows])
    naturalness.update(images()[rows])
    torch.save([accuracy.compute(), naturalness.compute()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_value_of_one(tmp_path: Path, tiny_quality: Path, tiny_editor: Path) -> None:
    mp.spawn(_process, (str(tmp_path), str(tiny_quality), str(tiny_editor)), nprocs=2)
    accuracy, naturalness = LightingAccuracy(tiny_editor), FaceQuality(tiny_quality)
    accuracy.update(images(), one_wrong(tiny_editor))
    naturalness.update(images())
    assert accuracy.compute().item() == pytest.approx((N - 1) / N)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), [accuracy.compute(), naturalness.compute()])


def test_torchmetrics_is_imported_only_with_a_metric() -> None:
    loaded = "print('torchmetrics' in sys.modules)"
    code = f"import sys, legan; legan.QualityLoss; {loaded}; legan.FaceQuality; {loaded}"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]
