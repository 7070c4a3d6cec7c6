"""Settings of LEGAN's training, and the presets `paper` and `lite`."""

from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from legan.core.errors import ConfigError, no_such
from legan.data.edit_batches import EditsConfig
from legan.data.loaders import DataConfig
from legan.models import critic, generator
from legan.models.critic import CriticConfig
from legan.models.generator import GeneratorConfig
from legan.train.run import LoopConfig


@dataclass(frozen=True)
class AdversarialConfig:
    """The game between generator and critic.

    Args:
        kind: "wgan-gp" (penalty: gradient norm 1 between real and fake), "hinge" or "nonsaturating" (penalty: R1).
        n_critic: critic updates for each generator update.
        penalty: weight of the penalty.
        penalty_every: steps between penalties; they cost as much as the rest of a critic update.
        penalty_fraction: share of the batch that the penalty looks at.
    """

    kind: Literal["wgan-gp", "hinge", "nonsaturating"] = "hinge"
    n_critic: PositiveInt = 1
    penalty: float = 4.0
    penalty_every: PositiveInt = 8
    penalty_fraction: float = 0.5


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
        displacement: squared difference of neighbouring displacements in pixels, where the generator moves pixels.
        bias: mean absolute bias that the generator adds to the moved and scaled input. Added colours are blurred, and without this
            they take the place of the scaled input, which is sharp.
        texture: total variation of the gain of light, where the generator gives light apart: light is smooth, grain is the photo's.
        landmarks: distance in pixels between the displacement and the way that known landmarks went, where the data holds the true
            image and both images' landmarks: shows the generator at once that a mouth's corner moves, which colours tell slowly.
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
class OptimizerConfig:
    """Adam for both networks, with a linear warm-up and a linear decay.

    Args:
        lr_generator, lr_critic: learning rates between warm-up and decay.
        betas: of Adam.
        n_warmup_steps: steps of the warm-up.
        decay_fraction: share of all steps, at the end, over which the rates fall.
        lr_floor: where they fall to, as a share.
        ema_decay: of the moving average of the generator's weights, per generator update; less during the first updates.
    """

    lr_generator: float = 1e-4
    lr_critic: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    n_warmup_steps: int = 0
    decay_fraction: float = 0.5
    lr_floor: float = 0.0
    ema_decay: float = 0.999


@dataclass(frozen=True)
class LeganConfig:
    """Everything that decides a training of LEGAN.

    Args:
        edits: which edits a generator learns that keeps what it is not asked for, such as the preset `fields`.
        precision: "bf16", "fp32", or "auto": bfloat16 where the hardware has it. Penalties are float32 always.
        channels_last: memory layout of images and weights.
        init: an exported editor whose generator and critic the training starts from, instead of random weights.
        identity: the network of `loss.identity`, a file of `legan train identity` or an official LightCNN checkpoint; the packaged
            one by default.
        quality: the network of `loss.quality`, a file that `legan train quality` led to; the packaged one by default.
        perceptual: weights for `loss.perceptual` in the layout of EfficientNet-Lite0's package; the installed package's by default.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    data: DataConfig = field(default_factory=DataConfig)
    edits: EditsConfig = field(default_factory=EditsConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    channels_last: bool = True
    init: Path | None = None
    identity: Path | None = None
    quality: Path | None = None
    perceptual: Path | None = None


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
        optimizer=OptimizerConfig(
            lr_generator=4e-4,
            lr_critic=2e-4,
            betas=(0.5, 0.99),
            n_warmup_steps=200,
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
    optimizer=OptimizerConfig(
        lr_generator=5e-4,
        lr_critic=2e-4,
        betas=(0.9, 0.99),
        n_warmup_steps=300,
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
    optimizer=replace(PRESETS["fields-paired"].optimizer, lr_generator=2e-4, betas=(0.5, 0.99), ema_decay=0.998),
)


def preset(name: str) -> LeganConfig:
    """Return the training preset called `name`.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(no_such("preset", name, PRESETS))
    return PRESETS[name]
