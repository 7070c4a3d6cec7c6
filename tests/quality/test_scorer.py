"""Q at work: tensors and images score alike, the loss is bounded and raises Q, precision and batches change nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import textured
from torchmetrics import Metric

import legan
from legan.core.errors import ConfigError, FaceError, ImageError, WeightsError
from legan.core.files import sha256_of
from legan.core.weights import asset, packaged
from legan.data.degradations import degrade
from legan.quality.metric import FaceQuality
from legan.quality.scorer import QualityLoss, jittered, load_quality


def unit(*images: Image.Image) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1).float() / 255 for p in images])


def crops(n: int = 5) -> list[Image.Image]:
    return [textured(128, 128, seed) for seed in range(n)]


def test_images_and_tensors_score_alike(tiny_quality: Path, tmp_path: Path) -> None:
    scorer = load_quality(tiny_quality, precision="fp32")
    image = textured(128, 128)
    image.save(tmp_path / "crop.png")
    tensor = scorer(unit(image))
    assert tensor.shape == (1,)
    assert scorer(image) == pytest.approx(float(tensor), abs=1e-4) == scorer(tmp_path / "crop.png")
    assert legan.score(unit(image), weights=tiny_quality).shape == (1,)


def test_batches_and_order_change_nothing(tiny_quality: Path) -> None:
    scorer = load_quality(tiny_quality, precision="fp32")
    batch = np.stack([np.asarray(p) for p in crops(7)])
    whole = scorer.predict_crops(batch)
    single = torch.cat([scorer.predict_crops(batch[i : i + 1]).score for i in range(7)])
    torch.testing.assert_close(whole.score, single, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scorer.predict_crops(batch[::-1].copy()).score.flip(0), whole.score, atol=1e-4, rtol=1e-4)
    assert whole.spread is not None and (whole.spread > 0).all() and whole.score.std() > 0


def test_bfloat16_changes_scores_by_little(tiny_quality: Path) -> None:
    batch = np.stack([np.asarray(p) for p in crops()])
    plain, fast = (load_quality(tiny_quality, precision=p).predict_crops(batch).score for p in ("fp32", "bf16"))
    assert fast.dtype == torch.float32 and (plain - fast).abs().max() < 0.05


def test_range_and_shape_are_checked(tiny_quality: Path) -> None:
    scorer = load_quality(tiny_quality)
    with pytest.raises(ImageError, match=r"must lie in \[0, 1\].*divide 0..255 by 255"):
        scorer(torch.full((1, 3, 128, 128), 200.0))
    with pytest.raises(ImageError, match=r"map \[-1, 1\] by"):
        scorer(torch.full((1, 3, 128, 128), -0.5))
    with pytest.raises(ImageError, match="float tensor"):
        scorer(torch.zeros(3, 128, 128))
    with pytest.raises(ImageError, match="must lie in"):
        QualityLoss(tiny_quality)(torch.full((1, 3, 64, 64), torch.nan))


def test_no_face(tiny_quality: Path) -> None:
    with pytest.raises(FaceError, match="no face found"):
        load_quality(tiny_quality)(Image.new("RGB", (300, 200), (90, 120, 160)))


def test_weights_and_devices(tiny_quality: Path, tiny_editor: Path) -> None:
    with pytest.raises(WeightsError, match="holds no quality network"):
        load_quality(tiny_editor)
    with pytest.raises(ConfigError, match="toaster"):
        load_quality(tiny_quality, device="toaster")


@pytest.mark.parametrize("size", [128, 64, 200])
def test_loss_is_bounded_and_finite(tiny_quality: Path, size: int) -> None:
    loss = QualityLoss(tiny_quality)
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    for images in (torch.zeros(2, 3, size, size), torch.ones(2, 3, size, size), noise):
        images.requires_grad_(True)
        value = loss(images)
        assert value.shape == () and 0 <= float(value.detach()) <= 1
        value.backward()
        assert images.grad is not None and images.grad.isfinite().all() and images.grad.any()


def test_one_gradient_step_raises_q(tiny_quality: Path) -> None:
    loss = QualityLoss(tiny_quality)
    images = (unit(*crops(4)) * 0.8 + 0.1).requires_grad_(True)
    loss(images).backward()
    assert images.grad is not None
    with torch.no_grad():
        better = (images - 1e-3 * images.grad.sign()).clamp(0, 1)
        assert (loss.scores(better) > loss.scores(images)).all()


def test_loss_is_frozen_and_stays_in_evaluation_mode(tiny_quality: Path) -> None:
    model = torch.nn.ModuleDict({"quality": QualityLoss(tiny_quality), "generator": torch.nn.Conv2d(3, 3, 1)}).train()
    assert not model["quality"].net.training and model["generator"].training
    assert not any(p.requires_grad for p in model["quality"].parameters())


def test_value_range(tiny_quality: Path) -> None:
    images = unit(*crops(2))
    same = QualityLoss(tiny_quality, value_range=(-1, 1))(images * 2 - 1)
    torch.testing.assert_close(QualityLoss(tiny_quality)(images), same)


def test_metric_is_the_mean_score_whatever_the_batches(tiny_quality: Path) -> None:
    images = unit(*crops(5))
    expected = QualityLoss(tiny_quality).scores(images).clamp(0, 10).mean()
    metric = FaceQuality(tiny_quality)
    assert isinstance(metric, Metric) and metric.higher_is_better
    for part in images.split(2):
        metric.update(part)
    torch.testing.assert_close(metric.compute(), expected, atol=1e-4, rtol=1e-4)
    metric.reset()
    metric.update(images)
    torch.testing.assert_close(metric.compute(), expected, atol=1e-4, rtol=1e-4)


def test_simulated_is_the_small_network_of_simulated_raters_by_name() -> None:
    scorer = load_quality("simulated")
    assert "simulated" in scorer.metadata["data"] and scorer.checksum == sha256_of(packaged("quality-simulated"))
    assert "people" in load_quality().metadata["data"]


def test_robust_is_hard_to_fool_by_name() -> None:
    """Five steps along the gradient's sign, a grey level each and within two, as `experiments/quality/attack.py`."""
    paths = sorted(asset("faces").glob("r*.png"))[:3]
    faces = 2 * unit(*(Image.open(path).convert("RGB").resize((128, 128)) for path in paths)) - 1
    rises = {}
    for name in ("robust", "packaged"):
        net, moved = QualityLoss(name).net, faces.clone()
        for _ in range(5):
            moved.requires_grad_(True)
            (gradient,) = torch.autograd.grad(torch.logit(net(moved) / 10).sum(), moved)
            moved = faces + (moved.detach() + 2 / 255 * gradient.sign() - faces).clamp(-4 / 255, 4 / 255)
        with torch.no_grad():
            rises[name] = float((net(moved) - net(faces)).mean())
    assert 0 < rises["robust"] < 1 and rises["packaged"] > 3


def test_the_packaged_q_finds_faults_unnatural() -> None:
    faces = [
        np.asarray(Image.open(path).convert("RGB").resize((128, 128))) for path in sorted(asset("faces").glob("r*.png"))[:3]
    ]
    scorer = load_quality(precision="fp32")
    clean = scorer.predict_crops(np.stack(faces)).score
    noisy = scorer.predict_crops(np.stack([degrade("noise", face, np.full((68, 2), 64.0), 1.0, 0) for face in faces])).score
    half = np.stack(faces)
    half[:, :, :70] = half[:, :, 70:71]
    cut = scorer.predict_crops(half).score
    assert (clean - noisy).min() > 0.5 and (clean - cut).mean() > 0.5


def test_jitter_moves_images_a_little_each_time_anew_and_lets_gradients_through() -> None:
    torch.manual_seed(0)
    smooth = (
        torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (128, 128), mode="bicubic").clamp(0, 1).requires_grad_(True)
    )
    first, second = jittered(smooth), jittered(smooth)
    assert first.shape == smooth.shape and not torch.equal(first, second)
    assert 0 < (first - smooth).abs().mean() < 0.15
    first.sum().backward()
    assert smooth.grad is not None and smooth.grad.any()
