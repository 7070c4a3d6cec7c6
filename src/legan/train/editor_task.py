"""What the trainings of editors share: data and judges in the checkpoint, held-out figures, precision."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.errors import DataError, WeightsError
from legan.train.probe import Edit, Probe
from legan.train.task import Task, autocast, mixed_dtype


class EditorTask(Task):
    """A training of an editor. Subclasses give the updates, and `editor`.

    Args:
        device: where the training runs.
        precision: as for `mixed_dtype`.
        channels_last: memory layout of images and weights.
        probe: held-out crops for samples and figures; None for neither.
        data: description of the training data, kept in checkpoints.
        judges: which weights the frozen networks are, likewise.
    """

    def __init__(
        self,
        device: torch.device,
        precision: str,
        channels_last: bool,
        probe: Probe | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.device, self.dtype = device, mixed_dtype(precision, device)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.probe, self.data, self.judges = probe, [dict(folder) for folder in data], {**(judges or {})}
        self.frozen = {}

    @abstractmethod
    def editor(self) -> nn.Module:
        """Return the averaged editor as it stands: (x, expression, lighting) -> image, shapes as for `Edit`."""

    def extra_state(self) -> dict[str, object]:
        """The descriptions of the data and of the frozen networks: an exported network names what it was trained with."""
        return {"data": self.data, "judges": self.judges}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Check that the data and the frozen networks are the same.

        Raises:
            DataError: the data is not.
            WeightsError: a network is not.
        """
        if state["data"] != self.data:
            raise DataError("the data has changed since the checkpoint was written: start a new run folder, or restore it")
        if state["judges"] != self.judges:
            raise WeightsError(
                "the identity or quality network has changed since the checkpoint was written: start a new run folder, or restore it"
            )

    def samples(self, step: int) -> np.ndarray | None:
        """Held-out faces, their edits by the averaged networks, and the truths."""
        return None if self.probe is None else self.probe.picture(self._edit())

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Distances of edits from the truth on held-out faces."""
        return {} if self.probe is None else self.probe.figures(self._edit())

    def run_mixed(self, net: nn.Module, *inputs: Tensor) -> Any:
        """Call a network in the training's precision; what comes out, a tensor or several, is float32."""
        with autocast(self.dtype, self.device):
            output = net(*inputs)
        return output.float() if isinstance(output, Tensor) else tuple(tensor.float() for tensor in output)

    def _edit(self) -> Edit:
        editor = self.editor()

        @torch.no_grad()
        def edit(x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
            x, expression, lighting = (tensor.to(self.device) for tensor in (x, expression, lighting))
            return self.run_mixed(editor, x.to(memory_format=self.layout), expression, lighting).clamp(-1, 1).cpu()

        return edit
