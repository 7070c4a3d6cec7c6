"""What trainings of one network with one optimizer share: schedule, moving average, validation."""

import copy
from collections.abc import Mapping, Sequence

from torch import nn

from legan.core.errors import DataError
from legan.train.config import OptimizerConfig
from legan.train.task import Task, base_rates, scheduled_rates, update_ema


class AveragedTask(Task):
    """A training of one network, `net`, whose moving average `ema` is what is evaluated and exported. Subclasses give the updates.

    Args:
        net: the network; parameters without gradients are left out of the optimizer.
        optimizer: settings of its optimizer, learning rate and moving average.
        n_steps: length of the training.
        data: description of the training data, kept in checkpoints.
    """

    compiled = ("net",)

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerConfig,
        n_steps: int,
        data: Sequence[Mapping[str, object]],
    ) -> None:
        self.networks = {"net": net, "ema": copy.deepcopy(net).eval().requires_grad_(False)}
        self.optimizers, self.frozen = {"net": optimizer.make(p for p in net.parameters() if p.requires_grad)}, {}
        self._rates, self._optimizer, self._n_steps = base_rates(self.optimizers), optimizer, n_steps
        self.data = [dict(folder) for folder in data]

    def learning_rates(self, step: int) -> Mapping[str, Sequence[float]]:
        """The optimizer's initial rate times the schedule's share."""
        return scheduled_rates(self._rates, self._optimizer.lr_share(step, self._n_steps))

    def after_step(self, step: int) -> None:
        """Move the average of the weights."""
        update_ema(self.networks["ema"], self.networks["net"], self._optimizer.ema_decay, step)

    def extra_state(self) -> dict[str, object]:
        """The description of the data: an exported network names what it was trained on."""
        return {"data": self.data}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Check that the data is the same.

        Raises:
            DataError: it is not.
        """
        if state["data"] != self.data:
            raise DataError("the data has changed since the checkpoint was written: start a new run folder, or restore it")
