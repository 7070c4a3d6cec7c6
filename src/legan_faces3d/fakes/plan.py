"""The plan of `legan synthesize`: which fakes of which kind, drawn from which images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from legan.core.errors import ConfigError, DataError, no_such
from legan.data.degradations import DEGRADATIONS, STRENGTHS
from legan.data.manifest import SPLITS
from legan_faces3d.fakes.eigenfaces import SAMPLES
from legan_faces3d.fakes.images import (
    FAKES,
    GENERATED,
    RIGHT,
    SHARES,
    Catalogue,
    EditorFile,
    PlannedImage,
    held_out,
    settings_of_kinds,
)

# The plan of a set of images to rate: which images, from which faces, with which fault. A pure function of catalogue and seed.
#
# Clean images come first: every faulty one is made so that its clean counterpart is among them, where one exists. A person keeps
# the split that the source folder gives; a quarter of each kind's settings is seen in the split `test` alone.


LADDER_SHARE = 0.20  # of clean test images under every degradation at all strengths
MIN_IMAGES = 100


def draw_plan(drawing: Drawing, n: int, kinds: Sequence[str] = FAKES) -> list[list[PlannedImage]]:
    """Return `n` images: lists of an image and its degraded versions.

    Args:
        drawing: the faces, and nothing drawn yet.
        n: images in all.
        kinds: of fakes; clean and degraded images are always there.

    Raises:
        ConfigError: an unknown kind, or too few images.
        DataError: the folders cannot give any image of a kind.
    """
    unknown = [kind for kind in kinds if kind not in FAKES]
    if unknown:
        raise ConfigError(no_such("kind", unknown[0], FAKES))
    if n < MIN_IMAGES:
        raise ConfigError(f"a set of {n} images is too small for all kinds and strengths: ask for at least {MIN_IMAGES}")
    # Clean kinds first, then the fakes asked for, each from a random stream of its own.
    counts = {kind: round(n * share) for kind, share in SHARES.items() if kind in ("photo", "render", *kinds)}
    bases: list[PlannedImage] = []
    for kind, count in counts.items():
        made = KINDS[kind](drawing, count, np.random.default_rng([drawing.seed, list(SHARES).index(kind)]))
        if kind in kinds and not made:
            raise DataError(f"these folders cannot give images of the kind '{kind}': add people, or leave it out with --kinds")
        bases += made[:count]
    return _with_degraded(bases, n, drawing.seed)


def _with_degraded(bases: list[PlannedImage], n: int, seed_of_set: int) -> list[list[PlannedImage]]:
    """Each base with its degraded versions: ladders of clean test images, single strengths of others."""
    random = np.random.default_rng([seed_of_set, len(SHARES)])
    groups = {base.name: [base] for base in bases}
    # Ladders: some clean test images under each degradation at all strengths.
    clean = [base for base in bases if base.fault == 0 and base.facts["split"] == "test"]
    n_steps = max(1, round(n * LADDER_SHARE / len(DEGRADATIONS) / len(STRENGTHS)))
    for name in DEGRADATIONS:
        for index in random.permutation(len(clean))[:n_steps]:
            base = clean[index]
            seed = int(random.integers(2**31))
            groups[base.name] += [_degraded(base, name, strength, seed) for strength in STRENGTHS]
    # The rest: single degradations of the other images, none twice.
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


def _degraded(base: PlannedImage, name: str, strength: float, seed: int) -> PlannedImage:
    stem = base.name.removesuffix(".png")
    return replace(
        base,
        name=f"{stem}_{name}-{strength:.1f}.png",
        degradation=name,
        strength=strength,
        seed=seed,
        reference=base.reference or base.name,
    )


# What drawing images of any kind needs: the faces, the clean images so far, and fair draws of splits and settings.


SPLIT_SHARES = (0.68, 0.10, 0.22)  # of train, val and test


class Drawing:
    """The state of one plan.

    Attributes: `clean` row -> name of the clean images drawn so far; `people` rows of each person, by split; `held_out` settings
    of each kind that the split `test` alone shows.

    Args:
        catalogue: the faces.
        editors: for the kind `edit`.
        seed: of all draws.
    """

    def __init__(self, catalogue: Catalogue, editors: Sequence[EditorFile], seed: int) -> None:
        self.catalogue, self.seed = catalogue, seed
        self.settings = settings_of_kinds(editors)
        self.held_out = {kind: held_out(list(found), seed, kind) for kind, found in self.settings.items()}
        self.clean: dict[int, str] = {}
        self._count: dict[str, int] = {}
        by_split: dict[str, dict[tuple[int, str], list[int]]] = {split: {} for split in SPLITS}
        for number, row in enumerate(catalogue.rows):
            by_split[row["split"]].setdefault((row["folder"], row["identity"]), []).append(number)
        self.people = {split: list(people.values()) for split, people in by_split.items()}
        self._person_takes: dict[tuple[object, object], list[tuple[tuple[int, str, str], dict[str, int]]]] = {}
        for key, take in catalogue.takes.items():
            self._person_takes.setdefault(key[:2], []).append((key, take))

    def image(
        self, kind: str, setting: str, sources: Sequence[int], facts: Mapping[str, str], reference: str = ""
    ) -> PlannedImage:
        number = self._count[kind] = self._count.get(kind, -1) + 1
        seed = int(np.random.SeedSequence([self.seed, list(SHARES).index(kind), number]).generate_state(1)[0])
        fault = self.settings[kind][setting] if kind in self.settings else 0.0
        full = f"{kind}/{setting}"
        return PlannedImage(f"{kind}-{number:06d}.png", kind, full, fault, tuple(map(int, sources)), seed, facts, reference)

    def add_clean(self, row: int, kind: str) -> PlannedImage:
        made = self.image(kind, RIGHT if kind == "relit" else "clean", [row], self.catalogue.facts(row))
        self.clean[row] = made.name
        return made

    def by_split(self, groups: list[list[int]], random: np.random.Generator) -> list[list[int]]:
        """Groups in an order such that any first part has about the splits' shares; drawn from the end."""
        place = {split: 0 for split in SPLITS}
        keyed = []
        for index in random.permutation(len(groups)):
            split = self.catalogue.rows[groups[index][0]]["split"]
            place[split] += 1
            keyed.append((place[split] / SPLIT_SHARES[SPLITS.index(split)], int(index)))
        return [groups[index] for _, index in sorted(keyed, reverse=True)]

    def settings_for(self, kind: str, split: str, random: np.random.Generator, n: int = 1) -> list[str]:
        """Settings that a split may show, in random order; in the test, held-out ones are as likely as others."""
        allowed = [name for name in self.settings[kind] if split == "test" or name not in self.held_out[kind]]
        allowed = [name for name in allowed if name != RIGHT]
        return [allowed[i] for i in random.permutation(len(allowed))[:n]]

    def other_takes(self, row: int) -> list[dict[str, int]]:
        """The same expression of others in the folder and split."""
        own = self.catalogue.rows[row]
        return [
            take
            for (folder, identity, expression), take in self.catalogue.takes.items()
            if folder == own["folder"] and expression == own["expression"] and identity != own["identity"]
            and self.catalogue.rows[next(iter(take.values()))]["split"] == own["split"]
        ]  # fmt: skip

    def clean_of(self, domains: Sequence[str]) -> list[int]:
        return [row for row in self.clean if self.catalogue.rows[row]["domain"] in domains]

    def drawn(self, rows: Sequence[int], n: int, random: np.random.Generator) -> list[int]:
        """`n` rows in the splits' shares, half of a split from photos where it has some, each row again only when all were drawn."""
        drawn: list[int] = []
        found = [split for split in SPLITS if any(self.catalogue.rows[row]["split"] == split for row in rows)]
        for split, count in zip(found, shared(n, found), strict=True):
            pools = [
                [row for row in rows if self.catalogue.rows[row]["split"] == split and self.is_render(row) == is_render]
                for is_render in (False, True)
            ]
            pools = [pool for pool in pools if pool]
            for index, pool in enumerate(pools):
                share = count // len(pools) + (index < count % len(pools))
                order = [random.permutation(pool) for _ in range(-(-share // len(pool)))]
                drawn += [int(row) for row in np.concatenate(order)[:share]] if order else []
        return drawn

    def is_render(self, row: int) -> bool:
        return self.catalogue.rows[row]["domain"] == "render"

    def expressions(self, row: Mapping[str, str | int], lighting: str) -> dict[str, int]:
        """The same person under one lighting: expression -> row."""
        return {
            expression: take[lighting]
            for (folder, identity, expression), take in self.takes_of(row["folder"], row["identity"])
            if lighting in take
        }

    def takes_of(self, folder: object, identity: object) -> list[tuple[tuple[int, str, str], dict[str, int]]]:
        return self._person_takes.get((folder, identity), [])


def shared(n: int, splits: Sequence[str]) -> list[int]:
    """`n` in the shares of these splits."""
    shares = np.array([SPLIT_SHARES[SPLITS.index(split)] for split in splits])
    ends = np.round(n * np.cumsum(shares) / max(shares.sum(), 1e-9)).astype(int)
    return np.diff(ends, prepend=0).tolist()


# The draws of each kind: which faces, which setting, which clean counterpart.


_TAKE = 5  # lightings of one rendered person and expression
_GRADES_OF_TAKE = 3


def _photos(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    rows = [i for i, row in enumerate(drawing.catalogue.rows) if row["domain"] == "photo"]
    return [drawing.add_clean(int(row), "photo") for row in random.permutation(rows)[:n]]


def _renders(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    return _takes(drawing, n, random, "render", "render")


def _takes(drawing: Drawing, n: int, random: np.random.Generator, domain: str, kind: str) -> list[PlannedImage]:
    """Clean images of some lightings of as many takes, in each split its share."""
    made: list[PlannedImage] = []
    by_split: dict[str, list[dict[str, int]]] = {split: [] for split in SPLITS}
    for take in drawing.catalogue.takes.values():
        row = drawing.catalogue.rows[next(iter(take.values()))]
        if row["domain"] == domain:
            by_split[row["split"]].append(take)
    found = [split for split in SPLITS if by_split[split]]
    for split, count in zip(found, shared(n, found), strict=True):
        takes = by_split[split]
        order = random.permutation(len(takes))
        for place in range(-(-count // _TAKE)):
            free = [row for row in takes[order[place % len(takes)]].values() if row not in drawing.clean]
            chosen = random.permutation(free)[: min(_TAKE, count - place * _TAKE)]
            made += [drawing.add_clean(int(row), kind) for row in chosen]
    return made


def _graded(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    takes: dict[tuple[int, str, str], list[int]] = {}
    for row in drawing.clean_of(("render",)):
        entry = drawing.catalogue.rows[row]
        takes.setdefault((entry["folder"], entry["identity"], entry["expression"]), []).append(row)
    made: list[PlannedImage] = []
    choices = drawing.by_split(list(takes.values()), random)
    while choices and len(made) < n:
        rows, settings = choices.pop(), drawing.settings_for
        split = drawing.catalogue.rows[rows[0]]["split"]
        for setting in settings("graded", split, random, _GRADES_OF_TAKE):
            for row in rows:
                made.append(drawing.image("graded", setting, [row], drawing.catalogue.facts(row), drawing.clean[row]))
    return made


def _relit(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    made = _takes(drawing, round(0.4 * n), random, "relit", "relit")
    afters = drawing.clean_of(("render", "relit"))
    for after in drawing.drawn(afters, n - len(made), random):
        facts = drawing.catalogue.facts(after)
        others = [take for take in drawing.other_takes(after) if facts["lighting"] in take]
        befores = [light for light in drawing.catalogue.take(after) if light != facts["lighting"]]
        random.shuffle(befores)
        pairs = ((take, light) for light in befores for take in _shuffled(others, random)[:8] if light in take)
        pair = next(pairs, None)
        if pair is None:
            continue
        other, before = pair
        setting = drawing.settings_for("relit", facts["split"], random)[0]
        rows = [drawing.catalogue.take(after)[before], after, other[before], other[facts["lighting"]]]
        # Mirrored light may well be light from the other side: far from the counterpart, and not unnatural for that.
        reference = "" if setting == "mirrored" else drawing.clean[after]
        made.append(drawing.image("relit", setting, rows, {**facts, "domain": GENERATED}, reference))
    return made


def _warps(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    """Sources: the image to warp, and two images of one person whose landmarks say how. A render's own truth is one of them."""
    made = []
    for goal in drawing.drawn(list(drawing.clean), n, random):
        row, facts = drawing.catalogue.rows[goal], drawing.catalogue.facts(goal)
        setting = drawing.settings_for("warp", row["split"], random)[0]
        if row["domain"] == "render":
            starts = drawing.expressions(row, row["lighting"])
            starts.pop(row["expression"], None)
            if not starts:
                continue
            start = starts[random.choice(sorted(starts))]
            made.append(
                drawing.image("warp", setting, [start, start, goal], {**facts, "domain": GENERATED}, drawing.clean[goal])
            )
            continue
        pair = _expression_pair(drawing, row["split"], row["expression"] or "neutral", random)
        if pair:
            facts = {**facts, "domain": GENERATED, "expression": drawing.catalogue.rows[pair[1]]["expression"]}
            made.append(drawing.image("warp", setting, [goal, *pair], facts))
    return made


def _expression_pair(drawing: Drawing, split: str, start: str, random: np.random.Generator) -> list[int] | None:
    """Two rows of one person of the split: the expression `start`, and another."""
    for index in random.permutation(len(drawing.people[split])):
        person = drawing.people[split][index]
        first = [row for row in person if drawing.catalogue.rows[row]["expression"] == start]
        others = [row for row in person if drawing.catalogue.rows[row]["expression"] != start]
        if first and others:
            return [int(random.choice(first)), int(random.choice(others))]
    return None


def _swaps(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    """Sources: host and donor; mostly under the same light, as a careful forger would choose."""
    made = []
    for host in drawing.drawn(list(drawing.clean), n, random):
        facts = drawing.catalogue.facts(host)
        donor = _donor(drawing, host, random)
        if donor is not None:
            setting = drawing.settings_for("swap", facts["split"], random)[0]
            made.append(drawing.image("swap", setting, [host, donor], {**facts, "domain": GENERATED}))
    return made


def _donor(drawing: Drawing, host: int, random: np.random.Generator) -> int | None:
    own = drawing.catalogue.rows[host]
    alike = random.random() < 0.75
    people = drawing.people[own["split"]]
    for index in random.permutation(len(people)):
        rows = [drawing.catalogue.rows[row] for row in people[index]]
        if rows[0]["folder"] != own["folder"] or rows[0]["identity"] == own["identity"]:
            continue
        fitting = [
            row for row, entry in zip(people[index], rows, strict=True)
            if (entry["domain"] == "render") == (own["domain"] == "render")
            and (not alike or (entry["lighting"], entry["expression"]) == (own["lighting"], own["expression"]))
        ]  # fmt: skip
        if fitting:
            return int(random.choice(fitting))
    return None


def _edits(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    """Sources: the image to edit. Facts name the conditions to edit to; a goal in the set is the truth where poses are equal."""
    made = []
    for goal in drawing.drawn(drawing.clean_of(("render", "relit")), n, random):
        row, facts = drawing.catalogue.rows[goal], drawing.catalogue.facts(goal)
        takes = drawing.takes_of(row["folder"], row["identity"])
        if row["domain"] != "render":  # two photos of a person differ in pose
            takes = [(key, take) for key, take in takes if key[2] == row["expression"]]
        sources = [other for _, take in takes for other in take.values() if other != goal]
        if not sources:
            continue
        setting = drawing.settings_for("edit", row["split"], random)[0]
        source = int(random.choice(sources))
        made.append(drawing.image("edit", setting, [source], {**facts, "domain": GENERATED}, drawing.clean[goal]))
    return made


def _samples(drawing: Drawing, n: int, random: np.random.Generator) -> list[PlannedImage]:
    """Sources: the faces of a morph, from its split; none for the model's own."""
    made: list[PlannedImage] = []
    licences = ", ".join(sorted({row["licence"] for row in drawing.catalogue.rows}))
    for place in range(n):
        split = str(random.choice(SPLITS, p=SPLIT_SHARES))
        setting = drawing.settings_for("sample", split, random)[0]
        n_faces = SAMPLES[setting][0].n_faces
        sources = _morphed(drawing, split, n_faces, random)
        if n_faces and len(sources) < n_faces:
            continue
        facts = {
            "identity": f"s{place:06d}", "expression": "", "lighting": "", "domain": GENERATED, "split": split,
            "source": "legan synthesize, samples", "licence": licences,
        }  # fmt: skip
        made.append(drawing.image("sample", setting, sources, facts))
    return made


def _morphed(drawing: Drawing, split: str, n_faces: int, random: np.random.Generator) -> list[int]:
    """One image of each of `n_faces` people, of one folder and lighting where possible."""
    people = drawing.people[split]
    if not n_faces or len(people) < n_faces:
        return []
    first = people[int(random.integers(len(people)))]
    model = drawing.catalogue.rows[int(random.choice(first))]
    rows = []
    for index in random.permutation(len(people)):
        alike = [
            row for row in people[index]
            if all(drawing.catalogue.rows[row][name] == model[name] for name in ("folder", "domain", "expression", "lighting"))
        ]  # fmt: skip
        if alike:
            rows.append(int(random.choice(alike)))
        if len(rows) == n_faces:
            break
    return rows


KINDS: dict[str, Callable[[Drawing, int, np.random.Generator], list[PlannedImage]]] = {
    "photo": _photos, "render": _renders, "graded": _graded, "relit": _relit,
    "warp": _warps, "swap": _swaps, "edit": _edits, "sample": _samples,
}  # fmt: skip


def _shuffled(items: list, random: np.random.Generator) -> list:
    return [items[i] for i in random.permutation(len(items))]
