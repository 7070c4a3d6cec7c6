"""What trainings share that moves with the step: a learning rate's rise and fall, and the moving average of weights."""

import math

import torch
from torch import nn


def rise_and_fall(step: int, n_warmup: int, n_steps: int) -> float:
    """Share of the highest learning rate at `step`: a linear rise over `n_warmup` steps, then a cosine to zero."""
    rise = min(1.0, (step + 1) / max(n_warmup, 1))
    fall = 0.5 * (1 + math.cos(math.pi * max(0, step - n_warmup) / max(1, n_steps - n_warmup)))
    return rise * fall


@torch.no_grad()
def move_average(average: nn.Module, net: nn.Module, decay: float, n_updates: int) -> None:
    """Move an average of weights and statistics towards `net` after `n_updates` updates; the first move it faster than `decay`."""
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    for kept, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        kept.lerp_(value, 1 - decay) if kept.is_floating_point() else kept.copy_(value)
