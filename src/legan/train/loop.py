"""The training loop (Fabric): train, rehearse, resume."""

import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch
from lightning_fabric import Fabric
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException
from torch.utils.data import DataLoader, Dataset

from legan.core.config import config_to_dict, to_toml
from legan.core.errors import ConfigError, LeganError
from legan.core.files import make_folder
from legan.train.config import LoopConfig
from legan.train.hooks import Hook, Progress, standard_hooks
from legan.train.run_folder import held_run, load_task_state, newest_checkpoint, open_run, remove_leftovers
from legan.train.task import Batch, Batches, Task, networks_of, reseed

# The training loop: runs any task on one device or several. The only file that imports Lightning Fabric.
#
# Networks stay plain modules; gradients are averaged over the processes after each backward, as in StyleGAN3's loop, so that a
# task may call its networks in any order, take gradients of gradients, and update one network while another only passes gradients on.


class RunConfig(Protocol):
    """A config with a `loop` part."""

    @property
    def loop(self) -> LoopConfig: ...


ConfigT = TypeVar("ConfigT", bound=RunConfig)
# Makes the task and its data from the config and the device; a function of a module, since it is called in every process.
Build = Callable[[ConfigT, torch.device], tuple[Task, Batches]]


@dataclass(frozen=True)
class Outcome:
    """How a training ended: finished, or stopped by Ctrl-C after `n_steps_done`."""

    run: Path
    n_steps_done: int
    n_steps: int

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.n_steps_done >= self.n_steps

    def __str__(self) -> str:
        if self.finished:
            return f"finished {self.n_steps} steps in {self.run}"
        return (
            f"stopped after step {self.n_steps_done} of {self.n_steps}; a checkpoint is in {self.run}: "
            "the same command again continues from it"
        )


@dataclass(frozen=True)
class Rehearsal:
    """What a training would be: `--dry-run`."""

    config: dict[str, Any]
    n_parameters: dict[str, int]
    device: str
    seconds_per_step: float
    n_steps: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {count:,}" for name, count in self.n_parameters.items())
        total = self.seconds_per_step * self.n_steps
        hours, minutes = divmod(round(total / 60), 60)
        return (
            f"{to_toml(self.config)}\nparameters: {sizes}\ndevice: {self.device}\n"
            f"step: {self.seconds_per_step:.2f} s; {self.n_steps} steps: about {hours} h {minutes:02d} min\n"
        )


