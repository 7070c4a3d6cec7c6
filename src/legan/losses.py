"""Losses: pure functions of tensors, each returns a scalar.

Adversarial: WGAN-GP (Gulrajani et al., NeurIPS 2017) as in StarGAN; hinge (Lim and Ye, 2017); non-saturating (Goodfellow et al.,
2014) with R1 (Mescheder et al., ICML 2018). Classification, reconstruction: LEGAN poster, `L_cls` and `L_rec`.

Example:
    >>> score, mean, std = torch.tensor([4.0, 7.0]), torch.tensor([5.0, 5.0]), torch.tensor([1.5, 0.5])
    >>> legan.losses.rating_margin(score, mean, std)  # the first score is within the raters' disagreement
    tensor(0.7500)
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


def nonsaturating_critic(real: Tensor, fake: Tensor, weight: float = 1.0) -> Tensor:
    """weight * mean(softplus(-real)) + mean(softplus(fake)): binary cross entropy on scores as logits."""
    return weight * F.softplus(-real).mean() + F.softplus(fake).mean()


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


def total_variation(field: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a field (B, C, H, W): grain costs more than a few sharp edges do."""
    return field.diff(dim=3).abs().mean() + field.diff(dim=2).abs().mean()


def known_landmarks(points_from: Tensor, points_to: Tensor) -> Tensor:
    """Which landmarks count in `landmark_displacement`: bool (B, n)."""
    return (((points_from - 0.5).abs() < 1) & ((points_to - 0.5).abs() < 0.5)).all(2)


def landmark_displacement(
    displacement: Tensor, points_from: Tensor, points_to: Tensor, n_known: Tensor | None = None
) -> Tensor:
    """Smooth L1 in pixels between a displacement field and the way that landmarks went; 0 where no landmark is known.

    Args:
        displacement: (B, 2, H, W), x and y in fractions of the side: where in the input a pixel of the output comes from.
        points_from, points_to: landmarks (B, n, 2) of input and true output in fractions of the side. Those that are not known lie
            half a side or more outside the image; output ones must lie in it to count.
        n_known: what the sum over the known ones is divided by; their number by default.
    """
    is_known = known_landmarks(points_from, points_to)  # (B, n)
    found = F.grid_sample(
        displacement, 2 * points_to[:, :, None] - 1, padding_mode="border", align_corners=False
    )  # (B, 2, n, 1)
    n_pixels = displacement.shape[-1]
    error = F.smooth_l1_loss(found[..., 0].mT * n_pixels, (points_from - points_to) * n_pixels, reduction="none").sum(2)
    return (error * is_known).sum() / (is_known.sum().clamp_min(1) if n_known is None else n_known)


def rating_margin(score: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """mean(max(0, |Q - m| - s)): nothing is asked inside the raters' own disagreement.

    LEGAN poster, "margin based loss"; its formula is not printed, this is our reading. All (B,).
    """
    return F.relu((score - mean).abs() - std).mean()


def rating_squared_hinge(score: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """mean(max(0, |Q - m| - s)^2). All (B,)."""
    return F.relu((score - mean).abs() - std).square().mean()


def rating_l2(score: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """mean((Q - m)^2); `std` is not used, it stands here so that all rating losses are called alike. All (B,)."""
    return (score - mean).square().mean()


def rating_likelihood(score: Tensor, spread: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Negative log likelihood of the ratings under a normal distribution, but for a constant.

    mean(log spread + ((Q - m)^2 + s^2) / (2 spread^2)) is the mean over ratings r of -log N(r; Q, spread), since the mean of
    (r - Q)^2 over an image's raters is (Q - m)^2 + s^2. All (B,), `spread` above 0.
    """
    return (spread.log() + ((score - mean).square() + std.square()) / (2 * spread.square())).mean()


def ranking(better: Tensor, worse: Tensor, gap: Tensor) -> Tensor:
    """mean(max(0, gap - (better - worse))): the first score of a pair is the higher one, by `gap` at least. Shapes that broadcast.

    Liu, van de Weijer and Bagdanov, "RankIQA" (ICCV 2017), equation 3.
    """
    return F.relu(gap - (better - worse)).mean()


def unnaturalness(score: Tensor) -> Tensor:
    """How far scores (B,) of 0..10 are from the top: each in [0, 1], with a slope at every score.

    1 - sigmoid(0.4 (Q - 5)) has the slope of 1 - Q / 10 in the middle of the scale and flattens at its ends, so that nothing is
    gained by driving Q beyond its scale.
    """
    return torch.sigmoid(-0.4 * (score - 5))


# Kinds of game by name: what the critic minimises, (real, fake) -> loss, and what the generator does, fake -> loss.
CRITIC_LOSSES = {"wgan-gp": wasserstein_critic, "hinge": hinge_critic, "nonsaturating": nonsaturating_critic}
GENERATOR_LOSSES = {"wgan-gp": wasserstein_generator, "hinge": hinge_generator, "nonsaturating": nonsaturating_generator}
