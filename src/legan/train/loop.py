"""The training loop (Fabric): train, rehearse, resume."""

import math
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils.data import DataLoader, Dataset

from legan.core.config import config_to_dict, to_toml
from legan.core.errors import ConfigError, LeganError
from legan.core.files import make_folder
from legan.train.config import LoopConfig
from legan.train.hooks import Hook, Progress, standard_hooks
from legan.train.run_folder import held_run, load_task_state, newest_checkpoint, open_run, remove_leftovers
from legan.train.task import Batch, Batches, Share, Task, Update, networks_of, random_state, reseed, set_random_state

# The training loop: runs any task on one device or several. The only file that imports Lightning Fabric.
#
# Networks stay plain modules; gradients are averaged over the processes after each backward, as in StyleGAN3's loop, so that a
# task may call its networks in any order, take gradients of gradients, and update one network while another only passes gradients on.
#
# However many processes and parts there are, a step sees the same batch and the same random numbers, each part its own rows of them
# (`task.Share`): what is learned is the same but for rounding, and a run goes on with any number of processes.


class RunConfig(Protocol):
    """A config with a `loop` part."""

    @property
    def loop(self) -> LoopConfig: ...


ConfigT = TypeVar("ConfigT", bound=RunConfig)
# Makes the task and its data from the config and the device; a function of a module, since it is called in every process.
Build = Callable[[ConfigT, torch.device], tuple[Task, Batches]]


@dataclass(frozen=True)
class Outcome:
    """How a training ended: finished, or stopped by Ctrl-C after `n_steps_done`; and as which of torchrun's processes, 0 without."""

    run: Path
    n_steps_done: int
    n_steps: int
    rank: int = 0

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


class Launched(NamedTuple):
    """What torchrun says to a process that it started: its number, the number of processes, and that of this machine's."""

    rank: int
    n_ranks: int
    n_local: int


def launched() -> Launched | None:
    """Return which of several processes of torchrun this is; None where it is none, or the only one."""
    if not torch.distributed.is_torchelastic_launched():
        return None
    found = Launched(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))
    return found if found.n_ranks > 1 else None


def run_task(build: Build[ConfigT], config: ConfigT, run: Path, devices: int = 1, accelerator: str = "auto") -> Outcome:
    """Train in a run folder, from its newest checkpoint if it has one.

    Within torchrun its processes train together, and this is called in each of them.

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
    if (place := launched()) is not None:
        return _run_launched(build, config, run, devices, accelerator, place)
    make_folder(run)
    # Bound beforehand: Fabric looks into the arguments of a launch for tensors, and refuses frozen dataclasses there.
    train = partial(_train, build=build, config=config, run=run)
    with held_run(run):
        open_run(run, config)
        remove_leftovers(run)
        if devices == 1:
            n_steps_done = Fabric(accelerator=accelerator, devices=1).launch(train)
        else:
            n_steps_done = _launch_many(train, _spawning(devices, accelerator))
    return Outcome(run=run, n_steps_done=n_steps_done, n_steps=config.loop.n_steps)


def _run_launched(
    build: Build[ConfigT], config: ConfigT, run: Path, devices: int, accelerator: str, place: Launched
) -> Outcome:
    """One of torchrun's processes. The first one holds the run folder and is the only one to write."""
    if devices != 1:
        raise ConfigError("torchrun starts the processes (--nproc-per-node): leave out --devices")
    fabric = Fabric(
        accelerator=accelerator,
        devices=place.n_local,
        num_nodes=place.n_ranks // place.n_local,
        strategy=DDPStrategy(),
        plugins=[TorchElasticEnvironment()],
    )

    def train(fabric: Fabric) -> int:
        with ExitStack() as stack:
            error: LeganError | None = None
            if fabric.is_global_zero:
                try:
                    make_folder(run)
                    stack.enter_context(held_run(run))
                    open_run(run, config)
                    remove_leftovers(run)
                except LeganError as caught:
                    error = caught
            # The others begin when the folder is ready, or end with the reason why it is not.
            reason = fabric.broadcast(None if error is None else str(error))
            if error is not None:
                raise error
            if reason is not None:
                raise LeganError(f"process 0 cannot start: {reason}")
            return _train(fabric, build, config, run)

    return Outcome(run, fabric.launch(train), config.loop.n_steps, place.rank)


