"""Two processes of torchrun, and parts of a batch, learn what one process learns; only the first writes; one that dies ends the other."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.parallel import BF16, BF16_SETTINGS, BF16_STEPS, CASES, LOOP, N_STEPS, make_data, train
from tests.train.tasks import FakeBatches, FakeConfig, FakeTask
from tests.train.tasks import build as build_fake
from torch import Tensor, nn
from torch.nn import functional

from legan.core.errors import ConfigError
from legan.train import loop
from legan.train.config import LoopConfig
from legan.train.loop import run_task
from legan.train.quality import RankedBatches
from legan.train.recipes import RECIPES
from legan.train.run_folder import list_checkpoints
from legan.train.task import Batches, Share

ROOT = Path(__file__).parents[2]
RESUMED = ("lite", "identity")


def curves(run: Path) -> list[dict[str, float]]:
    """What a run logged at each step of its training."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "images_per_second" in line]


def assert_equal_curves(run: Path, other: Path, tolerance: float, first: int = 0) -> None:
    """Losses and their terms agree at every step; norms of gradients, where a tie may fall either way, to a thousand times as much."""
    expected, found = curves(run), curves(other)
    assert len(found) == len(expected) == N_STEPS
    for a, b in zip(found[first:], expected[first:], strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"time", "images_per_second"}:
            bound = tolerance * (1000 if "norm" in name else 1)
            assert a[name] == pytest.approx(b[name], rel=bound, abs=bound), f"{name} at step {b['step']}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case trained in one process."""
    folder = make_data(tmp_path_factory.mktemp("several"))
    for name in CASES:
        train(folder, name, "one", "loop.n_checkpoints=9")
    for name in BF16:
        train(folder, name, "one-bf16", *BF16_SETTINGS)
    return folder


