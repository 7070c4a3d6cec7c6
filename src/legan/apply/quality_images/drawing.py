"""What drawing pictures of any kind needs: the faces, the clean pictures so far, and fair draws of splits and settings."""

from collections.abc import Mapping, Sequence

import numpy as np

from legan.apply.quality_images.catalogue import Catalogue
from legan.apply.quality_images.pictures import RIGHT, SHARES, EditorFile, Picture, held_out, settings_of_kinds
from legan.core.manifest import SPLITS

SPLIT_SHARES = (0.68, 0.10, 0.22)  # of train, val and test


class Drawing:
    """The state of one plan.

    Attributes: `clean` row -> name of the clean pictures drawn so far; `people` rows of each person, by split; `held_out` settings
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

    def picture(
        self, kind: str, setting: str, sources: Sequence[int], facts: Mapping[str, str], reference: str = ""
    ) -> Picture:
        number = self._count[kind] = self._count.get(kind, -1) + 1
        seed = int(np.random.SeedSequence([self.seed, list(SHARES).index(kind), number]).generate_state(1)[0])
        fault = self.settings[kind][setting] if kind in self.settings else 0.0
        full = f"{kind}/{setting}"
        return Picture(f"{kind}-{number:06d}.png", kind, full, fault, tuple(map(int, sources)), seed, facts, reference)

    def add_clean(self, row: int, kind: str) -> Picture:
        made = self.picture(kind, RIGHT if kind == "relit" else "clean", [row], self.catalogue.facts(row))
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
