"""Evaluation sets: which images to edit, into what, the true edits, and the real images that distributions are compared with.

From a data set, pairs (source, target) are drawn by seed; from folders of results, images belong together by file name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from legan.core.conditions import STANDARD, Classes
from legan.core.errors import DataError
from legan.core.files import sha256_of
from legan.core.images import load_photo
from legan.core.inputs import Input, find_inputs, name_of
from legan.core.listing import composed, person_of, utf8_name
from legan.core.places import Place
from legan.data.faces import FaceDataset
from legan.data.manifest import DataFolder, contents_stamp

KINDS = ("lighting only", "expression only", "both")
MAX_REFERENCE = 5000  # real images that distributions are compared with
MIN_IMAGES = 16  # fewer have no distribution to speak of
ENOUGH_FOR_FID = 2000
_REFERENCE_SEED, _PAIR_SEED = 0, 1  # so that the two draws are independent


class Library(Protocol):
    """Images by number: `person` (N,) numbers of whom they show, `images(indices)` uint8 (B, S, S, 3)."""

    person: np.ndarray

    def images(self, indices: np.ndarray | Sequence[int]) -> np.ndarray: ...


@dataclass(frozen=True)
class EvaluationSet:
    """The n questions of an evaluation: each a source image and a target.

    Args:
        name: of the data, with its split.
        fingerprint: changes with anything that could change a result.
        library: the images that the numbers below name.
        source: (n,) images to edit.
        truth: (n,) the true edit; -1 where unknown.
        real: (at most n,) another real image for each source, of the same person where `real_is_same`, as far as there are any.
        reference: (m,) real images, none of them a source or in `real` (for folders without real images: the sources).
        target: (n, 2) expression and lighting to edit into; None for folders of results.
        names: (n,) of the sources, for people.
        attributes: name of an attribute -> its value for each question, for the breakdown.
        folder, split: of a data set, of this machine or at an address; None and "" for folders of results.
        classes: the expressions and lightings that `target` counts.
    """

    name: str
    fingerprint: str
    library: Library
    source: np.ndarray
    truth: np.ndarray
    real: np.ndarray
    reference: np.ndarray
    target: np.ndarray | None
    names: tuple[str, ...]
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    folder: DataFolder | None = None
    split: str = ""
    classes: Classes = STANDARD

    def __len__(self) -> int:
        return len(self.source)

    @property
    def real_is_same(self) -> np.ndarray:
        """(as `real`) whether the real image shows the person of the source."""
        return self.library.person[self.real] == self.library.person[self.source[: len(self.real)]]

    @property
    def has_own_reference(self) -> bool:
        """Whether the sources may be compared with the reference: none of them is in it."""
        return not np.isin(self.source, self.reference).any()


def from_data_set(folder: DataFolder, split: str, n: int, seed: int, classes: Classes = STANDARD) -> EvaluationSet:
    """Draw an evaluation set from a data set folder.

    Half of each person's images are the reference. Of the others, sources are drawn for the people in turn, and for each a
    target: another lighting, another expression, or both, one chance in three each, among the conditions that the split has. `classes`
    are those of the data.

    Raises:
        DataError: a folder that cannot be used, or too few images or conditions.
    """
    data = FaceDataset([folder], split, size=None, memory_gb=0, classes=classes)
    lit = data.lighting >= 0
    candidates = np.flatnonzero(lit) if lit.any() else np.arange(len(data))
    if min(len(candidates), n) < MIN_IMAGES:
        raise DataError(f"{folder} ({split}): {min(len(candidates), n)} images are too few, at least {MIN_IMAGES} are needed")
    reference = _every_second(data.person, candidates, np.random.default_rng([_REFERENCE_SEED, seed]))
    rest = np.setdiff1d(np.arange(len(data)), reference)
    pairs = [_draw(data, rest, np.intersect1d(rest, candidates), k, seed) for k in range(n)]
    source, expression, lighting, real = np.array(pairs, np.int64).T
    kind = (expression != data.expression[source]) + 2 * (lighting != data.lighting[source])  # 1, 2 or 3
    truth = np.where(data.has_pair[source], data.truth[data.take[source], expression, lighting], -1)
    names = tuple(str(data.rows[i]["key"] or data.rows[i]["path"]) for i in source)
    attributes = {
        "edit": np.array(["", KINDS[1], KINDS[0], KINDS[2]])[kind],
        "expression": np.array(classes.expressions)[expression],
        "lighting": np.array(classes.lighting_names)[lighting],
    }
    own = classes.as_words().values()
    print_ = _digest(contents_stamp(folder, (row["path"] for row in data.rows)), split, n, seed, *own)
    target = np.stack([expression, lighting], 1)
    name = f"{utf8_name(folder.resolve().name)}/{split}"
    return EvaluationSet(name, print_, data, source, truth, real, reference, target, names, attributes, folder, split, classes)


def _every_second(person: np.ndarray, candidates: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half of each person's candidates, by chance; at most `MAX_REFERENCE` in all."""
    shuffled = random.permutation(candidates)
    half = shuffled[np.argsort(person[shuffled], kind="stable")][::2]
    return np.sort(random.permutation(half)[:MAX_REFERENCE])


def _draw(data: FaceDataset, rest: np.ndarray, real: np.ndarray, k: int, seed: int) -> tuple[int, int, int, int]:
    """Source, target expression and lighting, and another real image of question k; the same whatever n is."""
    random = np.random.default_rng([_PAIR_SEED, seed, k])
    people = np.random.default_rng([_PAIR_SEED, seed]).permutation(np.unique(data.person[rest]))
    own = rest[data.person[rest] == people[k % len(people)]]
    source = int(random.choice(own))
    expression, lighting = _target(data, source, str(random.choice(KINDS)), random)
    others = real[real != source]
    of_person = others[data.person[others] == data.person[source]]
    if not len(others):
        raise DataError("the split has one image alone: give more")
    return source, expression, lighting, int(random.choice(of_person if len(of_person) else others))


