"""Reference images for training: beside each source two images of its target condition, as StarGAN v2 asks (CVPR 2020, section 2)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import DataError
from legan.core.images import to_network
from legan.data.loaders import FaceBatches
from legan.data.transforms import MIRRORED, apply_tones, draw_tones, flip_images

REFERENCES = ("x_ref", "x_ref2")


class ReferenceBatches:
    """The batches of `FaceBatches`, the same sources and targets, with two references for each row, `x_ref` and `x_ref2`.

    A reference is any image of the data under the row's target, of whomever. Where the data holds none, the row gets another
    target, drawn from those that it holds; so `x_true` says nothing here and is left out, with what belongs to it.

    Args:
        batches: the batches to add to.
        by_expression, by_lighting: what the references share with the target; one of the two may be left out.

    Raises:
        DataError: no image is under a condition.
    """

    def __init__(self, batches: FaceBatches, by_expression: bool = True, by_lighting: bool = True) -> None:
        self.batches, self.batch_size = batches, batches.batch_size
        data = batches.dataset
        expression = data.expression if by_expression else np.zeros_like(data.expression)
        lighting = data.lighting if by_lighting else np.zeros_like(data.lighting)
        self._shared = by_expression, by_lighting
        # Images under each condition (expression, lighting), 0 where it is not shared; none of those without a lighting.
        order = np.flatnonzero(lighting >= 0)
        keys = expression[order] * len(LIGHTINGS) + lighting[order]
        order, keys = order[keys.argsort(kind="stable")], np.sort(keys)
        if not len(order):
            raise DataError(
                "no image of the data is under one of the lightings: set network.domains=expression, or add a relit or rendered set"
            )
        self._held, starts = np.unique(keys, return_index=True)
        self._members = dict(zip(self._held.tolist(), np.split(order, starts[1:]), strict=True))

    def __call__(self, step: int, rank: int, n_ranks: int) -> Mapping[str, Tensor]:
        """Return the share of process `rank` of the batch of `step`."""
        batch = self.batches(step, rank, n_ranks)
        rng = np.random.default_rng([self.batches.seed, rank, step, 1])  # its own: sources stay as they are
        expression, lighting = (batch[f"{name}_trg"].argmax(1).numpy() for name in ("expression", "lighting"))
        expression, lighting = self._replaced(rng, expression, lighting)
        references = {name: self._draw(rng, expression, lighting) for name in REFERENCES}
        targets = {
            "expression_trg": F.one_hot(torch.from_numpy(expression), len(EXPRESSIONS)).float(),
            "lighting_trg": F.one_hot(torch.from_numpy(lighting), len(LIGHTINGS)).float(),
        }
        kept = {name: batch[name] for name in ("x_real", "expression_src", "lighting_src")}
        return {**kept, **targets, **references}

    def _replaced(
        self, rng: np.random.Generator, expression: np.ndarray, lighting: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Targets of which the data holds no image give way to others."""
        by_expression, by_lighting = self._shared
        is_held = np.isin(self._keys(expression, lighting), self._held)
        others = np.divmod(rng.choice(self._held, len(expression)), len(LIGHTINGS))
        expression = np.where(is_held | ~np.bool_(by_expression), expression, others[0])
        return expression, np.where(is_held | ~np.bool_(by_lighting), lighting, others[1])

    def _draw(self, rng: np.random.Generator, expression: np.ndarray, lighting: np.ndarray) -> Tensor:
        """One image of each target, tones and sides drawn as for the sources."""
        config, n = self.batches.config, len(expression)
        flipped = (rng.random(n) < 0.5) & config.flip
        # Flipped, the light comes from the other side: the image is taken from the mirror class.
        mirrored = np.where(flipped, MIRRORED[lighting], lighting)
        is_held = np.isin(self._keys(expression, mirrored), self._held)
        flipped, mirrored = flipped & is_held, np.where(is_held, mirrored, lighting)
        chosen = np.array([rng.choice(self._members[key]) for key in self._keys(expression, mirrored).tolist()])
        images = apply_tones(self.batches.dataset.images(chosen), draw_tones(rng, n, config.tone))
        return to_network(flip_images(images, flipped))

    def _keys(self, expression: np.ndarray, lighting: np.ndarray) -> np.ndarray:
        by_expression, by_lighting = self._shared
        return expression * by_expression * len(LIGHTINGS) + lighting * by_lighting
