"""One tester that every network passes: shapes are the subclass's, the rest is shared."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from legan.core.weights import load_weights, save_weights


def tensors_of(output: object) -> list[Tensor]:
    """All tensors of a network's output."""
    if isinstance(output, Tensor):
        return [output]
    return [t for t in output if t is not None]  # type: ignore[attr-defined]


class ModelTester:
    """Subclasses give `make()`, a small network, and `inputs(n)`, a batch of n for it."""

    def make(self) -> nn.Module:
        raise NotImplementedError

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def test_odd_batch_equals_single_images(self) -> None:
        torch.manual_seed(0)
        net, batch = self.make().eval(), self.inputs(3)
        with torch.no_grad():
            together = tensors_of(net(*batch))
            single = [tensors_of(net(*(x[i : i + 1] for x in batch))) for i in range(3)]
        for k, output in enumerate(together):
            assert output.shape[0] == 3
            torch.testing.assert_close(output, torch.cat([s[k] for s in single]), rtol=1e-4, atol=1e-4)

    def test_backward_reaches_every_parameter(self) -> None:
        torch.manual_seed(0)
        net = self.make().train()
        for parameter in net.parameters():  # zero-initialised last layers would hide everything before them
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
        sum((t.float() ** 2).mean() for t in tensors_of(net(*self.inputs(2)))).backward()  # type: ignore[union-attr]
        without = [
            name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
        ]
        assert without == []

    def test_save_and_load(self, tmp_path: Path) -> None:
        net = self.make().eval()
        save_weights(tmp_path / "w", net.state_dict(), {})
        other = copy.deepcopy(net)
        for parameter in other.parameters():
            nn.init.constant_(parameter, 0.5)
        other.load_state_dict(load_weights(tmp_path / "w")[0])
        with torch.no_grad():
            for a, b in zip(tensors_of(net(*self.inputs(2))), tensors_of(other(*self.inputs(2))), strict=True):
                assert torch.equal(a, b)

    def test_deterministic(self) -> None:
        outputs = []
        for _ in range(2):
            torch.manual_seed(3)
            net = self.make().eval()
            with torch.no_grad():
                outputs.append(tensors_of(net(*self.inputs(2))))
        assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
