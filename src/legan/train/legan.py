"""The training of LEGAN: its settings and presets, and its losses as one task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from legan import losses
from legan.core.conditions import Classes
from legan.core.config import config_to_dict, read_toml
from legan.core.device import autocast, mixed_dtype
from legan.core.errors import ConfigError, WeightsError
from legan.core.geometry import EYE_DISTANCE, EYES_Y
from legan.core.weights import load_metadata, load_weights, weights_file
from legan.data.batches import DataConfig, FaceBatches, face_dataset
from legan.data.edits import EditBatches, EditsConfig
from legan.models import critic, generator
from legan.models.critic import Critic, CriticConfig, CriticOutput
from legan.models.editors import classes_of
from legan.models.from_weights import checked_config
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput
from legan.models.quality import TOP_SCORE, jittered, wants_jitter
from legan.train.config import GANOptimizerConfig, LoopConfig, parse_config
from legan.train.export import write_editor
from legan.train.gan import (
    AdversarialConfig,
    Adversary,
    EditorTask,
    Frozen,
    gan_optimizers,
    generator_update,
    load_identity,
    load_perceptual,
    load_quality,
)
from legan.train.probe import Probe, mouth_window, window
from legan.train.run_folder import CONFIG, describe_init, list_checkpoints
from legan.train.task import Batch, Chosen, Update

# Settings of LEGAN's training, and the presets `paper` and `lite`.


@dataclass(frozen=True)
class LossConfig:
    """Weights of the generator's loss terms; a term of weight 0 is not computed.

    Args:
        adversarial: the critic's realness score.
        classification: cross entropy of the critic's heads on the targets.
        reconstruction: L1 between x and G(G(x, c_trg), c_src); a second pass through the generator.
        reconstruction_share: share of a batch that makes this way back; an input under a light of its own, which has no code, never.
        pair: L1 to the true image, where the data holds it.
        gradient: L1 between the spatial differences of the two, which blurred edges fail.
        perceptual: distance of EfficientNet-Lite0's features of the output and of the true image (extra `features`).
        matching: L1 between the critic's features of the output and of the true image, where the data holds it.
        identity: 1 - cosine of LightCNN's features of input and output.
        quality: how far Q's score of the output is from the top, and that of the reconstruction from the input's.
        quality_share: share of a batch whose outputs Q scores; the packaged Q takes longer than all other terms.
        displacement: squared difference of neighbouring displacements in pixels, where the generator moves pixels.
        bias: mean absolute bias that the generator adds to the moved and scaled input. Added colours are blurred, and without this
            they take the place of the scaled input, which is sharp.
        texture: total variation of the gain of light, where the generator gives light apart: light is smooth, grain is the photo's.
        landmarks: distance in pixels between the displacement and the way that known landmarks went, where the data holds the true
            image and both images' landmarks: a direct gradient for where a mouth's corner moves; that of colours is slow.
        eyes, mouth: how much more than elsewhere an error of `pair` and `gradient` counts in the middle of these regions.
    """

    adversarial: float = 1.0
    classification: float = 1.0
    reconstruction: float = 10.0
    reconstruction_share: float = 1.0
    pair: float = 0.0
    gradient: float = 0.0
    perceptual: float = 0.0
    matching: float = 0.0
    identity: float = 0.0
    quality: float = 0.0
    quality_share: float = 1.0
    displacement: float = 0.0
    bias: float = 0.0
    texture: float = 0.0
    landmarks: float = 0.0
    eyes: float = 0.0
    mouth: float = 0.0

    @property
    def needs_critic(self) -> bool:
        """Whether any term is the critic's."""
        return max(self.adversarial, self.classification, self.matching) > 0