def _target(data: FaceDataset, source: int, kind: str, random: np.random.Generator) -> tuple[int, int]:
    lit = data.lighting >= 0
    known = np.unique(np.stack([data.expression[lit], data.lighting[lit]], 1), axis=0)
    if not len(known):  # photos under their own light: any target
        known = np.argwhere(np.ones((len(data.classes.expressions), len(data.classes.lightings))))
    moves, shines = known[:, 0] != data.expression[source], known[:, 1] != data.lighting[source]
    wanted = {"lighting only": ~moves & shines, "expression only": moves & ~shines, "both": moves & shines}[kind]
    choices = known[wanted] if wanted.any() else known[moves | shines]
    if not len(choices):
        raise DataError("all images of the split have one expression and lighting: nothing to edit into")
    expression, lighting = random.choice(choices)
    return int(expression), int(lighting)


class Folders:
    """Images of several folders, numbered in the order given; all must have one size and be square.

    Args:
        paths: the files.
        person: (N,) numbers.
    """

    def __init__(self, paths: Sequence[Path | Place], person: np.ndarray) -> None:
        self.paths, self.person = list(paths), person
        self.size = read_image(self.paths[0]).shape[0]

    def images(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return images, uint8 (B, S, S, 3).

        Raises:
            DataError: images of another size.
            ImageError: a file that cannot be read.
        """
        return np.stack([read_image(self.paths[int(i)], self.size) for i in indices])


def from_folders(inputs: str | Path, truth: str | Path | None, real: str | Path | None, n: int, seed: int) -> EvaluationSet:
    """Return the evaluation set of a folder of input images, of which there are results already.

    Each folder may also be a tar shard, a Parquet manifest or an address, as for `legan.core.inputs.find_inputs`.

    Args:
        inputs: images; those in one subfolder show one person, those directly in the folder are each a person's only one.
        truth: the true edits, under the inputs' names; not every input needs one.
        real: real images to compare distributions with; without them the inputs serve.
        n: at most so many inputs, chosen by seed.

    Raises:
        DataError, ImageError: too few images, or folders that hold none.
    """
    found = list(by_name(inputs).items())
    chosen = sorted(np.random.default_rng([_PAIR_SEED, seed]).permutation(len(found))[:n])
    names, sources = [found[i][0] for i in chosen], [found[i][1] for i in chosen]
    if len(sources) < MIN_IMAGES:
        raise DataError(f"{inputs}: {len(sources)} images are too few, at least {MIN_IMAGES} are needed")
    truths = by_name(truth) if truth is not None else {}
    reals = list(find_inputs([real])) if real is not None else []
    if real is not None and len(reals) < MIN_IMAGES:
        raise DataError(f"{real}: {len(reals)} real images are too few, at least {MIN_IMAGES} are needed")
    true_images = [truths.get(name) for name in names]
    known = [image.place for image in true_images if image is not None]
    if truth is not None and not known:
        raise DataError(f"no image of {truth} has the name of one of {inputs}: true edits bear their inputs' names")
    paths = [*(image.place for image in sources), *known, *(image.place for image in reals)]
    people = [*map(_person, sources), *map(str, known), *map(_person, reals)]
    person = np.unique(people, return_inverse=True)[1]
    place = iter(range(len(sources), len(sources) + len(known)))
    true_places = np.array([-1 if image is None else next(place) for image in true_images])
    others = np.arange(len(sources) + len(known), len(paths))
    spare = np.zeros(0, np.int64)
    if len(reals):
        half = _every_second(person, others, np.random.default_rng([_REFERENCE_SEED, seed]))
        spare, others = np.setdiff1d(others, half)[: len(sources)], half
    print_ = _digest(
        "folders",
        n,
        seed,
        *(f"{who} {utf8_name(path.name)} {sha256_of(path)}" for who, path in zip(person, paths, strict=True)),
    )
    numbers = np.arange(len(sources))
    library = Folders(paths, person)
    reference = others if len(reals) else numbers
    return EvaluationSet(name_of(inputs), print_, library, numbers, true_places, spare, reference, None, tuple(names))


def read_image(path: Path | Place, size: int | None = None) -> np.ndarray:
    """Read an aligned crop, uint8 (S, S, 3).

    Raises:
        DataError: not square, or not `size` pixels a side.
        ImageError: a file that cannot be read.
    """
    array = np.asarray(load_photo(path).image)
    height, width = array.shape[:2]
    if height != width:
        raise DataError(f"{path} is {width}x{height} pixels: aligned crops are square, run `legan import` on the photos first")
    if size not in (None, height):
        raise DataError(f"{path} is {width}x{height} pixels and others are {size}x{size}: bring all images to one size")
    return array


def by_name(folder: str | Path) -> dict[str, Input]:
    """The images of a folder by their names in it, composed and without the ending, so that a PNG may answer a JPEG.

    Raises:
        DataError: two images have one name.
    """
    found: dict[str, Input] = {}
    for image in find_inputs([folder]):
        name = composed(utf8_name(str(PurePosixPath(image.inside).with_suffix(""))))
        if (other := found.setdefault(name, image)).place != image.place:
            raise DataError(f"{other.place} and {image.place} have the same name: keep one of them")
    return found


def _person(image: Input) -> str:
    return person_of(Path(image.inside), Path())


def _digest(*facts: object) -> str:
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()
