"""Losses against numbers worked out by hand or by another library function."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from legan import losses

REAL, FAKE = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, -3.0])


def test_adversarial_values() -> None:
    assert losses.wasserstein_critic(REAL, FAKE) == pytest.approx(-1.75 - 1.25)
    assert losses.hinge_critic(REAL, FAKE) == pytest.approx((0.5 + 0) / 2 + (0.5 + 0) / 2)
    bce, one, zero = F.binary_cross_entropy_with_logits, torch.ones(2), torch.zeros(2)
    assert losses.nonsaturating_critic(REAL, FAKE) == pytest.approx(float(bce(REAL, one) + bce(FAKE, zero)))
    assert losses.nonsaturating_generator(FAKE) == pytest.approx(float(bce(FAKE, one)))
    assert losses.hinge_generator(FAKE) == losses.wasserstein_generator(FAKE) == pytest.approx(1.75)


def test_penalties_of_a_linear_critic() -> None:
    """D(x) = w.x has the gradient w everywhere: R1 is |w|^2 and the gradient penalty (|w| - 1)^2."""
    w = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))

    def critic(x: Tensor) -> Tensor:
        return (x * w).sum((1, 2, 3))

    x, y = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert losses.r1_penalty(critic, x) == pytest.approx(float(w.square().sum()), rel=1e-5)
    assert losses.gradient_penalty(critic, x, y, torch.rand(2, 1, 1, 1)) == pytest.approx(float((w.norm() - 1) ** 2), rel=1e-5)


def test_penalty_differentiates_into_the_critic() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Softplus(), torch.nn.Conv2d(4, 1, 3))
    losses.r1_penalty(net, torch.rand(2, 3, 8, 8)).backward()
    assert all(p.grad is not None for name, p in net.named_parameters() if name.endswith("weight"))


def test_classification_takes_hard_and_soft_codes() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert losses.classification(logits, torch.tensor([[0.0, 0, 1]])) == pytest.approx(
        float(F.cross_entropy(logits, torch.tensor([2])))
    )
    soft = losses.classification(logits, torch.tensor([[0.0, 0.5, 0.5]]))
    assert soft == pytest.approx(float(-(F.log_softmax(logits, 1)[0, 1:].mean())))


def test_reconstruction_is_the_mean_absolute_difference() -> None:
    a, b = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    b[1] = -3
    assert losses.reconstruction(a, b) == 2


def test_smoothness_is_zero_for_a_shift_and_grows_with_tearing() -> None:
    assert losses.smoothness(torch.full((1, 2, 4, 4), 0.3)) == 0
    torn = torch.zeros(1, 2, 4, 4)
    torn[..., 2:] = 1
    assert losses.smoothness(torn) == pytest.approx(1 / 3)