def rehearse(build: Build[ConfigT], config: ConfigT, devices: int = 1) -> Rehearsal:
    """Build everything, time steps of every kind on one device, write nothing."""
    fabric = Fabric(devices=1)
    task, batches = _built(fabric, build, config)
    task.begin()
    n_timed = max(2, task.period)
    n_steps = 1 + n_timed
    loader = _loader(batches, task, replace(config.loop, n_steps=n_steps, n_workers=0), 0, 0, devices)
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


def _spawning(devices: int, accelerator: str) -> Fabric:
    # Within a job of SLURM too: its own variables speak of the processes that `srun` starts.
    return Fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn", plugins=[LightningEnvironment()])


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
        if fabric.world_size > 1 and fabric.broadcast(start) != start:
            raise LeganError(
                f"process {fabric.global_rank} reads another checkpoint in {run} than process 0: put the run folder on a disk that "
                "all machines share"
            )
        hooks = standard_hooks(run, config.loop) if fabric.is_global_zero else []
        return fit(fabric, task, batches, config.loop, hooks, start)
    except KeyboardInterrupt:
        if fabric.world_size == 1:
            raise
        # Of several processes, torch takes this for a good end, and the one that waits would wait for ever.
        raise LeganError("interrupted: the last checkpoint is kept") from None
    except RuntimeError as error:
        if fabric.world_size == 1 or not _is_lost(error):
            raise
        raise LeganError(
            f"process {fabric.global_rank} of {fabric.world_size} stops, as another process of the training ended: the last checkpoint "
            "is kept, and the same command continues from it"
        ) from error


# What gloo says of a process that has ended, in errors of no type of their own; NCCL's have one.
_LOST = ("closed by peer", "reset by peer", "broken pipe", "timed out waiting", "remote process exited")


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or any(words in text for words in _LOST)


def _built(fabric: Fabric, build: Build[ConfigT], config: ConfigT) -> tuple[Task, Batches]:
    reseed(config.loop.seed, -1)
    task, batches = build(config, fabric.device)
    for net in networks_of(task).values():
        net.to(fabric.device)
    if config.loop.compile:
        compile_networks(task)
    return task, batches


def compile_networks(task: Task) -> None:
    """Compile what a task names as `compiled`, where it has such a network."""
    networks = networks_of(task)
    for name in task.compiled:
        if name in networks:
            networks[name].compile()


def fit(fabric: Fabric, task: Task, batches: Batches, loop: LoopConfig, hooks: Sequence[Hook], start: int = 0) -> int:
    """Run the steps from `start` on, and return the number of steps done: fewer than `loop.n_steps` after Ctrl-C.

    Raises:
        LeganError: a loss or gradient is not finite. Nothing is saved then: the last checkpoint is the last good state.
    """
    loader = _loader(batches, task, loop, start, fabric.global_rank, fabric.world_size)
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
    reseed(loop.seed, step)
    for name, rates in task.learning_rates(step).items():
        for group, rate in zip(task.optimizers[name].param_groups, rates, strict=True):
            group["lr"] = rate
    # The parts of the batch in step with one another: an update of each, then the optimizer's step, then the next update.
    shares = _shares(fabric, task, batch, loop.accumulate)
    parts = [(share, task.updates(rows, step)) for share, rows in shares]
    while (update := _accumulate(fabric, task, parts, step)) is not None:
        net, parameters = update.net, _trained(task, update.net)
        _average(fabric, parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients) if gradients else update.loss.new_zeros(())
        _check_finite(norm, f"the gradient of the {net}", step, update.logs)
        task.optimizers[net].step()
        means.add({f"{net}/loss": update.loss, f"{net}/gradient_norm": norm, **update.logs})
    task.after_step(step)


def _shares(fabric: Fabric, task: Task, batch: Batch, n: int) -> list[tuple[Share, Batch]]:
    """Divide this process's rows into `n` parts."""
    n_ranks = fabric.world_size
    n_parts, whole = n * n_ranks, {}
    if n_parts > 1:
        whole = {name: batch[name] for name in task.shared}
    if n_ranks > 1 and whole:
        whole = {name: _gathered(rows, n_ranks) for name, rows in whole.items()}
    if n == 1:
        return [(Share(fabric.global_rank, n_parts, whole), batch)]
    for name, rows in batch.items():
        if len(rows) % n:
            raise ConfigError(
                f"loop.accumulate={n} cannot divide the {len(rows)} rows of `{name}` of a step: give a divisor of them"
            )
    return [
        (Share(fabric.global_rank + n_ranks * i, n_parts, whole), {name: rows[i::n] for name, rows in batch.items()})
        for i in range(n)
    ]


