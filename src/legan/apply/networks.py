"""The networks of an editor: a generator and, where it was exported with one, its critic, read from one weights file.

Tensors named `generator.*` and `critic.*`; metadata holds their configs under `generator` and `critic`, and under `model` whose they
are: LEGAN's, StarGAN's or StarGAN v2's, which all edit through `Networks` alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from legan.apply.baselines import part_of, stargan_networks, starganv2_networks
from legan.apply.hub import editor_file
from legan.apply.mixed_light import mixed_output
from legan.core.conditions import EXPRESSIONS, LIGHTINGS, expression_code, lighting_code
from legan.core.crop import CROP_SIZE
from legan.core.errors import ConditionError, ConfigError, WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.lamps import Lamps, LightSetup, plain_and_mixed
from legan.core.weights import PACKAGED, load_weights
from legan.models.critic import Critic, CriticConfig
from legan.models.from_weights import network_of_config
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput
from legan.train.task import autocast, mixed_dtype

FITTED = "fitted"  # what users call the editor without a network, in every option that takes an editor
ExpressionSpec = str | Mapping[str, float]
LightingSpec = str | float | Sequence[float] | LightSetup


@dataclass(frozen=True)
class Codes:
    """Conditions of a batch.

    Args:
        expression, lighting: (B, 6) and (B, 20), each row non-negative and summing to 1, or zeros to keep it.
        lamps: lighting as a mixture of classes instead, the same for all rows. `lighting` is then the room's.
    """

    expression: Tensor
    lighting: Tensor
    lamps: Lamps | None = None

    def with_expression(self, expression: Tensor) -> "Codes":
        """The same light on another expression (B, 6)."""
        return replace(self, expression=expression)

    def of_class(self, number: int) -> "Codes":
        """The same expression under one lighting class."""
        lighting = torch.zeros_like(self.lighting)
        lighting[:, number] = 1
        return Codes(self.expression, lighting)


class Networks:
    """The editor's networks in evaluation mode.

    Args:
        generator: (x, expression, lighting) -> `GeneratorOutput`; masks of no channels where it makes none.
        critic: x -> `CriticOutput`; without one, a face's own expression and lighting are unknown.
        metadata: what the weights file says about itself: config, data, steps, licence.
        checksum: SHA-256 of the weights file.
        device: where the networks run.
        size: side of the crops in pixels.
        precision: of the generator: "bf16", "fp32", or "auto": bfloat16 convolutions where the hardware has them, nearly twice as
            fast; values of the image then differ by 0.001 on average and by 0.013 at most (16 photographs, range [-1, 1]).
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module | None,
        metadata: Mapping[str, Any],
        checksum: str,
        device: str = "cpu",
        size: int = CROP_SIZE,
        precision: str = "auto",
    ) -> None:
        self.device = torch.device(device)
        self.dtype = mixed_dtype(precision, self.device)
        generator = generator.eval().requires_grad_(False)
        self.generator = generator.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.critic = critic.eval().requires_grad_(False).to(self.device) if critic is not None else None
        self.metadata = dict(metadata)
        self.checksum = checksum
        self.size = size
        self.has_masks = isinstance(generator, Generator)
        self.keeps = isinstance(generator, Generator) and generator.config.keeps
        # What an editor of one attribute alone does not look at.
        self.ignored: tuple[str, ...] = getattr(generator, "ignored", ())

    @torch.inference_mode()
    def own_codes(self, x: Tensor) -> Codes:
        """Estimate expression and lighting of crops `x` (B, 3, S, S) in [-1, 1]: the softmax of the critic's class heads.

        Raises:
            ConditionError: the weights hold no critic.
        """
        if self.critic is None:
            raise ConditionError(
                "these weights cannot tell a face's own expression and lighting (they hold no critic): name both an expression "
                "and a lighting"
            )
        if not len(x):
            return Codes(torch.zeros(0, len(EXPRESSIONS)), torch.zeros(0, len(LIGHTINGS)))
        outputs = [self.critic(part.to(self.device)) for part in x.split(64)]
        expression = torch.cat([o.expression for o in outputs]).float().softmax(1)
        lighting = torch.cat([o.lighting for o in outputs]).float().softmax(1)
        return Codes(expression.cpu(), lighting.cpu())

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops `x` to.

        None keeps an attribute: its code is zeros where the generator takes them so (`GeneratorConfig.keeps`), else the face's own, as
        the critic sees it.

        Raises:
            ConditionError: an unknown name, a value out of range, None where neither is possible, or what these weights cannot change.
        """
        for name, wish in (("expression", expression), ("lighting", lighting)):
            if wish is not None and name in self.ignored:
                raise ConditionError(f"these weights do not change the {name}: leave it out")
        expression = "neutral" if "expression" in self.ignored else expression
        lighting = "room" if "lighting" in self.ignored else lighting
        # The named ones first: a wrong name is told before anything is computed.
        plain, lamps = plain_and_mixed(lighting) if lighting is not None else (None, None)
        named_expression = _rows(expression_code(expression), len(x)) if expression is not None else None
        named_lighting = _rows(lighting_code(plain), len(x)) if plain is not None else None
        if named_expression is not None and named_lighting is not None:
            return Codes(named_expression, named_lighting, lamps)
        own = self._no_codes(x) if self.keeps else self.own_codes(x)
        return Codes(
            own.expression if named_expression is None else named_expression,
            own.lighting if named_lighting is None else named_lighting,
            lamps,
        )

    def _no_codes(self, x: Tensor) -> Codes:
        """Codes of zeros, which keep everything."""
        return Codes(torch.zeros(len(x), len(EXPRESSIONS)), torch.zeros(len(x), len(LIGHTINGS)))

    @torch.inference_mode()
    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Run the generator on crops `x` (B, 3, S, S) in [-1, 1], `batch_size` at a time; the outputs are on the CPU.

        Of no crops there are no masks: (0, 0, S, S). Under a mixture of lamps each class that it needs is one run.
        """
        if not len(x):
            return GeneratorOutput(x.float().cpu(), x[:, :0], x[:, :0], None)
        if codes.lamps is not None:
            return mixed_output(x.cpu(), lambda k: self.translate(x, codes.of_class(k), batch_size), codes.lamps)
        parts = []
        for rows in torch.arange(len(x)).split(batch_size):
            picture = x[rows].to(self.device, memory_format=torch.channels_last)
            wishes = (code[rows].to(self.device) for code in (codes.expression, codes.lighting))
            with autocast(self.dtype, self.device):
                parts.append(self.generator(picture, *wishes))
        columns = zip(*parts, strict=True)  # each field's tensors, or None for what this generator does not give
        return GeneratorOutput._make(None if column[0] is None else torch.cat(column).float().cpu() for column in columns)


