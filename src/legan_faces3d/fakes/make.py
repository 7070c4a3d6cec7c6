"""The images of a plan: each kind's maker turns planned images into pixels. What is slow to load is loaded once a process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from legan.core.conditions import LIGHTING_NAMES, LIGHTINGS
from legan.core.errors import DataError
from legan.data.degradations import degrade
from legan_faces3d.fakes.eigenfaces import SAMPLES, FaceModel, morph, sample_face
from legan_faces3d.fakes.images import WARPS, Catalogue, PlannedImage
from legan_faces3d.fakes.light_faults import LightChange, relight_wrongly
from legan_faces3d.fakes.warps_and_swaps import SWAPS, swap_face, warp
from legan_faces3d.render.realism import GRADES

if TYPE_CHECKING:
    from legan.models.editors import Networks
    from legan_faces3d.render.renderer import Renderer


_SHAKE = 0.02  # standard deviation of misplaced landmarks, as a share of the side


@dataclass(frozen=True)
class BaseImage:
    """Pixels uint8 (size, size, 3) and landmarks (68, 2) of an image before its degradation."""

    image: np.ndarray
    points: np.ndarray


class Makers:
    """Makes images of all kinds.

    Args:
        catalogue: the faces.
        editors: setting -> weights file.
        model: of samples; None where none are made.
        set_seeds: for each folder the seed of its rendered set, None where it is none.
    """

    def __init__(
        self, catalogue: Catalogue, editors: Mapping[str, str], model: FaceModel | None, set_seeds: Sequence[int | None]
    ) -> None:
        self.catalogue, self.model, self.set_seeds = catalogue, model, set_seeds
        self._editor = lru_cache(maxsize=2)(lambda setting: _load_editor(editors[setting]))
        self._renderer: Renderer | None = None

    def make(self, groups: Sequence[Sequence[PlannedImage]]) -> Iterator[tuple[PlannedImage, np.ndarray]]:
        """Yield each image with its pixels; every group is an image and its degraded versions, all groups of one kind."""
        bases = [group[0] for group in groups]
        for group, made in zip(groups, self._by_kind[bases[0].kind](self, bases), strict=True):
            for image in group:
                if image.degradation == "none":
                    yield image, made.image
                else:
                    yield image, degrade(image.degradation, made.image, made.points, image.strength, image.seed)

    def _clean(self, images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        for image in images:
            yield BaseImage(self.catalogue.image(image.sources[0]), self.catalogue.points(image.sources[0]))

    def _graded(self, images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        """One rendering serves all lightings of a person, an expression and a grade."""
        found: dict[str, np.ndarray] = {}
        calls: dict[tuple[int, str, str], list[PlannedImage]] = {}
        for planned in images:
            row = self.catalogue.rows[planned.sources[0]]
            calls.setdefault((self._person_seed(row), row["expression"], planned.setting), []).append(planned)
        for (seed, expression, _), group in calls.items():
            realism, _ = GRADES[_name(group[0])]
            lightings = [LIGHTINGS[LIGHTING_NAMES.index(planned.facts["lighting"])] for planned in group]
            rendering = self._get_renderer().render(seed, expression, realism=realism, lightings=lightings)
            found |= {planned.name: image for planned, image in zip(group, rendering.images, strict=True)}
        for planned in images:
            yield BaseImage(found[planned.name], self.catalogue.points(planned.sources[0]))

    def _person_seed(self, row: Mapping[str, object]) -> int:
        from legan_faces3d.render.dataset import identity_seed

        folder, identity = row["folder"], str(row["identity"])
        seed = self.set_seeds[folder] if isinstance(folder, int) else None
        if seed is None or not identity[1:].isdecimal():
            raise DataError(
                f"{identity} is not of a set that this version rendered: name such a set with --renders, or leave 'graded' out of --kinds"
            )
        return identity_seed(seed, int(identity[1:]))

    def _get_renderer(self) -> "Renderer":
        if self._renderer is None:
            from legan_faces3d.render.renderer import Renderer

            self._renderer = Renderer()
        return self._renderer

    def _relit(self, images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        for image in images:
            if len(image.sources) == 1:
                yield from self._clean([image])
                continue
            before, after, other_before, other_after = map(self.catalogue.image, image.sources)
            points = self.catalogue.points(image.sources[0])
            change = LightChange(before, after, other_before, other_after, points)
            yield BaseImage(relight_wrongly(change, _name(image), _random(image)), points)

    def _warps(self, images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        for planned in images:
            method, gain, _ = WARPS[_name(planned)]
            start, from_points, to_points = planned.sources
            image, points = self.catalogue.image(start), self.catalogue.points(start)
            goal = points + gain * (self.catalogue.points(to_points) - self.catalogue.points(from_points))
            if planned.setting.endswith("-shaky"):
                goal = goal + _SHAKE * image.shape[0] * _random(planned).standard_normal(goal.shape)
            yield BaseImage(warp(image, points, goal, method), goal)

    def _swaps(self, images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        for image in images:
            host, donor = image.sources
            points = self.catalogue.points(host)
            faces = self.catalogue.image(host), points, self.catalogue.image(donor), self.catalogue.points(donor)
            yield BaseImage(swap_face(*faces, SWAPS[_name(image)][0], _random(image)), points)

    def _edits(self, planned_images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        import torch

        from legan.core.conditions import expression_code, lighting_code
        from legan.core.images import from_network, to_network
        from legan.models.editors import Codes

        images: dict[str, np.ndarray] = {}
        for setting in dict.fromkeys(map(_name, planned_images)):
            chosen = [planned for planned in planned_images if _name(planned) == setting]
            x = to_network(np.stack([self.catalogue.image(planned.sources[0]) for planned in chosen]))
            expressions = np.stack([expression_code(planned.facts["expression"]) for planned in chosen])
            lightings = np.stack([lighting_code(planned.facts["lighting"]) for planned in chosen])
            codes = Codes(torch.from_numpy(expressions), torch.from_numpy(lightings))
            edited = from_network(self._editor(setting).translate(x, codes).image)
            images |= {planned.name: image for planned, image in zip(chosen, edited, strict=True)}
        for planned in planned_images:
            yield BaseImage(images[planned.name], self.catalogue.points(planned.sources[0]))

    def _samples(self, planned_images: Sequence[PlannedImage]) -> Iterator[BaseImage]:
        assert self.model is not None, "samples are planned only where a model was made"
        for image in planned_images:
            recipe, random = SAMPLES[_name(image)][0], _random(image)
            points = self.model.mean_points.reshape(-1, 2)
            if recipe.n_faces:
                images = np.stack([self.catalogue.image(row) for row in image.sources])
                own = np.stack([self.catalogue.points(row) for row in image.sources])
                weights = random.dirichlet(np.full(recipe.n_faces, 20.0))
                yield BaseImage(morph(images, own, weights), np.einsum("k,kij->ij", weights, own))
            else:
                yield BaseImage(sample_face(self.model, random, recipe.temperature, recipe.n_texture, recipe.bend), points)

    _by_kind: ClassVar[dict[str, Callable[["Makers", Sequence[PlannedImage]], Iterator[BaseImage]]]] = {
        "photo": _clean, "render": _clean, "graded": _graded, "relit": _relit,
        "warp": _warps, "swap": _swaps, "edit": _edits, "sample": _samples,
    }  # fmt: skip


def _load_editor(path: str) -> "Networks":
    from legan.models.editors import load_networks

    editor = load_networks(Path(path))
    editor.classes.check_standard("`legan synthesize`")
    return editor


def _name(image: PlannedImage) -> str:
    """The setting without its kind."""
    return image.setting.split("/", 1)[1]


def _random(image: PlannedImage) -> np.random.Generator:
    return np.random.default_rng(image.seed)
