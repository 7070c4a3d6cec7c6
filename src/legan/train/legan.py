"""Training LEGAN: the critic's and the generator's updates (LEGAN poster, section "Losses"; StarGAN, CVPR 2018)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from legan import losses
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.config import load_config
from legan.core.errors import ConfigError, WeightsError
from legan.core.weights import load_weights, weights_file
from legan.data.edit_batches import EditBatches
from legan.data.faces import FaceDataset
from legan.data.loaders import FaceBatches
from legan.models.critic import Critic, CriticConfig
from legan.models.from_weights import checked_config
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput
from legan.models.quality import TOP_SCORE
from legan.train.checkpoint import list_checkpoints
from legan.train.critic_game import CriticGame, generator_update
from legan.train.frozen import Frozen, load_identity, load_perceptual, load_quality
from legan.train.init import describe_init, init_path
from legan.train.legan_config import LeganConfig, preset
from legan.train.loop import Outcome, Rehearsal
from legan.train.probe import Probe
from legan.train.regions import region_weights
from legan.train.run import CONFIG
from legan.train.start import on_folders, start
from legan.train.task import Batch, Update, autocast, mixed_dtype

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


class LeganTask(CriticGame):
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
    generator: Generator
    ema: Generator
    critic: Critic

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
        super().__init__(config, device, Generator(config.generator), Critic(config.critic), probe, data, judges)
        self.identity, self.quality, self.perceptual = identity, quality, perceptual
        frozen = {"identity": identity, "quality": quality, "perceptual": perceptual}
        self.init: dict[str, Any] | None = None
        self.frozen = {k: net.eval().requires_grad_(False) for k, net in frozen.items() if isinstance(net, nn.Module)}
        self.regions = region_weights(config.critic.size, config.loss.eyes, config.loss.mouth).to(device)

    def begin(self) -> None:
        """Take over the weights of `init`."""
        if self.config.init is not None:
            path = weights_file(self.config.init, "editor")
            start_from(self, path)
            self.init = describe_init(path)

    def extra_state(self) -> dict[str, object]:
        """What every editor's checkpoint holds, and which weights the training started from."""
        return {**super().extra_state(), "init": self.init}

    def load_extra_state(self, state: Mapping[str, object]) -> None:
        """Take it back; errors as for `EditorTask`."""
        super().load_extra_state(state)
        self.init = cast("dict[str, Any] | None", state.get("init"))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, unless no loss term needs it, and the generator's where it has its turn."""
        has_turn = self.has_turn(step)
        # One translation serves both: the critic's step does not change the generator.
        x_real = batch["x_real"].to(memory_format=self.layout)
        with torch.set_grad_enabled(has_turn):
            output = self._translate(self.generator, x_real, batch["expression_trg"], batch["lighting_trg"])
        if self.config.loss.needs_critic:
            yield self.critic_update(batch, x_real, output.image.detach(), step)
        if has_turn:
            yield generator_update(self.config.loss, self._generator_terms(batch, x_real, output))

    def editor(self) -> nn.Module:
        """The averaged generator as an editor."""
        return _Image(self.ema)

    def _translate(self, net: nn.Module, x: Tensor, expression: Tensor, lighting: Tensor) -> GeneratorOutput:
        with autocast(self.dtype, self.device):
            output = net(x, expression, lighting)
        return output._replace(image=output.image.float())

    def _generator_terms(self, batch: Batch, x_real: Tensor, output: GeneratorOutput) -> dict[str, Tensor]:
        """The loss terms whose weight is above 0, by their names in `LossConfig`."""
        weights, x_fake = self.config.loss, output.image
        # Adversarial and classification.
        terms = self.persuasion(batch, x_fake) if weights.needs_critic else {}

        # Pair: the true image, where there is one; errors near eyes and mouth count more.
        difference = x_fake - batch["x_true"]
        if weights.pair > 0:
            terms["pair"] = paired_l1(difference, self.regions, batch["has_true"])
        if weights.gradient > 0:
            terms["gradient"] = paired_gradient(difference, self.regions, batch["has_true"])

        # Perceptual: a frozen network's features of the fake are those of the truth.
        if weights.perceptual > 0 and self.perceptual is not None:
            terms["perceptual"] = self._perceptual(self.perceptual, x_fake, batch["x_true"], batch["has_true"])

        # Matching: the critic's features of the fake are those of the truth.
        if weights.matching > 0:
            terms["matching"] = self._matching(x_fake, batch["x_true"], batch["has_true"])

        # Reconstruction: back to the source's conditions, where they are known, in a share of the batch.
        rows, x_rec = self._way_back(batch), None
        if weights.reconstruction > 0 and len(rows):
            back = batch["expression_back"][rows], batch["lighting_back"][rows]
            x_rec = self._translate(self.generator, x_fake[rows], *back).image
            terms["reconstruction"] = losses.reconstruction(x_rec, x_real[rows])

        # Identity and quality: the frozen networks' outputs.
        if weights.identity > 0 and self.identity is not None:
            with torch.no_grad():
                features = self.identity(x_real)
            terms["identity"] = 1 - F.cosine_similarity(features, self.identity(x_fake)).mean()
        if weights.quality > 0 and self.quality is not None:
            terms["quality"] = quality_loss(self.quality, x_fake, x_rec, x_real[rows])
        bias = output.bias if output.light_bias is None else output.light_bias
        if bias is not None and weights.bias > 0:
            terms["bias"] = bias.float().abs().mean()
        if output.light_gain is not None and weights.texture > 0:
            terms["texture"] = losses.total_variation(output.light_gain.float())
        if output.displacement is not None:
            if weights.displacement > 0:
                terms["displacement"] = losses.smoothness(output.displacement * x_real.shape[-1])
            if weights.landmarks > 0:
                points_to = batch["points_true"].where(batch["has_true"][:, None, None] > 0, -1.0)
                terms["landmarks"] = losses.landmark_displacement(output.displacement, batch["points_real"], points_to)
        return {name: term for name, term in terms.items() if getattr(weights, name) > 0}

    def _matching(self, x_fake: Tensor, x_true: Tensor, has_true: Tensor) -> Tensor:
        """L1 between the critic's features of fake and truth, layer by layer (Wang et al., pix2pixHD, CVPR 2018, eq. 4)."""
        with autocast(self.dtype, self.device):
            fake = self.critic.feature_maps(x_fake)
            with torch.no_grad():
                true = self.critic.feature_maps(x_true)
        each = [(a - b).float().abs().mean(dim=(1, 2, 3)) for a, b in zip(fake, true, strict=True)]  # (B,) a layer
        return (torch.stack(each).mean(0) * has_true).sum() / has_true.sum().clamp_min(1)

    def _perceptual(self, network: Features, x_fake: Tensor, x_true: Tensor, has_true: Tensor) -> Tensor:
        """Squared distance of unit features, channel by channel, mean over places and stages (Zhang et al., LPIPS, CVPR 2018)."""
        with autocast(self.dtype, self.device):
            fake = network(x_fake)
            with torch.no_grad():
                true = network(x_true.to(memory_format=self.layout))
        each = [
            (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean(dim=(1, 2))
            for a, b in zip(fake, true, strict=True)
        ]  # (B,) a stage
        return (torch.stack(each).mean(0) * has_true).sum() / has_true.sum().clamp_min(1)

    def _way_back(self, batch: Batch) -> Tensor:
        """The rows that are reconstructed: the first of those that a code brings back to where they came from."""
        known = batch["can_return"].nonzero().flatten()
        share = self.config.loss.reconstruction_share * len(batch["can_return"])
        return known[: max(1, round(share)) if share > 0 else 0]


def paired_l1(difference: Tensor, regions: Tensor, has_true: Tensor) -> Tensor:
    """Mean of |difference| (B, 3, H, W) weighted by `regions` (1, 1, H, W), over the images of `has_true` (B,); 0 without any."""
    each = (difference.abs() * regions).mean(dim=(1, 2, 3))  # (B,)
    return (each * has_true).sum() / has_true.sum().clamp_min(1)


def paired_gradient(difference: Tensor, regions: Tensor, has_true: Tensor) -> Tensor:
    """`paired_l1` of the differences between neighbours, across plus down: what blurred edges fail (Mathieu et al., ICLR 2016)."""
    across = paired_l1(difference.diff(dim=3), regions[..., 1:], has_true)
    return across + paired_l1(difference.diff(dim=2), regions[..., 1:, :], has_true)


def quality_loss(quality: Scorer, x_fake: Tensor, x_rec: Tensor | None, x_real: Tensor) -> Tensor:
    """Push the translated image to the top of the scale, and the reconstruction's score to that of its input `x_real`.

    Both in units of the scale; the first is `losses.unnaturalness`, which gains nothing from scores beyond it.
    """
    loss = losses.unnaturalness(quality(x_fake)).mean()
    if x_rec is not None:
        with torch.no_grad():
            wanted = quality(x_real)
        loss = loss + (quality(x_rec) - wanted).abs().mean() / TOP_SCORE
    return loss


def build_legan(config: LeganConfig, device: torch.device) -> tuple[LeganTask, "FaceBatches | EditBatches"]:
    """Make the task and its batches from a config."""
    data = config.data
    for name, shape in (("generator", config.generator), ("critic", config.critic)):
        if (shape.n_expressions, shape.n_lightings) != (len(EXPRESSIONS), len(LIGHTINGS)):
            raise ConfigError(f"{name}.n_expressions and {name}.n_lightings must be {len(EXPRESSIONS)} and {len(LIGHTINGS)}")
    folders, size = [Path(folder) for folder in data.folders], config.critic.size
    train, val = (FaceDataset(folders, split, data.paired_domains, size, data.memory_gb) for split in ("train", "val"))
    batches: FaceBatches | EditBatches = FaceBatches(train, data, config.loop.seed)
    if config.generator.keeps:
        batches = EditBatches(train, data, config.edits, config.loop.seed)
    judges = _judges(config, device)
    networks = {name: judge.net for name, judge in judges.items()}
    facts = {name: judge.facts() for name, judge in judges.items()}
    probe = Probe(val, keeps=config.generator.keeps)
    return LeganTask(config, device, probe=probe, data=train.facts(), judges=facts, **networks), batches


def _judges(config: LeganConfig, device: torch.device) -> dict[str, Frozen]:
    """The frozen networks whose loss weights are above 0."""
    dtype, found = mixed_dtype(config.precision, device), {}
    # Making them draws random numbers; those of the trained networks stay the same with and without.
    with torch.random.fork_rng([]):
        if config.loss.identity > 0:
            found["identity"] = load_identity(config.identity, dtype, device)
        if config.loss.quality > 0:
            found["quality"] = load_quality(config.quality, dtype, device)
        if config.loss.perceptual > 0:
            found["perceptual"] = load_perceptual(config.perceptual, device)
    return found


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


def on_init(config: LeganConfig, init: Path, run: Path) -> LeganConfig:
    """Return a config whose networks have the shape of the editor `init`, or of the run once it has begun, without that file.

    The critic stays as it is where the editor has none.

    Raises:
        WeightsError: not a file of an editor of LEGAN.
    """
    if list_checkpoints(run) and (Path(run) / CONFIG).is_file():
        begun = load_config(LeganConfig, Path(run) / CONFIG)
        return replace(config, generator=begun.generator, critic=begun.critic)
    path = weights_file(init, "editor")
    tensors, metadata = load_weights(path)
    if metadata.get("generator") is None or metadata.get("model", MODEL) != MODEL:
        raise WeightsError(f"{path} holds no LEGAN editor: start from a file that `legan export` wrote of one")
    generator = checked_config(Generator, GeneratorConfig, metadata["generator"], _part(tensors, "generator"), path)
    if not (judging := _part(tensors, "critic")):
        return replace(config, generator=generator)
    critic = checked_config(Critic, CriticConfig, metadata.get("critic"), judging, path)
    return replace(config, generator=generator, critic=critic)


def train_legan(
    preset_name: str,
    data: Sequence[Path],
    run: Path,
    overrides: Sequence[str] = (),
    devices: int = 1,
    dry_run: bool = False,
    init: Path | None = None,
) -> Outcome | Rehearsal:
    """Train LEGAN in a run folder, or continue the training that it holds.

    Args:
        preset_name: one of `legan_config.PRESETS`, such as "lite" or "paper".
        data: data set folders.
        run: the run folder.
        overrides: settings such as "loss.pair=10".
        devices: processes to train in.
        dry_run: build everything, time a few steps, write nothing.
        init: an editor to start from, a file or `packaged`; the networks take its shape.

    Raises:
        LeganError: as `run_task`.
    """
    base = preset(preset_name)
    init = init or load_config(LeganConfig, overrides=overrides, base=base).init
    config = load_config(LeganConfig, overrides=overrides, base=base if init is None else on_init(base, init, run))
    init, identity, quality, perceptual = (
        path and init_path(path) for path in (init, config.identity, config.quality, config.perceptual)
    )
    config = replace(config, init=init, identity=identity, quality=quality, perceptual=perceptual)
    return start(build_legan, on_folders(config, data), run, devices, dry_run)