@dataclass(frozen=True)
class LeganConfig:
    """Everything that decides a training of LEGAN.

    Args:
        edits: which edits are learned by a generator that keeps an attribute without a target, such as that of the preset `fields`.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it. Penalties are float32 always.
        channels_last: memory layout of images and weights.
        init: an exported editor whose generator and critic the training starts from, instead of random weights.
        identity: the network of `loss.identity`, a file of `legan train identity` or an official LightCNN checkpoint; the packaged
            one by default.
        quality: the network of `loss.quality`, weights written by `legan train quality`; the packaged ones by default. `robust` are
            adversarially trained, and `simulated` are those of simulated raters, twenty times faster.
        perceptual: weights for `loss.perceptual` in the layout of EfficientNet-Lite0's package; the installed package's by default.
        model: says in a run folder what was trained there.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: DataConfig = field(default_factory=DataConfig)
    edits: EditsConfig = field(default_factory=EditsConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: GANOptimizerConfig = field(default_factory=GANOptimizerConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True
    init: Path | None = None
    identity: Path | None = None
    quality: Path | None = None
    perceptual: Path | None = None
    model: Literal["legan"] = "legan"


# `paper`: weights and schedule of StarGAN, the poster's starting point. `lite`: about an hour or two on a laptop.
PRESETS = {
    "paper": LeganConfig(
        loop=LoopConfig(n_steps=200_000, log_every=100, sample_every=5000, checkpoint_every=5000),
        generator=generator.PRESETS["paper"],
        critic=critic.PRESETS["paper"],
        adversarial=AdversarialConfig(kind="wgan-gp", n_critic=5, penalty=10.0, penalty_every=1, penalty_fraction=1.0),
        loss=LossConfig(adversarial=1.0, classification=1.0, reconstruction=10.0),
    ),
    "lite": LeganConfig(
        loop=LoopConfig(n_steps=3500),
        generator=generator.PRESETS["lite"],
        data=DataConfig(tone=0.5),
        critic=critic.PRESETS["lite"],
        # A sum over the patches: 4 would leave the critic blind to everything.
        adversarial=AdversarialConfig(penalty=0.2),
        loss=LossConfig(
            adversarial=0.5,
            classification=0.3,
            reconstruction=5.0,
            reconstruction_share=0.25,
            pair=20.0,
            gradient=5.0,
            matching=1.0,
            identity=0.5,
            quality=0.5,
            displacement=0.02,
            bias=2.0,
            landmarks=1.0,
            eyes=2.0,
            mouth=3.0,
        ),
        optimizer=GANOptimizerConfig(
            lr=4e-4,
            lr_critic=2e-4,
            betas=(0.5, 0.99),
            warmup_steps=200,
            decay_fraction=0.4,
            lr_floor=0.05,
            ema_decay=0.996,
        ),
    ),
}
# The paper's way: no image has a truth. Weights between the terms as in `paper`; identity strong enough to be felt, and quality not so
# strong that the generator learns to fool Q, as it does at 1 (experiments/comparison).
PRESETS["lite-unpaired"] = replace(
    PRESETS["lite"],
    data=DataConfig(tone=0.5, pair_probability=0.0),
    loss=LossConfig(
        adversarial=1.0, classification=1.0, reconstruction=10.0, identity=1.0, quality=0.1, displacement=0.02, bias=1.0
    ),
)

# For anyone's photo, first part: pairs alone, without a critic, fast; second part: all five losses (experiments/default-editor).
PRESETS["fields-paired"] = LeganConfig(
    loop=LoopConfig(n_steps=40_000, log_every=100, sample_every=1500, checkpoint_every=1500, checkpoint_minutes=4.0),
    data=DataConfig(tone=0.7, even_weight=6.0),
    generator=generator.PRESETS["fields"],
    critic=critic.PRESETS["lite"],
    loss=LossConfig(
        adversarial=0.0,
        classification=0.0,
        reconstruction=0.0,
        pair=20.0,
        gradient=8.0,
        perceptual=4.0,
        displacement=0.02,
        bias=0.5,
        texture=0.05,
        landmarks=1.0,
        eyes=3.0,
        mouth=4.0,
    ),
    optimizer=GANOptimizerConfig(
        lr=5e-4,
        lr_critic=2e-4,
        betas=(0.9, 0.99),
        warmup_steps=300,
        decay_fraction=0.3,
        lr_floor=0.05,
        ema_decay=0.998,
    ),
)
PRESETS["fields"] = replace(
    PRESETS["fields-paired"],
    edits=EditsConfig(unpaired=0.3),
    adversarial=AdversarialConfig(penalty=0.2),
    loss=replace(
        PRESETS["fields-paired"].loss,
        adversarial=0.5,
        classification=0.3,
        reconstruction=5.0,
        reconstruction_share=0.25,
        matching=1.0,
        identity=0.5,
        quality=0.5,
    ),
    optimizer=replace(PRESETS["fields-paired"].optimizer, lr=2e-4, betas=(0.5, 0.99), ema_decay=0.998),
)


# Training LEGAN: the critic's and the generator's updates (LEGAN poster, section "Losses"; StarGAN, CVPR 2018).


MODEL = "legan-editor"  # in the metadata of exported weights
# Frozen networks: crops (B, 3, H, W) in [-1, 1] to features (B, n), or to scores (B,) from 0 to 10.
Scorer = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], list[Tensor]]


class _Image(nn.Module):
    """A generator's image alone."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        return self.generator(x, expression, lighting).image