def _gathered(rows: Tensor, n_ranks: int) -> Tensor:
    """The rows of the whole batch, which were dealt out to the processes one by one."""
    parts = [torch.empty_like(rows) for _ in range(n_ranks)]
    torch.distributed.all_gather(parts, rows.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)  # (rows of each, ranks, ...) -> (B, ...)


def _accumulate(fabric: Fabric, task: Task, parts: Sequence[tuple[Share, Iterator[Update]]], step: int) -> Update | None:
    """Sum the gradients of the parts' next updates, and return the update of them all, loss and logs as means; None after the last."""
    made: list[Update] = []
    before = random_state() if len(parts) > 1 else ()
    for index, (share, updates) in enumerate(parts):
        if index:  # the same numbers for all parts, as these are drawn for the whole batch
            set_random_state(before)
        task.share = share
        update = next(updates, None)
        if update is None:
            return None
        if index == 0:
            task.optimizers[update.net].zero_grad(set_to_none=True)
        loss = update.loss.detach()
        loss = fabric.all_reduce(loss, reduce_op="mean") if fabric.world_size > 1 else loss
        _check_finite(loss, f"the loss of the {update.net}", step, update.logs)
        # Only this network's leaves: whatever else the loss went through keeps its gradients as they are.
        fabric.backward(update.loss / len(parts), inputs=_trained(task, update.net))
        logs = {name: value.detach() if isinstance(value, Tensor) else value for name, value in update.logs.items()}
        made.append(update._replace(loss=loss, logs=logs))
    if len(parts) == 1:
        return made[0]
    logs = {name: sum(update.logs[name] for update in made) / len(made) for name in made[0].logs}
    return Update(made[0].net, torch.stack([update.loss for update in made]).mean(), logs)


def _trained(task: Task, net: str) -> list[nn.Parameter]:
    return [p for p in task.networks[net].parameters() if p.requires_grad]


def _check_finite(value: Tensor, what: str, step: int, logs: Any) -> None:
    if not math.isfinite(float(value)):
        parts = ", ".join(f"{name} {float(torch.as_tensor(part).detach()):.4g}" for name, part in logs.items())
        raise LeganError(
            f"{what} is {float(value)} at step {step + 1}{f' ({parts})' if parts else ''}: the last checkpoint is kept; "
            "start a new run with a lower learning rate, or check the data of this step"
        )


def _average(fabric: Fabric, parameters: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their mean over the processes, in one message. A process without rows for a term may lack some."""
    if fabric.world_size == 1 or not parameters:
        return
    is_there = parameters[0].new_tensor([p.grad is not None for p in parameters])
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters] + [is_there])
    *means, is_there = fabric.all_reduce(flat, reduce_op="mean").split([p.numel() for p in parameters] + [len(parameters)])
    for parameter, mean, found in zip(parameters, means, is_there.tolist(), strict=True):
        if found and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if found:
            parameter.grad.copy_(mean.view_as(parameter))  # type: ignore[union-attr]


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


class Means:
    """Means of named scalars since they were last taken. Kept as tensors: reading one waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, logs: Mapping[str, Tensor | float]) -> None:
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


def _loader(batches: Batches, task: Task, loop: LoopConfig, start: int, rank: int, n_ranks: int) -> DataLoader[Batch]:
    n_parts = n_ranks * loop.accumulate
    if batches.batch_size % n_parts:
        raise ConfigError(
            f"batch size {batches.batch_size} cannot be shared by {n_ranks} devices"
            f"{f' in {loop.accumulate} parts each' if loop.accumulate > 1 else ''}: give a multiple of {n_parts}"
        )
    if n_parts > 1 and any(isinstance(m, BatchNorm) for name in task.optimizers for m in task.networks[name].modules()):
        raise ConfigError(
            "a network has batch normalisation, whose statistics are of the whole batch: train on one device, in one part"
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
    """An event that the first Ctrl-C (or SIGTERM) sets; a second Ctrl-C interrupts at once.

    Not within torchrun, which passes on the Ctrl-C that the terminal has given its processes already.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and launched() is None:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