@pytest.fixture(scope="module")
def launch(folder: Path) -> subprocess.CompletedProcess[str]:
    """Every case trained by two processes, two of them from the second step of the run of one process."""
    for name in RESUMED:
        shutil.copytree(
            folder / "one" / name, folder / "resumed" / name, ignore=shutil.ignore_patterns("step_000004.pt", "*.safetensors")
        )
    # Looked at so seldom, the processes are not ended by torchrun before the one that waits has said why it stops.
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--monitor-interval",
        "15",
    ]
    return subprocess.run(
        [*torchrun, "-m", "tests.train.parallel", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(folder: Path, launch: subprocess.CompletedProcess[str], name: str) -> None:
    assert (folder / "two" / name).exists(), launch.stderr[-3000:]
    assert_equal_curves(folder / "one" / name, folder / "two" / name, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_two_processes_go_on_where_one_stopped(folder: Path, launch: subprocess.CompletedProcess[str], name: str) -> None:
    assert_equal_curves(folder / "one" / name, folder / "resumed" / name, 1e-5, first=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", BF16)
def test_two_processes_in_bfloat16_learn_what_one_does(
    folder: Path, launch: subprocess.CompletedProcess[str], name: str
) -> None:
    """Rows in two parts each: sums in another order, which 8 bits round otherwise, so the curves part slowly."""
    losses = ["net/loss"] if name == "identity" else ["critic/loss", "generator/loss"]
    one, two = curves(folder / "one-bf16" / name), curves(folder / "two-bf16" / name)
    assert len(one) == len(two) == BF16_STEPS
    for loss in losses:
        a, b = (np.array([step[loss] for step in run]) for run in (one, two))
        np.testing.assert_allclose(b[:4], a[:4], rtol=0.01)
        np.testing.assert_allclose(b, a, rtol=0.05)
    if name == "identity":
        assert b[-4:].mean() < 0.9 * b[0], "it learns"


@pytest.mark.slow
def test_only_the_first_process_writes_and_a_killed_one_ends_it(folder: Path, launch: subprocess.CompletedProcess[str]) -> None:
    for name in CASES:
        one, two = ({p.relative_to(folder / run / name) for p in (folder / run / name).rglob("*")} for run in ("one", "two"))
        of_tensorboard = "events.out"
        assert {p for p in one if of_tensorboard not in p.name} == {p for p in two if of_tensorboard not in p.name}
        assert sum(of_tensorboard in p.name for p in two) == 1
    assert launch.returncode != 0
    said = "process 0 of 2 stops, as another process of the training ended: the last checkpoint is kept"
    assert said in launch.stderr, launch.stderr[-3000:]
    assert [path.name for path in list_checkpoints(folder / "killed" / "stargan")] == ["step_000002.pt"]


class Double:
    """Batches in float64."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.batch_size = batches, batches.batch_size

    def __call__(self, step: int, rank: int, n_ranks: int) -> dict[str, Tensor]:
        batch = self.batches(step, rank, n_ranks)
        return {name: rows.double() if rows.is_floating_point() else rows for name, rows in batch.items()}


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainings in float64: what is not rounding shows."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for name, recipe in RECIPES.items():

        def build(config: object, device: torch.device, build=recipe.build) -> tuple[object, Double]:
            task, batches = build(config, device)
            return task, Double(batches)

        monkeypatch.setitem(RECIPES, name, replace(recipe, build=build))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fields", "wgan-gp", "starganv2"])
def test_a_batch_in_parts_teaches_what_the_whole_does(folder: Path, float64: None, name: str) -> None:
    """At a rate at which rounding would grow."""
    words = ["optimizer.lr=1e-3"]
    whole, parts = train(folder, name, "whole64", *words), train(folder, name, "parts64", *words, "loop.accumulate=4")
    assert_equal_curves(whole, parts, 1e-10)


def test_parts_share_draws_counts_and_first_rows() -> None:
    torch.manual_seed(0)
    whole = torch.rand(8, 3)
    mask = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    values = torch.arange(8.0)
    means, firsts, dropped = [], [], []
    for part in range(4):
        share = Share(part, 4)
        torch.manual_seed(0)
        assert torch.equal(share.rand(2, 3), whole[part::4])
        means.append((values * mask)[part::4].sum() / share.count(mask))
        chosen = share.choose(mask, 3)
        assert chosen.n == 3 and torch.equal(chosen.rows * 4 + part, torch.tensor([1, 2, 4])[chosen.places])
        torch.manual_seed(1)
        firsts.append(chosen.rand(len(chosen.rows), 2))
        torch.manual_seed(2)
        dropped.append(share.dropout(whole[part::4], 0.5))
    assert sum(means) / 4 == values[mask > 0].mean()
    torch.manual_seed(1)
    assert torch.equal(torch.cat([firsts[1], firsts[2], firsts[0]]), torch.rand(3, 2)), (
        "rows 1, 2 and 4 lie in parts 1, 2 and 0"
    )
    torch.manual_seed(2)
    assert torch.equal(torch.stack(dropped, 1).flatten(0, 1), functional.dropout(whole, 0.5))
    weights = [Share(part, 4).choose(mask, 3).weight for part in range(4)]
    assert weights == [4 / 3, 4 / 3, 4 / 3, 0] and Share().choose(mask).weight == 1


def test_what_cannot_be_divided_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"batch size 8 cannot be shared by 1 devices in 3 parts each: give a multiple of 3"):
        train(folder, "lite", "refused", "loop.accumulate=3")
    with pytest.raises(ConfigError, match=r"loop.accumulate=8 cannot divide the 4 rows of `ladders`"):
        train(folder, "quality", "refused", "loop.accumulate=8")
    with pytest.raises(ConfigError, match="rank_ladders=4 cannot be shared by 3 processes"):
        RankedBatches.__call__(SimpleNamespace(n_ladders=4), 0, 0, 3)  # type: ignore[arg-type]

    def normed(config: FakeConfig, device: torch.device) -> tuple[FakeTask, FakeBatches]:
        task, batches = build_fake(config, device)
        task.networks["a"] = nn.Sequential(task.networks["a"], nn.BatchNorm1d(3))
        return task, batches

    config = FakeConfig(loop=LoopConfig(n_steps=1, accumulate=2))
    with pytest.raises(ConfigError, match="a network has batch normalisation, whose statistics are of the whole batch"):
        run_task(normed, config, folder / "normed")
    monkeypatch.setattr(loop, "launched", lambda: loop.Launched(0, 2, 2))
    with pytest.raises(ConfigError, match=r"torchrun starts the processes .*: leave out --devices"):
        run_task(build_fake, FakeConfig(), folder / "both", devices=2)


def test_a_run_may_change_parts_and_compilation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    run = shutil.copytree(folder / "one" / "stargan", folder / "longer", ignore=shutil.ignore_patterns("events.*"))
    data = [folder / one for one in CASES["stargan"].data]
    words = [*LOOP, *CASES["stargan"].settings, "loop.n_steps=5", "loop.accumulate=2", "loop.compile=true"]
    words = [f"quality={folder / 'q.safetensors'}" if word == "quality=Q" else word for word in words]
    assert RECIPES["stargan"].train("lite", data, run, words).finished
    assert len(compiled) == 3, "generator, critic and Q; not the moving average"
