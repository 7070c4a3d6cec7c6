"""The loop: bit-equal resume, whose gradients a step touches, errors, several processes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.tasks import FakeConfig, FakeTask, InterruptAt, build, same

from legan.core.config import load_config
from legan.core.device import mixed_dtype
from legan.core.errors import ConfigError, DataError, LeganError
from legan.train import hooks
from legan.train.config import LoopConfig
from legan.train.loop import Rehearsal, rehearse, run_task
from legan.train.run_folder import held_run, list_checkpoints, newest_checkpoint
from legan.train.task import Update, reseed


def interrupted_at(step: int):
    """A `build` whose training gets Ctrl-C during `step`."""

    def built(config: FakeConfig, device: torch.device):
        task, batches = build(config, device)
        return task, InterruptAt(batches, step)

    return built


def final_state(run: Path) -> dict:
    state = newest_checkpoint(run)
    assert state is not None
    return state


def test_five_steps_resumed_for_seven_equal_twelve(tmp_path: Path) -> None:
    whole = run_task(build, FakeConfig(), tmp_path / "whole")
    stopped = run_task(interrupted_at(4), FakeConfig(), tmp_path / "parts")
    assert (stopped.n_steps_done, stopped.finished) == (5, False)
    assert "the same command again continues" in str(stopped)
    assert list_checkpoints(tmp_path / "parts")[-1].name == "step_000005.pt"

    resumed = run_task(build, FakeConfig(), tmp_path / "parts")
    assert whole.finished and resumed.finished
    a, b = final_state(tmp_path / "whole"), final_state(tmp_path / "parts")
    assert a["n_steps_done"] == b["n_steps_done"] == 12 and a["extra"] == {"count": 12}
    assert same(a, b)
    lines = {name: (tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")}
    losses = {name: [(json.loads(x)["step"], json.loads(x)["a/loss"]) for x in lines[name]] for name in lines}
    assert losses["whole"] == losses["parts"] and len(losses["whole"]) == 12


def test_workers_prepare_the_same_batches(tmp_path: Path) -> None:
    run_task(build, FakeConfig(), tmp_path / "alone")
    with_workers = FakeConfig(loop=replace(FakeConfig().loop, n_workers=2))
    run_task(build, with_workers, tmp_path / "workers")
    assert same(final_state(tmp_path / "alone"), final_state(tmp_path / "workers"))


def test_the_seed_decides(tmp_path: Path) -> None:
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_task(build, FakeConfig(loop=LoopConfig(n_steps=2, seed=seed)), tmp_path / name)
        states.append(final_state(tmp_path / name)["networks"])
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_an_update_touches_only_its_own_network(tmp_path: Path) -> None:
    seen: list[tuple[str, torch.Tensor]] = []

    class Watching(FakeTask):
        def updates(self, batch, step):
            for update in super().updates(batch, step):
                before = {name: net.weight.detach().clone() for name, net in self.networks.items()}
                yield update
                other = "a" if update.net == "b" else "b"
                assert torch.equal(before[other], self.networks[other].weight)
                assert not torch.equal(before[update.net], self.networks[update.net].weight)
                if update.net == "a":  # its loss went through b, whose gradient is still that of b's own update
                    seen.append(("b", self.networks["b"].weight.grad - self.own))
                else:
                    self.own = self.networks["b"].weight.grad.clone()

    run_task(lambda config, device: (Watching(config), build(config, device)[1]), FakeConfig(), tmp_path)
    assert len(seen) == 12 and all(not difference.any() for _, difference in seen)


def test_unused_parameters_are_allowed(tmp_path: Path) -> None:
    class Partial(FakeTask):
        def updates(self, batch, step):
            yield Update("a", self.networks["a"].weight.square().sum(), {})

    config = FakeConfig(loop=LoopConfig(n_steps=1))
    run_task(lambda c, device: (Partial(c), build(c, device)[1]), config, tmp_path)
    assert final_state(tmp_path)["n_steps_done"] == 1


def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(LeganError, match=r"loss of the a is nan at step 7 \(size \d"):
        run_task(build, FakeConfig(nan_step=6), tmp_path)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000004.pt"]
    assert final_state(tmp_path)["n_steps_done"] == 4


def test_a_gradient_that_is_not_finite_stops_before_the_weights_spoil(tmp_path: Path) -> None:
    class Root(FakeTask):
        def updates(self, batch, step):
            yield Update("a", (self.networks["a"].weight * 0).abs().sqrt().sum(), {})

    made = []

    def built(config: FakeConfig, device: torch.device):
        made.append(Root(config))
        return made[0], build(config, device)[1]

    with pytest.raises(LeganError, match="gradient of the a is nan at step 1"):
        run_task(built, FakeConfig(), tmp_path)
    assert torch.isfinite(made[0].networks["a"].weight).all()


def test_another_config_in_a_run_folder_names_the_keys(tmp_path: Path) -> None:
    run_task(build, FakeConfig(loop=LoopConfig(n_steps=1)), tmp_path)
    with pytest.raises(ConfigError, match=r"n_images \(there 4, now 8\)") as caught:
        run_task(build, FakeConfig(loop=LoopConfig(n_steps=2), n_images=8), tmp_path)
    assert "(there 1, now 2)" not in str(caught.value), "the length may grow: it is not what stands in the way"
    assert "cannot change: n_images" in str(caught.value) and "nan_step" not in str(caught.value)


def test_a_finished_run_can_be_lengthened_and_not_shortened(tmp_path: Path) -> None:
    longer = replace(FakeConfig().loop, n_steps=15, log_every=5, n_checkpoints=1)
    assert run_task(build, FakeConfig(), tmp_path).finished
    outcome = run_task(build, FakeConfig(loop=longer), tmp_path)
    assert outcome.finished and str(outcome).startswith("finished 15 steps")
    assert final_state(tmp_path)["n_steps_done"] == 15 and final_state(tmp_path)["extra"] == {"count": 15}
    assert load_config(FakeConfig, tmp_path / "config.toml").loop == longer
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 13), 15], "one log, without a gap"
    with pytest.raises(ConfigError, match=r"15 steps, and loop\.n_steps may grow but not shrink to 12: give 15 or more"):
        run_task(build, FakeConfig(), tmp_path)


def test_a_training_that_failed_before_its_first_checkpoint_blocks_no_other(tmp_path: Path) -> None:
    with pytest.raises(LeganError, match="step 3"):
        run_task(build, FakeConfig(nan_step=2), tmp_path)
    assert (tmp_path / "log.jsonl").read_text() and not list_checkpoints(tmp_path)
    assert run_task(build, FakeConfig(n_images=8), tmp_path).finished
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert first["step"] == 1 and len((tmp_path / "log.jsonl").read_text().splitlines()) == 12


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    with held_run(tmp_path), pytest.raises(LeganError, match="another process is training"):
        run_task(build, FakeConfig(), tmp_path)
    assert not list_checkpoints(tmp_path)


def test_learning_rates_are_those_of_the_step(tmp_path: Path) -> None:
    run_task(build, FakeConfig(), tmp_path)
    groups = {name: state["param_groups"][0]["lr"] for name, state in final_state(tmp_path)["optimizers"].items()}
    assert groups == {"a": pytest.approx(0.01 / 12), "b": 0.01}


def test_rehearsal_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearsal = rehearse(build, FakeConfig())
    assert rehearsal.n_parameters == {"a": 12, "b": 4} and rehearsal.seconds_per_step > 0
    assert "n_images = 4" in str(rehearsal) and "a 12, b 4" in str(rehearsal)
    assert not list(tmp_path.iterdir())


def test_reseed_separates_seeds_and_steps() -> None:
    draws = []
    for key in ((0, 0), (0, 1), (1, 0), (0, -1), (0, 0)):
        reseed(*key)
        draws.append((torch.rand(1).item(), np.random.rand()))
    assert draws[0] == draws[-1] and len(set(draws)) == 4


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for has_bfloat16 in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=has_bfloat16: found)
        assert mixed_dtype("auto", cpu) is None, "the tests' arithmetic, whatever the processor (tests/conftest.py)"
        with monkeypatch.context() as patch:
            patch.delenv("LEGAN_PRECISION")
            assert mixed_dtype("auto", cpu) is (torch.bfloat16 if has_bfloat16 else None)
            patch.setenv("LEGAN_PRECISION", "bf16")
            assert mixed_dtype("auto", cpu) is torch.bfloat16 and mixed_dtype("fp32", cpu) is None
            patch.setenv("LEGAN_PRECISION", "half")
            with pytest.raises(ConfigError, match="unknown precision 'half'"):
                mixed_dtype("auto", cpu)
    assert torch.get_num_threads() == 1
    assert mixed_dtype("bf16", cpu) is torch.bfloat16 and mixed_dtype("fp32", cpu) is None
    with pytest.raises(ConfigError, match="did you mean 'fp32'"):
        mixed_dtype("fp3", cpu)


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    config = FakeConfig(loop=LoopConfig(n_steps=3, log_every=1), n_images=4, dump=str(tmp_path))
    outcome = run_task(build, config, tmp_path / "run", devices=2, accelerator="cpu")
    assert outcome.finished
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    inputs = first.pop("inputs"), second.pop("inputs")
    assert same(first, second), "weights and optimizers are equal in all processes"
    assert inputs[0].shape == (3, 2, 3) and not torch.equal(*inputs), "each process sees its own batches"
    assert same(final_state(tmp_path / "run")["networks"], first["networks"])
    logged = json.loads((tmp_path / "run" / hooks.LOG).read_text().splitlines()[0])
    assert logged["input"] == pytest.approx(torch.stack(inputs)[:, 0].mean().item()), "logs are means over processes"
    assert logged["second"] == 7, "by name: the first process has no such term"
    with pytest.raises(ConfigError, match="cannot be shared by 3 devices"):
        rehearse(build, config, devices=3)


@pytest.mark.parametrize(
    ("end", "message"), [("interrupt", "training process 1 failed: .*interrupted"), ("kill", "process 1 .*SIGKILL")]
)
@pytest.mark.slow
def test_a_process_that_ends_is_told_in_one_line(tmp_path: Path, end: str, message: str) -> None:
    config = FakeConfig(loop=LoopConfig(n_steps=3), dump=str(tmp_path), end=end)  # type: ignore[arg-type]
    with pytest.raises(LeganError, match=message):
        run_task(build, config, tmp_path / "run", devices=2, accelerator="cpu")


def test_a_start_that_fails_does_not_claim_the_folder(tmp_path: Path) -> None:
    def failing(config: FakeConfig, device: torch.device) -> None:
        raise DataError("no such data")

    with pytest.raises(DataError):
        run_task(failing, FakeConfig(n_images=2), tmp_path)  # type: ignore[arg-type]
    assert run_task(build, FakeConfig(), tmp_path).finished


@pytest.mark.parametrize(
    "name", ["n_steps", "log_every", "sample_every", "checkpoint_every", "n_checkpoints", "checkpoint_minutes"]
)
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"setting loop.{name}=0 is wrong: Input should be greater than 0"):
        load_config(FakeConfig, None, [f"loop.{name}=0"])


def test_a_rehearsal_times_every_kind_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    monkeypatch.setattr(FakeTask, "period", 5)
    monkeypatch.setattr(FakeTask, "after_step", lambda self, step: steps.append(step))
    rehearse(build, FakeConfig())
    assert steps == [0, 1, 2, 3, 4, 5], "one to warm up, and five"
    told = Rehearsal({}, {}, "cpu", 3.59, 1000)
    assert "about 1 h 00 min" in str(told)


def test_ctrl_c_in_the_last_step_leaves_the_last_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTask, "evaluate", lambda self, step: {"val/step": step})
    assert run_task(interrupted_at(11), FakeConfig(), tmp_path).finished
    lines = [json.loads(line) for line in (tmp_path / hooks.LOG).read_text().splitlines()]
    assert [line["val/step"] for line in lines if "val/step" in line] == [12]
