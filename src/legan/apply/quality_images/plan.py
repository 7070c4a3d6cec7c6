"""The plan of a set of images to rate: which pictures, from which faces, with which fault. A pure function of catalogue and seed.

Clean pictures come first: every faulty one is made so that its clean counterpart is among them, where one exists. A person keeps
the split that the source folder gives; a quarter of each kind's settings is seen in the split `test` alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from legan.apply.quality_images.drawing import Drawing
from legan.apply.quality_images.kinds import KINDS
from legan.apply.quality_images.pictures import FAKES, SHARES, Picture
from legan.core.errors import ConfigError, DataError, no_such
from legan.synthesis.degradations import DEGRADATIONS, STRENGTHS

LADDER_SHARE = 0.20  # of clean test pictures under every degradation at all strengths
MIN_PICTURES = 100


def draw_plan(drawing: Drawing, n: int, kinds: Sequence[str] = FAKES) -> list[list[Picture]]:
    """Return `n` pictures: lists of a picture and its degraded versions.

    Args:
        drawing: the faces, and nothing drawn yet.
        n: pictures in all.
        kinds: of fakes; clean and degraded pictures are always there.

    Raises:
        ConfigError: an unknown kind, or too few pictures.
        DataError: the folders cannot give any picture of a kind.
    """
    unknown = [kind for kind in kinds if kind not in FAKES]
    if unknown:
        raise ConfigError(no_such("kind", unknown[0], FAKES))
    if n < MIN_PICTURES:
        raise ConfigError(f"a set of {n} images is too small for all kinds and strengths: ask for at least {MIN_PICTURES}")
    counts = {kind: round(n * share) for kind, share in SHARES.items() if kind in ("photo", "render", *kinds)}
    bases: list[Picture] = []
    for kind, count in counts.items():
        made = KINDS[kind](drawing, count, np.random.default_rng([drawing.seed, list(SHARES).index(kind)]))
        if kind in kinds and not made:
            raise DataError(
                f"these folders cannot give pictures of the kind '{kind}': add people, or leave it out with --kinds"
            )
        bases += made[:count]
    return _with_degraded(bases, n, drawing.seed)


def _with_degraded(bases: list[Picture], n: int, seed_of_set: int) -> list[list[Picture]]:
    """Each base with its degraded versions: ladders of clean test pictures, single strengths of others."""
    random = np.random.default_rng([seed_of_set, len(SHARES)])
    groups = {base.name: [base] for base in bases}
    clean = [base for base in bases if base.fault == 0 and base.facts["split"] == "test"]
    n_steps = max(1, round(n * LADDER_SHARE / len(DEGRADATIONS) / len(STRENGTHS)))
    for name in DEGRADATIONS:
        for index in random.permutation(len(clean))[:n_steps]:
            base = clean[index]
            seed = int(random.integers(2**31))
            groups[base.name] += [_degraded(base, name, strength, seed) for strength in STRENGTHS]
    left = n - sum(map(len, groups.values()))
    others = [base for base in bases if base.fault > 0 or base.facts["split"] != "test"]
    while left > 0 and others:
        for index in random.permutation(len(others))[:left]:
            base = others[index]
            name, strength = str(random.choice(list(DEGRADATIONS))), float(random.choice(STRENGTHS))
            made = _degraded(base, name, strength, int(random.integers(2**31)))
            if all(other.name != made.name for other in groups[base.name]):
                groups[base.name].append(made)
                left -= 1
    return list(groups.values())


def _degraded(base: Picture, name: str, strength: float, seed: int) -> Picture:
    stem = base.name.removesuffix(".png")
    return replace(
        base,
        name=f"{stem}_{name}-{strength:.1f}.png",
        degradation=name,
        strength=strength,
        seed=seed,
        reference=base.reference or base.name,
    )
