"""The networks of an editor: a generator and, where it was exported with one, its critic, read from one weights file.

Tensors named `generator.*` and `critic.*`; metadata holds their configs under `generator` and `critic`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.conditions import expression_code, lighting_code
from legan.core.config import dict_to_config
from legan.core.crop import CROP_SIZE
from legan.core.errors import ConditionError, ConfigError, WeightsError
from legan.core.files import sha256_of
from legan.core.weights import load_weights, packaged
from legan.models.critic import Critic, CriticConfig
from legan.models.generator import Generator, GeneratorConfig, GeneratorOutput

ExpressionSpec = str | Mapping[str, float]
LightingSpec = str | float | Sequence[float]
T = TypeVar("T", bound=nn.Module)


@dataclass(frozen=True)
class Codes:
    """Conditions of a batch: `expression` (B, 6) and `lighting` (B, 20), each row non-negative and summing to 1."""

    expression: Tensor
    lighting: Tensor


class Networks:
    """The editor's networks in evaluation mode.

    Args:
        generator, critic: the networks; without a critic, a face's own expression and lighting are unknown.
        metadata: what the weights file says about itself: config, data, steps, licence.
        checksum: SHA-256 of the weights file.
        device: where the networks run.
    """

    def __init__(
        self, generator: Generator, critic: Critic | None, metadata: Mapping[str, Any], checksum: str, device: str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.generator = generator.eval().requires_grad_(False).to(self.device)
        self.critic = critic.eval().requires_grad_(False).to(self.device) if critic is not None else None
        self.metadata = dict(metadata)
        self.checksum = checksum
        self.size = critic.config.size if critic is not None else CROP_SIZE

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
        outputs = [self.critic(part.to(self.device)) for part in x.split(64)]
        expression = torch.cat([o.expression for o in outputs]).float().softmax(1)
        lighting = torch.cat([o.lighting for o in outputs]).float().softmax(1)
        return Codes(expression.cpu(), lighting.cpu())

    def target_codes(self, x: Tensor, expression: ExpressionSpec | None, lighting: LightingSpec | None) -> Codes:
        """Return the codes to edit crops `x` to; None keeps the face's own, as the critic sees it.

        Raises:
            ConditionError: an unknown name, a value out of range, or None without a critic.
        """
        # The named ones first: a wrong name is told before anything is computed.
        named_expression = _rows(expression_code(expression), len(x)) if expression is not None else None
        named_lighting = _rows(lighting_code(lighting), len(x)) if lighting is not None else None
        if named_expression is not None and named_lighting is not None:
            return Codes(named_expression, named_lighting)
        own = self.own_codes(x)
        return Codes(
            own.expression if named_expression is None else named_expression,
            own.lighting if named_lighting is None else named_lighting,
        )

    @torch.inference_mode()
    def translate(self, x: Tensor, codes: Codes, batch_size: int = 16) -> GeneratorOutput:
        """Run the generator on crops `x` (B, 3, S, S) in [-1, 1], `batch_size` at a time; the outputs are on the CPU."""
        parts = []
        for rows in torch.arange(len(x)).split(batch_size):
            inputs = (t[rows].to(self.device) for t in (x, codes.expression, codes.lighting))
            parts.append(self.generator(*inputs))
        image, expression_mask, lighting_mask = (torch.cat([p[i].float().cpu() for p in parts]) for i in range(3))
        moved = [p.displacement.cpu() for p in parts if p.displacement is not None]
        return GeneratorOutput(image, expression_mask, lighting_mask, torch.cat(moved) if moved else None)


def load_networks(weights: str | Path | None = None, device: str = "cpu") -> Networks:
    """Read an editor's weights file; None is the one that comes with the package.

    Raises:
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have.
    """
    path = Path(weights) if weights is not None else packaged("editor")
    check_device(device)
    tensors, metadata = load_weights(path)
    if not any(name.startswith("generator.") for name in tensors) or "generator" not in metadata:
        raise WeightsError(f"{path} holds no editor: give a file that `legan export` wrote")
    generator = _filled(Generator(dict_to_config(GeneratorConfig, metadata["generator"])), tensors, "generator.", path)
    critic = None
    if any(name.startswith("critic.") for name in tensors):
        critic = _filled(Critic(dict_to_config(CriticConfig, metadata.get("critic", {}))), tensors, "critic.", path)
    return Networks(generator, critic, metadata, sha256_of(path), device)


def _filled(network: T, tensors: Mapping[str, Tensor], prefix: str, path: Path) -> T:
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"the tensors of {path} do not fit its config ({reason}): export the weights again") from error
    return network


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
