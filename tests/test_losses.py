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


MEAN, STD = torch.tensor([4.0, 6.0, 5.0]), torch.tensor([1.0, 0.5, 2.0])


def test_rating_losses_ask_nothing_inside_the_disagreement() -> None:
    inside, outside = MEAN + STD * torch.tensor([0.9, -0.9, 1.0]), torch.tensor([7.0, 6.0, 2.0])
    assert losses.rating_margin(inside, MEAN, STD) == losses.rating_squared_hinge(inside, MEAN, STD) == 0
    assert losses.rating_margin(outside, MEAN, STD) == pytest.approx((2 + 0 + 1) / 3)
    assert losses.rating_squared_hinge(outside, MEAN, STD) == pytest.approx((4 + 0 + 1) / 3)
    assert losses.rating_l2(outside, MEAN, STD) == pytest.approx(float(F.mse_loss(outside, MEAN)))


def test_rating_likelihood_is_that_of_the_single_ratings() -> None:
    ratings = torch.tensor([[2.0, 4.0, 9.0], [5.0, 5.0, 6.0]])
    score, spread = torch.tensor([4.5, 6.0]), torch.tensor([2.0, 0.7])
    normal = torch.distributions.Normal(score[:, None], spread[:, None])
    oracle = -normal.log_prob(ratings).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    mean, std = ratings.mean(1), ratings.std(1, correction=0)
    assert losses.rating_likelihood(score, spread, mean, std) == pytest.approx(float(oracle), rel=1e-5)


def test_unnaturalness_is_bounded_and_never_flat() -> None:
    score = torch.tensor([-30.0, 0.0, 5.0, 10.0, 30.0], requires_grad=True)
    loss = losses.unnaturalness(score)
    (slope,) = torch.autograd.grad(loss.sum(), score)
    assert loss.min() >= 0 and loss.max() <= 1 and loss[2].item() == pytest.approx(0.5)
    assert (slope < 0).all() and slope[2] == pytest.approx(-0.1)


def test_landmark_displacement_measures_in_pixels_what_is_known() -> None:
    field = torch.zeros(2, 2, 16, 16)
    field[:, 0], field[:, 1] = 3 / 16, -1 / 16  # every pixel comes from 3 to its right and 1 above
    points_to = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0))
    points_from = points_to + torch.tensor([3 / 16, -1 / 16])
    assert losses.landmark_displacement(field, points_from, points_to) == pytest.approx(0, abs=1e-5)
    # Smooth L1 beyond one pixel is the distance less a half: 3 - 0.5 across, 0.5 for the one pixel down.
    assert losses.landmark_displacement(0 * field, points_from, points_to) == pytest.approx(3.0, abs=1e-4)
    points_to[0], points_to[1, 0] = -1, -1
    points_from[1, 1] = -1
    assert losses.landmark_displacement(0 * field, points_from, points_to) == pytest.approx(3.0, abs=1e-4)
    assert losses.landmark_displacement(field, -torch.ones(2, 5, 2), -torch.ones(2, 5, 2)) == 0


def test_landmark_displacement_pulls_the_field_towards_the_landmarks() -> None:
    field = torch.zeros(1, 2, 8, 8, requires_grad=True)
    losses.landmark_displacement(field, torch.tensor([[[0.75, 0.5]]]), torch.tensor([[[0.5, 0.5]]])).backward()
    assert field.grad is not None
    assert field.grad[0, 0].min() < 0 and field.grad[0, 0].max() == 0 and (field.grad[0, 1] == 0).all()


def test_ranking_by_hand() -> None:
    better, worse, gap = torch.tensor([5.0, 5.0, 4.0]), torch.tensor([1.0, 4.0, 6.0]), torch.tensor([2.0, 3.0, 1.0])
    assert losses.ranking(better, worse, gap).item() == pytest.approx((0 + 2 + 3) / 3)