def run_task(build: Build[ConfigT], config: ConfigT, run: Path, devices: int = 1, accelerator: str = "auto") -> Outcome:
    """Train in a run folder, from its newest checkpoint if it has one.

    Args:
        build: makes the task and its batches from the config and the device; a function of a module.
        config: the resolved config, written to `run/config.toml`.
        run: the run folder; made if it does not exist.
        devices: processes to train in, one to a GPU, or that many CPU processes.
        accelerator: as Fabric names them: "auto", "cpu", "cuda", ...

    Raises:
        ConfigError: the run folder belongs to another config.
        LeganError: the loss is not finite, the disk is full, or a process failed.
    """
    run = Path(run).resolve()
    if devices < 1:
        raise ConfigError(f"devices={devices} is out of range: give 1 or more")
    make_folder(run)
    # Bound beforehand: Fabric looks into the arguments of a launch for tensors, and refuses frozen dataclasses there.
    train = partial(_train, build=build, config=config, run=run)
    with held_run(run):
        open_run(run, config)
        remove_leftovers(run)
        if devices == 1:
            n_steps_done = Fabric(accelerator=accelerator, devices=1).launch(train)
        else:
            n_steps_done = _launch_many(train, Fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn"))
    return Outcome(run=run, n_steps_done=n_steps_done, n_steps=config.loop.n_steps)


def rehearse(build: Build[ConfigT], config: ConfigT, devices: int = 1) -> Rehearsal:
    """Build everything, time steps of every kind on one device, write nothing."""
    fabric = Fabric(devices=1)
    task, batches = _built(fabric, build, config)
    task.begin()
    n_timed = max(2, task.period)
    n_steps = 1 + n_timed
    loader = _loader(batches, replace(config.loop, n_steps=n_steps, n_workers=0), 0, 0, devices)
    start = time.perf_counter()
    for step, batch in enumerate(loader):
        if step == 1:  # the first step also warms up
            start = time.perf_counter()
        run_step(fabric, task, fabric.to_device(batch), config.loop, step, Means())
    return Rehearsal(
        config=config_to_dict(config),
        n_parameters={name: sum(p.numel() for p in task.networks[name].parameters()) for name in task.optimizers},
        device=str(fabric.device),
        seconds_per_step=(time.perf_counter() - start) / n_timed,
        n_steps=config.loop.n_steps,
    )


def _launch_many(train: Callable[[Fabric], int], fabric: Fabric) -> int:
    """Start the processes and wait. They handle Ctrl-C themselves; this process, which only waits, must outlive them."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        return fabric.launch(train)
    except ProcessException as error:
        last = str(error).strip().splitlines()[-1]
        raise LeganError(f"training process {error.error_index} failed: {last}") from error
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _train(fabric: Fabric, build: Build[ConfigT], config: ConfigT, run: Path) -> int:
    """One process of a training; returns the number of steps done."""
    try:
        task, batches = _built(fabric, build, config)
        state = newest_checkpoint(run)
        if state is None:
            task.begin()
        start = 0 if state is None else load_task_state(task, state)
        hooks = standard_hooks(run, config.loop) if fabric.is_global_zero else []
        return fit(fabric, task, batches, config.loop, hooks, start)
    except KeyboardInterrupt:
        if fabric.world_size == 1:
            raise
        # Of several processes, torch takes this for a good end, and the one that waits would wait for ever.
        raise LeganError("interrupted: the last checkpoint is kept") from None


def _built(fabric: Fabric, build: Build[ConfigT], config: ConfigT) -> tuple[Task, Batches]:
    reseed(config.loop.seed, 0, -1)
    task, batches = build(config, fabric.device)
    for net in networks_of(task).values():
        net.to(fabric.device)
    return task, batches


def fit(fabric: Fabric, task: Task, batches: Batches, loop: LoopConfig, hooks: Sequence[Hook], start: int = 0) -> int:
    """Run the steps from `start` on, and return the number of steps done: fewer than `loop.n_steps` after Ctrl-C.

    Raises:
        LeganError: a loss or gradient is not finite. Nothing is saved then: the last checkpoint is the last good state.
    """
    loader = _loader(batches, loop, start, fabric.global_rank, fabric.world_size)
    progress = Progress(task=task, n_steps_done=start, n_steps=loop.n_steps, batch_size=batches.batch_size)
    means = Means()
    try:
        with _stop_signal() as stop:
            for hook in hooks:
                hook.on_start(progress)
            for step, batch in zip(range(start, loop.n_steps), loader, strict=False):
                run_step(fabric, task, fabric.to_device(batch), loop, step, means)
                progress.n_steps_done = step + 1
                progress.stopped = _any_rank(fabric, stop.is_set())
                is_log = progress.n_steps_done % loop.log_every == 0 or progress.is_last
                progress.logs = means.take(fabric) if is_log else None
                for hook in hooks:
                    hook.after_step(progress)
                if progress.stopped:
                    break
    finally:
        for hook in hooks:
            hook.close()
    return progress.n_steps_done


def run_step(fabric: Fabric, task: Task, batch: Batch, loop: LoopConfig, step: int, means: "Means") -> None:
    """All updates of one step, then what follows them."""
    reseed(loop.seed, fabric.global_rank, step)
    for name, rates in task.learning_rates(step).items():
        for group, rate in zip(task.optimizers[name].param_groups, rates, strict=True):
            group["lr"] = rate
    for update in task.updates(batch, step):
        optimizer = task.optimizers[update.net]
        parameters = [p for p in task.networks[update.net].parameters() if p.requires_grad]
        loss = fabric.all_reduce(update.loss.detach(), reduce_op="mean") if fabric.world_size > 1 else update.loss.detach()
        _check_finite(loss, f"the loss of the {update.net}", step, update.logs)
        optimizer.zero_grad(set_to_none=True)
        # Only this network's leaves: whatever else the loss went through keeps its gradients as they are.
        fabric.backward(update.loss, inputs=parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        _average(fabric, gradients)
        norm = nn.utils.get_total_norm(gradients) if gradients else loss.new_zeros(())
        _check_finite(norm, f"the gradient of the {update.net}", step, update.logs)
        optimizer.step()
        means.add({f"{update.net}/loss": loss, f"{update.net}/gradient_norm": norm, **update.logs})
    task.after_step(step)


def _check_finite(value: Tensor, what: str, step: int, logs: Any) -> None:
    if not math.isfinite(float(value)):
        parts = ", ".join(f"{name} {float(torch.as_tensor(part).detach()):.4g}" for name, part in logs.items())
        raise LeganError(
            f"{what} is {float(value)} at step {step + 1}{f' ({parts})' if parts else ''}: the last checkpoint is kept; "
            "start a new run with a lower learning rate, or check the data of this step"
        )


def _average(fabric: Fabric, gradients: Sequence[Tensor]) -> None:
    """Replace gradients by their mean over the processes, in one message."""
    if fabric.world_size == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    flat = fabric.all_reduce(flat, reduce_op="mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


class Means:
    """Means of named scalars since they were last taken. Kept as tensors: reading one waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, logs: dict[str, Tensor | float]) -> None:
        """Add one value of each name."""
        for name, value in logs.items():
            self._sums[name] = self._sums[name] + (value.detach() if isinstance(value, Tensor) else value)
            self._counts[name] += 1

    def take(self, fabric: Fabric) -> dict[str, float]:
        """Return the means over steps and processes, and start anew."""
        own = {name: (float(total), self._counts[name]) for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        parts = [own]
        if fabric.world_size > 1:  # by name: a process may lack a term that others have
            parts = [own] * fabric.world_size
            torch.distributed.all_gather_object(parts, own)
        names = dict.fromkeys(name for part in parts for name in part)
        of_name = {name: [part[name] for part in parts if name in part] for name in names}
        return {name: sum(total for total, _ in found) / sum(count for _, count in found) for name, found in of_name.items()}


class _Steps(Dataset[Batch]):
    """A data set whose item `step` is that step's whole batch, so that a data loader can start anywhere."""

    def __init__(self, batches: Batches, rank: int, n_ranks: int) -> None:
        self.batches, self.rank, self.n_ranks = batches, rank, n_ranks

    def __getitem__(self, step: int) -> Batch:
        return self.batches(step, self.rank, self.n_ranks)


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; the loop still needs its workers for the step under way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _loader(batches: Batches, loop: LoopConfig, start: int, rank: int, n_ranks: int) -> DataLoader[Batch]:
    if batches.batch_size % n_ranks:
        raise ConfigError(
            f"batch size {batches.batch_size} cannot be shared by {n_ranks} devices: give a multiple of {n_ranks}"
        )
    return DataLoader(
        _Steps(batches, rank, n_ranks),
        batch_size=None,
        sampler=range(start, loop.n_steps),
        num_workers=loop.n_workers,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # its own, so that starting to load draws no number of the training
    )


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
