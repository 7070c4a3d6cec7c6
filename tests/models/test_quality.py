"""Q: the paper's layers, the shared network tests, both heads."""

import pytest
import torch
from tests.models.model_tester import ModelTester
from torch import Tensor, nn

from legan.core.errors import ConfigError
from legan.models.blocks import count_gflop, count_parameters
from legan.models.efficientnet import load_efficientnet
from legan.models.quality import (
    PRESETS,
    FeatureQuality,
    FeatureQualityConfig,
    QualityConfig,
    QualityModel,
    eye_asymmetry,
    kernels,
    load_quality_net,
    preset,
    statistics,
)


class TestQuality(ModelTester):
    def make(self) -> nn.Module:
        return QualityModel(QualityConfig(size=32, width=4, n_layers=3, n_hidden=8))

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1,)


class TestTwoHeads(TestQuality):
    def make(self) -> nn.Module:
        class Both(QualityModel):
            def forward(self, x: Tensor) -> Tensor:
                return torch.stack(self.predict(x), 1)  # type: ignore[arg-type]

        return Both(QualityConfig(size=32, width=4, n_layers=3, n_hidden=8, head="mean-std"))


def small_features(seed: int = 0) -> FeatureQuality:
    """Q on features with a random head, whose body reads images of 64 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = FeatureQuality(FeatureQualityConfig(size=32, enlarged=64, n_directions=6, n_centres=9))
        for name, std in (("directions", 0.2), ("centres", 1.0), ("weights", 1.0)):
            nn.init.normal_(getattr(net, name), std=std)
    return net


class TestFeatureQuality(ModelTester):
    def make(self) -> nn.Module:
        return small_features()

    def inputs(self, n: int) -> tuple[Tensor, ...]:
        return (torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1,)


def test_q_on_features_stays_within_its_scale_whatever_the_head_says() -> None:
    net = small_features()
    far = 1e4 * torch.randn(64, net.shift.numel(), generator=torch.Generator().manual_seed(0))
    score, spread = net.judge(far)
    assert score.min() >= 0 and score.max() <= 10 and score.std() > 1
    assert spread is not None and spread.min() > 0


def test_kernels_are_one_at_their_centres_and_fall_with_the_squared_distance() -> None:
    centres = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    found = kernels(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), centres)
    torch.testing.assert_close(found[:, :2], torch.exp(-torch.tensor([[0.0, 25.0], [1.0, 18.0]])))
    assert torch.equal(found[:, 2:], torch.tensor([[0.0, 0.0], [0.0, 1.0]]))


def test_statistics_are_means_and_deviations_over_places() -> None:
    stage = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]]])
    torch.testing.assert_close(statistics([stage]), torch.tensor([[2.0, 2.0, 1.0, 0.001]]), atol=1e-4, rtol=0)


def test_eye_asymmetry_is_of_the_eyes_alone_and_zero_where_they_mirror_each_other() -> None:
    random = torch.Generator().manual_seed(0)
    half = [torch.rand(1, 3, 28, 7, generator=random) for _ in range(5)]
    stages = [torch.cat([one, one.flip(3)], 3) for one in half]  # (1, 3, 28, 14), each its own mirror image
    at_rest = eye_asymmetry(stages)
    assert at_rest.shape == (1, 6) and at_rest.max() < 2e-3
    stages[2] = torch.rand(1, 3, 28, 14, generator=random)  # a stage that is not looked at
    stages[4][:, :, :7] = torch.rand(1, 3, 7, 14, generator=random)  # the forehead
    torch.testing.assert_close(eye_asymmetry(stages), at_rest)
    stages[4][0, 1, 8:15, 3:7] += 2  # all of one eye, rows 8 to 14, in one channel
    expected = at_rest.clone()
    expected[0, 4] = 2**0.5  # half of 2^2, root
    torch.testing.assert_close(eye_asymmetry(stages), expected, atol=1e-4, rtol=0)


def test_weights_of_before_there_was_eye_asymmetry_read_fewer_statistics() -> None:
    assert FeatureQualityConfig(eyes=True).n_statistics - FeatureQualityConfig().n_statistics == 80 + 112
    net = FeatureQuality(FeatureQualityConfig(size=32, enlarged=64, n_directions=6, n_centres=9, eyes=True))
    assert net.statistics(torch.zeros(1, 3, 32, 32)).shape == (1, net.config.n_statistics)


def test_paper_preset_is_the_papers_network() -> None:
    with torch.device("meta"):
        net = QualityModel(PRESETS["paper"])
    convs = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256, 512, 1024, 2048]
    assert all(conv.kernel_size == (4, 4) and conv.stride == (2, 2) for conv in convs)
    slopes = [layer.negative_slope for layer in net.features if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.01] * 6
    assert (net.hidden.in_features, net.hidden.out_features, net.out.out_features) == (2048 * 4, 256, 1)
    assert net.predict(torch.zeros(1, 3, 128, 128, device="meta")).spread is None


def test_lite_is_the_same_form_at_a_quarter_of_the_width() -> None:
    with torch.device("meta"):
        paper, lite = QualityModel(PRESETS["paper"]), QualityModel(PRESETS["lite"])
    for wide, narrow in zip(paper.features, lite.features, strict=True):
        if isinstance(wide, nn.Conv2d) and isinstance(narrow, nn.Conv2d):
            assert wide.out_channels == 4 * narrow.out_channels
    ratio = count_parameters(paper) / count_parameters(lite)
    assert ratio == pytest.approx(16, rel=0.01)
    x = torch.zeros(1, 3, 128, 128, device="meta")
    assert count_gflop(paper, x) == pytest.approx(1.37, rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
def test_starts_in_the_middle_of_the_scale(name: str) -> None:
    torch.manual_seed(0)
    net = QualityModel(preset(name, width=8, n_hidden=16)).eval()
    scores = net(torch.rand(16, 3, 128, 128) * 2 - 1)
    assert scores.shape == (16,)
    assert (scores - 5).abs().max() < 0.5


def test_spread_is_positive_whatever_the_input() -> None:
    net = QualityModel(QualityConfig(size=32, width=4, n_layers=3, n_hidden=8, head="mean-std"))
    nn.init.constant_(net.out.bias, -50.0)
    assert net.predict(torch.rand(3, 3, 32, 32)).spread.min() > 0  # type: ignore[union-attr]


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        preset("light")
    with pytest.raises(ConfigError, match="multiple of 64"):
        QualityModel(QualityConfig(size=100))


def test_the_packaged_body_is_efficientnet_lite0s_rounded_to_float16() -> None:
    net, body = load_quality_net()[0], load_efficientnet()
    assert isinstance(net, FeatureQuality)
    for name, value in net.features.state_dict().items():
        # Half of float16's step, and what processors differ by where batch norms are folded in.
        torch.testing.assert_close(value, body.state_dict()[name], atol=1e-7, rtol=0.51 * 2**-10)