def load_networks(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Networks:
    """Read an editor's weights file; None or `packaged` is the package's own, `owner/name` a model on the Hugging Face hub.

    `fitted` is the editor without a network (`legan.apply.fitted`).

    Raises:
        LeganError: `fitted` without the extra `render`.
        WeightsError: a missing or damaged file, a pickle, weights of something else, or a model that cannot be fetched.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    check_device(device)
    if str(weights) == FITTED:
        from legan.apply.fitted import load_fitted

        return load_fitted()
    path = editor_file(weights if weights is not None else PACKAGED)
    tensors, metadata = load_weights(path)
    if not any(name.startswith("generator.") for name in tensors) or metadata.get("generator") is None:
        raise WeightsError(f"{path} holds no editor: give a file that `legan export` wrote")
    model = metadata.get("model") or LEGAN
    if model not in _MAKERS:
        raise WeightsError(f"{path} holds an editor of unknown kind '{model}'{nearest(model, _MAKERS)}: update legan")
    generator, critic, size = _MAKERS[model](tensors, metadata, Path(path))
    return Networks(generator, critic, metadata, sha256_of(path), device, size, precision)


def _legan_networks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], path: Path
) -> tuple[Generator, Critic | None, int]:
    own, judging = part_of(tensors, "generator."), part_of(tensors, "critic.")
    generator = network_of_config(Generator, GeneratorConfig, metadata["generator"], own, path)
    if not judging:
        return generator, None, CROP_SIZE
    critic = network_of_config(Critic, CriticConfig, metadata.get("critic") or {}, judging, path)
    return generator, critic, critic.config.size


LEGAN = "legan-editor"
_MAKERS = {LEGAN: _legan_networks, "stargan": stargan_networks, "starganv2": starganv2_networks}


def check_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        ConfigError: it has not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{device}' is not available here: choose cpu, or cuda where there is a GPU") from error


def _rows(code: np.ndarray, n: int) -> Tensor:
    return torch.from_numpy(code).expand(n, -1)
