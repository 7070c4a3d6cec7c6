"""What trainings of one network with one optimizer share: schedule, moving average, validation."""

import copy
from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from legan.core.errors import DataError
from legan.train.task import Task, update_ema, warmup_cosine


class AveragedTask(Task):
    """A training of one network, `net`, whose moving `average` is what is evaluated and exported. Subclasses give the updates.

    Args:
        net: the network.
        optimizer: of its parameters.
        lr: the highest learning rate.
        n_warmup_steps: steps in which it rises; it then falls to zero until step `n_steps`.
        n_steps: length of the training.
        decay: of the average, in the long run.
        data: description of the training data, kept in checkpoints.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        lr: float,
        n_warmup_steps: int,
        n_steps: int,
        decay: float,
        data: Sequence[Mapping[str, object]],
    ) -> None:
        self.networks = {"net": net, "average": copy.deepcopy(net).eval().requires_grad_(False)}
        self.optimizers, self.frozen = {"net": optimizer}, {}
        self.lr, self.n_warmup_steps, self.n_steps, self.decay = lr, n_warmup_steps, n_steps, decay
        self.data = [dict(folder) for folder in data]

    def learning_rates(self, step: int) -> Mapping[str, float]:
        """A linear rise, then a cosine to zero."""
        return {"net": self.lr * warmup_cosine(step, self.n_warmup_steps, self.n_steps)}

    def after_step(self, step: int) -> None:
        """Move the average, which follows quickly at first."""
        update_ema(self.networks["average"], self.networks["net"], self.decay, step)

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
