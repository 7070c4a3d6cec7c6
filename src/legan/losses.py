"""Losses: pure functions of tensors, each returns a scalar.

Adversarial: WGAN-GP (Gulrajani et al., NeurIPS 2017) as in StarGAN; hinge (Lim and Ye, 2017); non-saturating (Goodfellow et al.,
2014) with R1 (Mescheder et al., ICML 2018). Classification, reconstruction: LEGAN poster, `L_cls` and `L_rec`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

CriticFunction = Callable[[Tensor], Tensor]


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Mean score of fakes minus mean score of reals, minimised by the critic. Scores of any equal shape."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Minus the mean score of the fakes."""
    return -fake.mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """mean(max(0, 1 - real)) + mean(max(0, 1 + fake))."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Minus the mean score of the fakes."""
    return -fake.mean()


def nonsaturating_critic(real: Tensor, fake: Tensor) -> Tensor:
    """mean(softplus(-real)) + mean(softplus(fake)): binary cross entropy on scores as logits."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """mean(softplus(-fake))."""
    return F.softplus(-fake).mean()


def gradient_penalty(critic: CriticFunction, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """mean((|grad D(x_hat)| - 1)^2) at x_hat = mix * real + (1 - mix) * fake.

    Args:
        critic: images (B, 3, H, W) to scores (B, ...).
        real, fake: images of equal shape.
        mix: uniform numbers in [0, 1], (B, 1, 1, 1); drawn by the caller, who owns the random state.
    """
    x = (mix * real + (1 - mix) * fake.detach()).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def r1_penalty(critic: CriticFunction, real: Tensor) -> Tensor:
    """mean(|grad D(x)|^2) at real images (B, 3, H, W)."""
    x = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def classification(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of logits (B, n) against codes (B, n), one-hot or soft."""
    return F.cross_entropy(logits, target)


def reconstruction(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of two image batches (B, 3, H, W)."""
    return (a - b).abs().mean()


def smoothness(displacement: Tensor) -> Tensor:
    """Mean squared difference of neighbouring displacements (B, 2, H, W): keeps a field from tearing."""
    dx = displacement[..., :, 1:] - displacement[..., :, :-1]
    dy = displacement[..., 1:, :] - displacement[..., :-1, :]
    return dx.square().mean() + dy.square().mean()