class LeganTask(EditorTask):
    """Trains LEGAN.

    Args:
        config: all settings.
        device: where the training runs.
        probe: held-out crops for samples and figures; None for neither.
        identity: feature network, needed when its loss weight is above 0.
        quality: quality network, likewise.
        perceptual: crops to lists of feature maps, likewise.
        data: description of the training data, kept in checkpoints.
        judges: which weights the two networks are, likewise.

    Raises:
        ConfigError: a loss weight above 0 whose network is missing.
    """

    config: LeganConfig
    ema: Generator
    shared = ("has_true", "can_return", "points_real", "points_true")
    compiled = ("generator", "critic", "identity", "quality", "perceptual")

    def __init__(
        self,
        config: LeganConfig,
        device: torch.device,
        probe: Probe | None = None,
        identity: Scorer | None = None,
        quality: Scorer | None = None,
        perceptual: Features | None = None,
        data: Sequence[Mapping[str, object]] = (),
        judges: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        for name, network in (("identity", identity), ("quality", quality), ("perceptual", perceptual)):
            if getattr(config.loss, name) > 0 and network is None:
                raise ConfigError(f"loss.{name} is above 0 but there is no {name} network: give one, or set loss.{name}=0")
        self.generator, self.critic = Generator(config.generator), Critic(config.critic)
        networks = {"generator": self.generator, "critic": self.critic}
        optimizers = gan_optimizers(config.optimizer, **networks)
        super().__init__(config, device, networks, optimizers, config.adversarial.n_critic, probe, data, judges)
        self.adversary = Adversary(config.adversarial, self.critic, lambda x: CriticOutput(*self.run_mixed(self.critic, x)))
        self.period = config.adversarial.period
        self.identity, self.quality, self.perceptual = identity, quality, perceptual
        frozen = {"identity": identity, "quality": quality, "perceptual": perceptual}
        self.init: dict[str, Any] | None = None
        self.frozen = {k: net.eval().requires_grad_(False) for k, net in frozen.items() if isinstance(net, nn.Module)}
        self.regions = region_weights(config.critic.size, config.loss.eyes, config.loss.mouth).to(device)

    def begin(self) -> None:
        """Take over the weights of `init`."""
        if self.config.init is not None:
            path = weights_file(self.config.init, "editor")
            own, classes = classes_of(load_metadata(path), path), self.config.data.classes
            if own != classes:
                raise ConfigError(
                    f"{path} knows {own}, and data.expressions and data.lightings declare {classes}: leave init out"
                )
            start_from(self, path)
            self.init = describe_init(path)

    def extra_state(self) -> dict[str, object]:
        """What every editor's checkpoint holds, and which weights the training started from."""
        return {**super().extra_state(), "init": self.init}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Restore it; errors as for `EditorTask`."""
        super().load_extra_state(state)
        self.init = cast("dict[str, Any] | None", state.get("init"))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, unless no loss term needs it, and the generator's where it has its turn."""
        is_generator_step = self.is_generator_step(step)
        # One translation serves both: the critic's step does not change the generator.
        x_real = batch["x_real"].to(memory_format=self.layout)
        codes = batch["expression_trg"], batch["lighting_trg"]
        with torch.set_grad_enabled(is_generator_step and not self.translates_twice):
            output = self.translate(x_real, *codes)
        if self.config.loss.needs_critic:
            yield self.adversary.critic_update(batch, x_real, output.image.detach(), step, self.share)
        if is_generator_step:
            if self.translates_twice:
                output = self.translate(x_real, *codes)
            yield generator_update(self.config.loss, self._generator_terms(batch, x_real, output))

    def editor(self) -> nn.Module:
        """The averaged generator as an editor."""
        return _Image(self.ema)

    def translate(self, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        """The generator's output in the training's precision; the image is float32."""
        with autocast(self.dtype, self.device):
            output = self.generator(x, expression, lighting)
        return output._replace(image=output.image.float())

    def _generator_terms(self, batch: Batch, x_real: Tensor, output: GeneratorOutput) -> dict[str, Tensor]:
        """The loss terms whose weight is above 0, by their names in `LossConfig`."""
        weights, x_fake = self.config.loss, output.image
        # Adversarial and classification.
        terms = self.adversary.generator_terms(batch, x_fake) if weights.needs_critic else {}

        # Pair: the true image, where there is one; errors near eyes and mouth count more.
        difference, n_true = x_fake - batch["x_true"], self.share.count(self.share.of_all(batch, "has_true"))
        if weights.pair > 0:
            terms["pair"] = paired_l1(difference, self.regions, batch["has_true"], n_true)
        if weights.gradient > 0:
            terms["gradient"] = paired_gradient(difference, self.regions, batch["has_true"], n_true)

        # Perceptual: a frozen network's features of the fake are those of the truth.
        if weights.perceptual > 0 and self.perceptual is not None:
            terms["perceptual"] = self._perceptual(self.perceptual, x_fake, batch["x_true"], batch["has_true"], n_true)

        # Matching: the critic's features of the fake are those of the truth.
        if weights.matching > 0:
            terms["matching"] = self._matching(x_fake, batch["x_true"], batch["has_true"], n_true)

        # Reconstruction: back to the source's conditions, where they are known, in a share of the batch.
        back, x_rec = self._way_back(batch), None
        rows = back.rows
        if weights.reconstruction > 0 and back.n:
            terms["reconstruction"] = x_fake.new_zeros(())
            if len(rows):
                x_rec = self.translate(x_fake[rows], batch["expression_back"][rows], batch["lighting_back"][rows]).image
                terms["reconstruction"] = back.weight * losses.reconstruction(x_rec, x_real[rows])

        # Identity and quality: the frozen networks' outputs.
        if weights.identity > 0 and self.identity is not None:
            with torch.no_grad():
                features = self.identity(x_real)
            terms["identity"] = 1 - F.cosine_similarity(features, self.identity(x_fake)).mean()
        if weights.quality > 0 and self.quality is not None:
            n = max(1, round(weights.quality_share * len(x_fake) * self.share.n_parts))
            scored, judged = self.share.choose(torch.ones(len(x_fake) * self.share.n_parts), n), self._way_back(batch, n)
            x_rec = None if x_rec is None else x_rec[: len(judged.rows)]
            terms["quality"] = quality_loss(
                self.quality, x_fake[: len(scored.rows)], x_rec, x_real[judged.rows], scored, judged
            )
        bias = output.bias if output.light_bias is None else output.light_bias
        if bias is not None and weights.bias > 0:
            terms["bias"] = bias.float().abs().mean()
        if output.light_gain is not None and weights.texture > 0:
            terms["texture"] = losses.total_variation(output.light_gain.float())
        if output.displacement is not None:
            if weights.displacement > 0:
                terms["displacement"] = losses.smoothness(output.displacement * x_real.shape[-1])
            if weights.landmarks > 0:
                n_known = self.share.count(
                    losses.known_landmarks(*known_points(*(self.share.of_all(batch, name) for name in _POINTS)))
                )
                points = known_points(*(batch[name] for name in _POINTS))
                terms["landmarks"] = losses.landmark_displacement(output.displacement, *points, n_known)
        return {name: term for name, term in terms.items() if getattr(weights, name) > 0}

    def _matching(self, x_fake: Tensor, x_true: Tensor, has_true: Tensor, n_true: Tensor) -> Tensor:
        """L1 between the critic's features of fake and truth, layer by layer (Wang et al., pix2pixHD, CVPR 2018, eq. 4)."""
        with autocast(self.dtype, self.device):
            fake = self.critic.feature_maps(x_fake)
            with torch.no_grad():
                true = self.critic.feature_maps(x_true)
        each = [(a - b).float().abs().mean(dim=(1, 2, 3)) for a, b in zip(fake, true, strict=True)]  # (B,) a layer
        return (torch.stack(each).mean(0) * has_true).sum() / n_true

    def _perceptual(self, network: Features, x_fake: Tensor, x_true: Tensor, has_true: Tensor, n_true: Tensor) -> Tensor:
        """Squared distance of unit features, channel by channel, mean over places and stages (Zhang et al., LPIPS, CVPR 2018)."""
        with autocast(self.dtype, self.device):
            fake = network(x_fake)
            with torch.no_grad():
                true = network(x_true.to(memory_format=self.layout))
        each = [
            (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean(dim=(1, 2))
            for a, b in zip(fake, true, strict=True)
        ]  # (B,) a stage
        return (torch.stack(each).mean(0) * has_true).sum() / n_true

    def _way_back(self, batch: Batch, n_most: int | None = None) -> Chosen:
        """The rows that are reconstructed, at most `n_most`: the first of those that a code brings back to where they came from."""
        can_return = self.share.of_all(batch, "can_return")
        n = self.config.loss.reconstruction_share * len(can_return)
        n = max(1, round(n)) if n > 0 else 0
        return self.share.choose(can_return, n if n_most is None else min(n, n_most))


_POINTS = ("points_real", "points_true", "has_true")


def known_points(points_real: Tensor, points_true: Tensor, has_true: Tensor) -> tuple[Tensor, Tensor]:
    """Return landmarks (B, n, 2) of inputs and truths, with those of truths that the data does not hold far outside the image."""
    return points_real, points_true.where(has_true[:, None, None] > 0, -1.0)


EYE_SIGMA = (0.08, 0.05)  # standard deviations (x, y) of an eye's window, in fractions of the side


def region_weights(size: int, eyes: float, mouth: float) -> Tensor:
    """Return weights (1, 1, size, size) of mean 1: `1 + eyes` in the middle of an eye to 1 far from all, before scaling."""
    left, right = 0.5 - EYE_DISTANCE / 2, 0.5 + EYE_DISTANCE / 2
    weights = torch.ones(size, size)
    for x in (left, right):
        weights += eyes * window(size, (x, EYES_Y), EYE_SIGMA)
    weights += mouth * mouth_window(size)
    return (weights / weights.mean())[None, None]


def paired_l1(difference: Tensor, regions: Tensor, has_true: Tensor, n_true: Tensor | None = None) -> Tensor:
    """Mean of |difference| (B, 3, H, W) weighted by `regions` (1, 1, H, W), over the images of `has_true` (B,); 0 without any.

    `n_true` is what the sum over the images is divided by; their number by default.
    """
    each = (difference.abs() * regions).mean(dim=(1, 2, 3))  # (B,)
    return (each * has_true).sum() / (has_true.sum().clamp_min(1) if n_true is None else n_true)


def paired_gradient(difference: Tensor, regions: Tensor, has_true: Tensor, n_true: Tensor | None = None) -> Tensor:
    """`paired_l1` of the differences between neighbours, across plus down: what blurred edges fail (Mathieu et al., ICLR 2016)."""
    across = paired_l1(difference.diff(dim=3), regions[..., 1:], has_true, n_true)
    return across + paired_l1(difference.diff(dim=2), regions[..., 1:, :], has_true, n_true)


def quality_loss(
    quality: Scorer,
    x_fake: Tensor,
    x_rec: Tensor | None,
    x_real: Tensor,
    scored: Chosen | None = None,
    back: Chosen | None = None,
) -> Tensor:
    """Push the translated image to the top of the scale, and the reconstruction's score to that of its input `x_real`.

    Both in units of the scale; the first is `losses.unnaturalness`, which gains nothing from scores beyond it. Q on features is shown
    the images jittered, as by `QualityLoss`; a reconstruction and its input alike. `scored` and `back` say which rows of the batch the
    translated images and the reconstructions are; without them, all.
    """
    jitter, loss = wants_jitter(quality), x_fake.new_zeros(())
    if len(x_fake):
        if jitter:
            x_fake = jittered(x_fake) if scored is None else jittered(x_fake, scored.rand)
        loss = (1.0 if scored is None else scored.weight) * losses.unnaturalness(quality(x_fake)).mean()
    if x_rec is not None and len(x_rec):
        if jitter:
            # The last draws of a step: a part without reconstructions may leave them out.
            pair = torch.cat([x_rec, x_real], 1)
            x_rec, x_real = (jittered(pair) if back is None else jittered(pair, back.rand)).chunk(2, 1)
        with torch.no_grad():
            wanted = quality(x_real)
        weight = 1.0 if back is None else back.weight
        loss = loss + weight * (quality(x_rec) - wanted).abs().mean() / TOP_SCORE
    return loss


def build_legan(config: LeganConfig, device: torch.device) -> tuple[LeganTask, "FaceBatches | EditBatches"]:
    """Make the task and its batches from a config."""
    data, classes = config.data, config.data.classes
    n_expressions, n_lightings = len(classes.expressions), len(classes.lightings)
    for name, shape in (("generator", config.generator), ("critic", config.critic)):
        if (shape.n_expressions, shape.n_lightings) != (n_expressions, n_lightings):
            raise ConfigError(
                f"{name}.n_expressions and {name}.n_lightings must be {n_expressions} and {n_lightings}, as many as data.expressions and "
                "data.lightings declare: leave them out"
            )
    train, val = (face_dataset(data, split, config.critic.size) for split in ("train", "val"))
    batches: FaceBatches | EditBatches = FaceBatches(train, data, config.loop.seed)
    if config.generator.keeps:
        batches = EditBatches(train, data, config.edits, config.loop.seed)
    judges = _judges(config, device)
    networks = {name: judge.net for name, judge in judges.items()}
    facts = {name: judge.facts() for name, judge in judges.items()}
    probe = Probe(val, keeps=config.generator.keeps)
    return LeganTask(config, device, probe=probe, data=train.facts(), judges=facts, **networks), batches


def shaped_by_classes(config: LeganConfig, classes: Classes) -> LeganConfig:
    """Return a config whose networks have as many codes as there are classes."""
    n_expressions, n_lightings = len(classes.expressions), len(classes.lightings)
    generator = replace(config.generator, n_expressions=n_expressions, n_lightings=n_lightings)
    return replace(
        config, generator=generator, critic=replace(config.critic, n_expressions=n_expressions, n_lightings=n_lightings)
    )


def _judges(config: LeganConfig, device: torch.device) -> dict[str, Frozen]:
    """The frozen networks whose loss weights are above 0."""
    dtype, judges = mixed_dtype(config.precision, device), {}
    # Making them draws random numbers; those of the trained networks stay the same with and without.
    with torch.random.fork_rng([]):
        if config.loss.identity > 0:
            judges["identity"] = load_identity(config.identity, dtype, device)
        if config.loss.quality > 0:
            judges["quality"] = load_quality(config.quality, dtype, device)
        if config.loss.perceptual > 0:
            judges["perceptual"] = load_perceptual(config.perceptual, device)
    return judges


def start_from(task: LeganTask, path: Path) -> None:
    """Fill the generator, its average and the critic from an exported editor; without a critic in it, that one starts afresh.

    Raises:
        WeightsError: the file cannot be used, or its networks are of another shape.
    """
    tensors, _ = load_weights(path)
    for name, source in (("generator", "generator"), ("ema", "generator"), ("critic", "critic")):
        state = _part(tensors, source)
        if source == "critic" and not state:  # of a training that had no use for one
            continue
        try:
            task.networks[name].load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} does not fit this config's {source}: leave {source}.* as the weights have it"
            ) from error


def _part(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The tensors of one network of an exported editor, by the names that they have in it."""
    return {key.removeprefix(f"{network}."): value for key, value in tensors.items() if key.startswith(f"{network}.")}


def shaped_as_init(config: LeganConfig, init: Path, run: Path) -> LeganConfig:
    """Return a config whose networks and classes are those of the editor `init`, or of the run once it has begun, without that file.

    The critic stays as it is where the editor has none.

    Raises:
        WeightsError: not a file of an editor of LEGAN.
    """
    if list_checkpoints(run) and (Path(run) / CONFIG).is_file():
        begun = parse_config(LeganConfig, read_toml(Path(run) / CONFIG))
        data = config.data.with_classes(begun.data.classes)
        return replace(config, data=data, generator=begun.generator, critic=begun.critic)
    path = weights_file(init, "editor")
    tensors, metadata = load_weights(path)
    if metadata.get("generator") is None or metadata.get("model", MODEL) != MODEL:
        raise WeightsError(f"{path} holds no LEGAN editor: start from a file that `legan export` wrote of one")
    config = replace(config, data=config.data.with_classes(classes_of(metadata, path)))
    generator = checked_config(Generator, GeneratorConfig, metadata["generator"], _part(tensors, "generator"), path)
    if not (judging := _part(tensors, "critic")):
        return replace(config, generator=generator)
    critic = checked_config(Critic, CriticConfig, metadata.get("critic"), judging, path)
    return replace(config, generator=generator, critic=critic)


def export_legan(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the editor of a run; arguments, result and errors as for `write_editor`.

    Tensors are named `generator.*` and `critic.*`, whose class heads recognise a face's own expression and lighting; a training
    without loss terms of the critic writes none of the latter.
    """
    config = parse_config(LeganConfig, read_toml(run / CONFIG))
    shapes, others = {"generator": config_to_dict(config.generator)}, ("critic",) if config.loss.needs_critic else ()
    if others:
        shapes["critic"] = config_to_dict(config.critic)
    return write_editor(run, out, config, {"model": MODEL, **shapes}, others, known_faults)
