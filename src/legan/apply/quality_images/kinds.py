"""The draws of each kind: which faces, which setting, which clean counterpart."""

from collections.abc import Callable

import numpy as np

from legan.apply.quality_images.drawing import SPLIT_SHARES, Drawing, shared
from legan.apply.quality_images.pictures import GENERATED, Picture
from legan.core.manifest import SPLITS
from legan.synthesis.eigenfaces import SAMPLES

_TAKE = 5  # lightings of one rendered person and expression
_GRADES_OF_TAKE = 3


def _photos(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    rows = [i for i, row in enumerate(drawing.catalogue.rows) if row["domain"] == "photo"]
    return [drawing.add_clean(int(row), "photo") for row in random.permutation(rows)[:n]]


def _renders(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    return _takes(drawing, n, random, "render", "render")


def _takes(drawing: Drawing, n: int, random: np.random.Generator, domain: str, kind: str) -> list[Picture]:
    """Clean pictures of some lightings of as many takes, in each split its share."""
    made: list[Picture] = []
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


def _graded(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    takes: dict[tuple[int, str, str], list[int]] = {}
    for row in drawing.clean_of(("render",)):
        entry = drawing.catalogue.rows[row]
        takes.setdefault((entry["folder"], entry["identity"], entry["expression"]), []).append(row)
    made: list[Picture] = []
    choices = drawing.by_split(list(takes.values()), random)
    while choices and len(made) < n:
        rows, settings = choices.pop(), drawing.settings_for
        split = drawing.catalogue.rows[rows[0]]["split"]
        for setting in settings("graded", split, random, _GRADES_OF_TAKE):
            for row in rows:
                made.append(drawing.picture("graded", setting, [row], drawing.catalogue.facts(row), drawing.clean[row]))
    return made


def _relit(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
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
        made.append(drawing.picture("relit", setting, rows, {**facts, "domain": GENERATED}, reference))
    return made


def _warps(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    """Sources: the picture to warp, and two pictures of one person whose landmarks say how. A render's own truth is one of them."""
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
                drawing.picture("warp", setting, [start, start, goal], {**facts, "domain": GENERATED}, drawing.clean[goal])
            )
            continue
        pair = _expression_pair(drawing, row["split"], row["expression"] or "neutral", random)
        if pair:
            facts = {**facts, "domain": GENERATED, "expression": drawing.catalogue.rows[pair[1]]["expression"]}
            made.append(drawing.picture("warp", setting, [goal, *pair], facts))
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


def _swaps(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    """Sources: host and donor; mostly under the same light, as a careful forger would choose."""
    made = []
    for host in drawing.drawn(list(drawing.clean), n, random):
        facts = drawing.catalogue.facts(host)
        donor = _donor(drawing, host, random)
        if donor is not None:
            setting = drawing.settings_for("swap", facts["split"], random)[0]
            made.append(drawing.picture("swap", setting, [host, donor], {**facts, "domain": GENERATED}))
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


def _edits(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    """Sources: the picture to edit. Facts name the conditions to edit to; a goal in the set is the truth where poses are equal."""
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
        made.append(drawing.picture("edit", setting, [source], {**facts, "domain": GENERATED}, drawing.clean[goal]))
    return made


def _samples(drawing: Drawing, n: int, random: np.random.Generator) -> list[Picture]:
    """Sources: the faces of a morph, from its split; none for the model's own."""
    made: list[Picture] = []
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
        made.append(drawing.picture("sample", setting, sources, facts))
    return made


def _morphed(drawing: Drawing, split: str, n_faces: int, random: np.random.Generator) -> list[int]:
    """One picture of each of `n_faces` people, of one folder and lighting where possible."""
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


KINDS: dict[str, Callable[[Drawing, int, np.random.Generator], list[Picture]]] = {
    "photo": _photos, "render": _renders, "graded": _graded, "relit": _relit,
    "warp": _warps, "swap": _swaps, "edit": _edits, "sample": _samples,
}  # fmt: skip


def _shuffled(items: list, random: np.random.Generator) -> list:
    return [items[i] for i in random.permutation(len(items))]
