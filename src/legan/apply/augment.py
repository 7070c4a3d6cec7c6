"""`legan augment`: a labelled face data set with synthetic images added to its training people; run again, it continues.

The result is a data set folder as the first was, its images and the new ones together: `apply/augment_plan.py` decides what is
made of which image, `apply/augment_shards.py` makes it. Nobody outside the split `train` is ever edited.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from legan.apply.augment_plan import Names, Policy, count_images, n_groups, place_orders, write_plan
from legan.apply.augment_shards import PROVENANCE, ROWS, Recipe, make_shard, start_worker
from legan.apply.embeddings import PACKAGED, load_embedding
from legan.apply.networks import load_networks
from legan.apply.quality import load_quality
from legan.apply.quality_images.imports import import_faces, parse_source, source_digest
from legan.core.errors import ConfigError, DataError
from legan.core.files import make_folder, sha256_of, write_atomic
from legan.core.manifest import MANIFEST, read_record, write_manifest
from legan.core.plain import parse_json
from legan.core.set_folder import check_set_folder, open_set_folder
from legan.core.workers import run_jobs

VERSION = 2  # raised when the images change, so that a resumed folder never mixes two looks
_PLAN, _REPORT, _IMPORTED = "plan.parquet", "report.json", "imported"

Progress = Callable[[int, int], None]  # shards done, shards in all


@dataclass(frozen=True)
class Request:
    """What to make.

    Args:
        policy: "balance-expressions" fills the rare expressions of the training images, from neutral ones where there are any, up to
            the most frequent; "relight:N" adds N random lights for each; "both:N" does both, the new expressions under random
            lights too.
        ratio: at most this many synthetic images for each training image; None for all that the policy asks for.
        min_quality: least score of Q, 0..10.
        min_match: least match score with the source image, -1..1.
        names: words LABEL=EXPRESSION, what the editor calls the data's labels.
        seed: the same seed gives the same images.
        weights, quality, identity, device: the networks; None is the packaged one.
    """

    policy: str
    ratio: float | None = None
    min_quality: float | None = None
    min_match: float | None = None
    names: tuple[str, ...] = ()
    seed: int = 0
    weights: Path | None = None
    quality: Path | None = None
    identity: str = PACKAGED
    device: str = "cpu"

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        for name, value, low, high in (("--min-quality", self.min_quality, 0, 10), ("--min-match", self.min_match, -1, 1)):
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} {value:g} is out of range: give a number from {low} to {high}")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is out of range: give 0 or more")


@dataclass(frozen=True)
class Augmented:
    """What was made.

    Args:
        manifest: of the new data set.
        n_original, n_synthetic: images.
        before, after: training images by expression.
        rejected: attempts that did not pass, by reason.
        n_given_up: images that did not pass in four attempts and are not there.
        unmakeable: rare labels that the editor has no expression for.
    """

    manifest: str
    n_original: int
    n_synthetic: int
    before: dict[str, int]
    after: dict[str, int]
    rejected: dict[str, int]
    n_given_up: int
    unmakeable: list[str]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.n_original} original and {self.n_synthetic} synthetic images"]
        lines += [f"{label or '(no label)'}: {n} -> {self.after[label]} training images" for label, n in self.before.items()]
        lines += [f"rejected: {n} {reason}" for reason, n in self.rejected.items()]
        if self.n_given_up:
            lines.append(f"given up after four attempts: {self.n_given_up}")
        if self.unmakeable:
            labels = ", ".join(self.unmakeable)
            lines.append(
                f"the editor has no expression for: {labels}; name the nearest with --map {self.unmakeable[0]}=EXPRESSION"
            )
        return "\n".join([*lines, self.manifest])


def augment(source: str | Path, out: Path, request: Request, n_workers: int = 1, progress: Progress | None = None) -> Augmented:
    """Make an augmented data set, or what is missing of it.

    Args:
        source: a data set folder, or NAME=DIR for pictures in another layout, which are aligned first, as `legan import` does.
        out: the folder of the new data set; made when missing.
        request: what to make.
        n_workers: processes of one thread each.
        progress: called with shards done and in all.

    Raises:
        ConfigError: a number out of range, an unknown policy or expression.
        DataError: data that cannot be used, or `out` holds something else.
        LeganError: the disk is full, or a process was killed.
    """
    request.check()
    if n_workers < 1:
        raise ConfigError("workers must be at least 1")
    policy, names, out = Policy.parse(request.policy), Names.parse(list(request.names)), Path(out)
    settings = _settings(request)
    folder, imported, settings = _opened(source, out, settings, n_workers)
    if imported and (out / _REPORT).exists():
        return _reported(out)
    counts = count_images(folder)
    orders = place_orders(counts, policy, request.ratio, names)
    data = {"name": folder.resolve().name, "sha256": sha256_of(folder / MANIFEST)}
    with open_set_folder(out, settings | {"data": data}, besides={_IMPORTED}, derived={_PLAN}):
        if (out / _REPORT).exists():
            return _reported(out)
        if not (out / _PLAN).exists():
            write_plan(folder, out / _PLAN, counts, orders, names, request.seed)
        recipe = Recipe(
            folder.resolve(), out / _PLAN, out, request.seed, names, request.min_quality, request.min_match, policy.relights_filled,
            request.weights, request.quality, request.identity, request.device,
        )  # fmt: skip
        _make_shards(recipe, n_workers, progress)
        report = _finish(recipe, counts.n_images, dict(counts.by_label), list(orders.unmakeable))
        if imported:
            shutil.rmtree(folder)
        return report


def _opened(source: str | Path, out: Path, settings: dict[str, Any], n_workers: int) -> tuple[Path, bool, dict[str, Any]]:
    """The data set folder to augment, whether it was imported for this alone, and the settings with what was imported.

    An imported folder is gone when all is done.
    """
    if (Path(source) / MANIFEST).is_file() or "=" not in str(source):
        return Path(source), False, settings
    name, folder = parse_source(str(source))
    imported, settings = out / _IMPORTED, settings | {"pictures": source_digest(name, folder)}
    check_set_folder(out, settings, besides={_IMPORTED}, derived={_PLAN})
    if not (out / _REPORT).exists():
        make_folder(out)
        import_faces(name, folder, imported, n_workers=n_workers)
    return imported, True, settings


def _settings(request: Request) -> dict[str, Any]:
    """What every image depends on beside the data, without this machine's paths.

    Raises:
        WeightsError: a network that cannot be used.
    """
    networks = ("weights", "quality", "identity", "device")
    return {
        "version": VERSION,
        **{key: value for key, value in asdict(request).items() if key not in networks},
        "names": list(request.names),
        "editor": load_networks(request.weights, request.device).checksum,
        "quality network": load_quality(request.quality, request.device).checksum,
        "identity network": load_embedding(request.identity, request.device).provenance["sha256"],
    }


def _reported(out: Path) -> Augmented:
    try:
        return Augmented(**parse_json((out / _REPORT).read_text(encoding="utf-8")) | {"manifest": str(out / MANIFEST)})
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{out / _REPORT} cannot be read: delete {out} and run the same command again") from error


def _make_shards(recipe: Recipe, n_workers: int, progress: Progress | None) -> None:
    numbers = range(n_groups(recipe.plan))
    missing = [number for number in numbers if not recipe.shard(number).exists()]
    n_done = len(numbers) - len(missing)
    if progress:
        progress(n_done, len(numbers))
    for _ in run_jobs(make_shard, missing, n_workers, start_worker, (recipe,), apart=True):
        n_done += 1
        if progress:
            progress(n_done, len(numbers))


def _finish(recipe: Recipe, n_original: int, before: dict[str, int], unmakeable: list[str]) -> Augmented:
    """Write the manifest and the report from the shards, one shard at a time."""
    tally: Counter[str] = Counter()
    after: Counter[str] = Counter()
    n_images = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal n_images
        for number in range(n_groups(recipe.plan)):
            found = read_record(recipe.shard(number), ROWS)
            tally.update(found["tally"])
            for row in found["rows"]:
                n_images += 1
                after[row["expression"] or ""] += row["split"] == "train"
                yield row

    manifest = write_manifest(rows(), recipe.out, PROVENANCE)
    labels = sorted({*before, *(label for label, n in after.items() if n)})
    given_up = tally.pop("given up", 0)
    rejected = {reason: n for reason, n in sorted(tally.items()) if reason != "made"}
    report = Augmented(
        str(manifest), n_original, n_images - n_original, {label: before.get(label, 0) for label in labels},
        {label: after[label] for label in labels}, rejected, given_up, unmakeable,
    )  # fmt: skip
    write_atomic(recipe.out / _REPORT, json.dumps(report.as_json(), indent=2).encode())
    recipe.plan.unlink(missing_ok=True)
    return report
