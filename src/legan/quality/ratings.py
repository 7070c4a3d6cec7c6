"""The verbs of `legan ratings`: what a ratings file says, a cleaned one, labels for training, and simulated raters."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legan.core.config import load_config
from legan.core.errors import DataError, no_such
from legan.core.workers import shown_progress
from legan.data.manifest import image_names, read_manifest, read_pixels
from legan.data.public.lago2022 import read_lago2022
from legan.data.ratings import (
    DEFAULT_RULES,
    Cleaned,
    Rules,
    clean,
    image_labels,
    is_simulated,
    read_gold,
    read_ratings,
    with_splits,
    write_table,
)
from legan.data.simulated_raters import SimulationConfig, distance, naturalness, simulate_ratings
from legan.metrics.agreement import agreement

if TYPE_CHECKING:
    import pandas as pd


IMPORTERS = {"lago2022": read_lago2022}


def cleaned(path: Path, rules: Rules = DEFAULT_RULES, data: Path | None = None, gold: Path | None = None) -> Cleaned:
    """Read and clean a ratings file.

    Args:
        path: the ratings file.
        rules: what is left out.
        data: the data set that was rated; answers about other images are left out.
        gold: a file of gold items.

    Raises:
        DataError: as `read_ratings`, `clean` and `read_gold`.
    """
    images = None if data is None else list(image_names(read_manifest(data)))
    return clean(read_ratings(path), rules, images, None if gold is None else read_gold(gold))


def summary(path: Path, rules: Rules = DEFAULT_RULES, data: Path | None = None, gold: Path | None = None) -> dict[str, Any]:
    """Return counts, exclusions, mean, spread and agreement with the noise ceiling; with `data`, the ceiling by kind too.

    Raises:
        DataError: as `cleaned`, or what is left is too little to tell agreement.
    """
    kept = cleaned(path, rules, data, gold)
    try:
        agreed = agreement(kept.ratings).as_json()
    except DataError as error:
        left_out = ", ".join(f"{count} answers: {reason}" for reason, count in kept.exclusions.items())
        raise DataError(f"{error}; left out before, {left_out or 'nothing'}") from error
    labels = image_labels(kept.ratings)
    found = {
        **kept.as_json(),
        "mean": float(labels["mean"].mean()),
        "std_of_means": float(labels["mean"].std()),
        "mean_std": float(labels["std"].mean()),
        "simulated": is_simulated(kept.ratings),
        "agreement": agreed,
    }
    if data is not None:
        found["by_kind"] = _by_kind(kept.ratings, data)
    return found


def _by_kind(ratings: "pd.DataFrame", data: Path) -> dict[str, dict[str, Any]]:
    """Mean and noise ceiling within each kind of image that has enough images to tell."""
    manifest = read_manifest(data)
    kinds = manifest["kind"] if "kind" in manifest else manifest["domain"]
    kind = ratings["image"].map(dict(zip(image_names(manifest), kinds, strict=True)))
    found = {}
    for name, group in ratings.groupby(kind):
        if group["image"].nunique() >= 5:
            facts = agreement(group)
            found[str(name)] = {"n_images": facts.n_images, "mean": float(group["rating"].mean()), "ceiling": facts.ceiling}
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """A summary as lines of text."""
    facts = found["agreement"]
    who = "SIMULATED raters" if found["simulated"] else "raters"
    lines = [
        f"{facts['n_images']} images, {facts['n_raters']} {who}, {facts['n_ratings']} ratings "
        f"({facts['raters_per_image']:.1f} an image)",
        *(f"left out: {count} answers, {reason}" for reason, count in found["excluded"].items()),
        f"mean {found['mean']:.2f}; images differ by {found['std_of_means']:.2f} (std), raters of an image by {found['mean_std']:.2f}",
        f"ICC(1) {facts['icc']:.3f}, Krippendorff's alpha {facts['alpha'] or float('nan'):.3f}"
        + ("" if facts["split_half"] is None else f", split-half correlation {facts['split_half']:.3f}"),
        f"reliability of the means {facts['reliability']:.3f}; noise ceiling {facts['ceiling']:.3f} "
        "(Pearson correlation of a perfect model with these means)",
    ]
    for name, row in found.get("by_kind", {}).items():
        lines.append(f"  {name}: {row['n_images']} images, mean {row['mean']:.2f}, ceiling {row['ceiling']:.3f}")
    return "\n".join(lines)


def write_clean(
    path: Path, out: Path, rules: Rules = DEFAULT_RULES, data: Path | None = None, gold: Path | None = None
) -> Cleaned:
    """Write the answers that stay to `out`, in the form they came in.

    Raises:
        DataError: `out` is the ratings file itself, or ratings that cannot be used.
    """
    _check_other(path, out)
    kept = cleaned(path, rules, data, gold)
    write_table(kept.ratings, out)
    return kept


def write_labels(
    path: Path, out: Path, rules: Rules = DEFAULT_RULES, data: Path | None = None, gold: Path | None = None
) -> "pd.DataFrame":
    """Write `name, mean, std, split` of each image to `out`, and return the table; splits as in `with_splits`.

    Raises:
        DataError: `out` is the ratings file itself, or ratings that cannot be used.
    """
    _check_other(path, out)
    labels = with_splits(image_labels(cleaned(path, rules, data, gold).ratings), *([data] if data else []))
    write_table(labels, out)
    return labels


def _check_other(path: Path, out: Path) -> None:
    if Path(out).exists() and Path(out).samefile(path):
        raise DataError(f"{out} holds the answers themselves: give another name with -o, so that none is lost")


def counts_in_words(kept: Cleaned, out: Path) -> str:
    """What was kept and left out, as lines of text."""
    lines = [f"{out}: {len(kept.ratings)} of {kept.n_before} answers kept"]
    return "\n".join([*lines, *(f"left out: {count}, {reason}" for reason, count in kept.exclusions.items())])


def import_ratings(source: str, folder: Path, out: Path) -> Cleaned:
    """Write the ratings of a public data set, as its authors clean them, to `out`.

    Raises:
        DataError: an unknown source, or a folder that does not hold it.
    """
    if source not in IMPORTERS:
        raise DataError(no_such("source", source, IMPORTERS))
    kept = IMPORTERS[source](folder)
    write_table(kept.ratings, out)
    return kept


def simulate(data: Path, out: Path, overrides: Sequence[str] = (), seed: int = 0) -> "pd.DataFrame":
    """Let simulated raters rate a data set that `legan synthesize` made; write the ratings to `out` and return them.

    Args:
        data: the data set folder; its manifest tells kind, fault, and reference or distance.
        out: the ratings file to write.
        overrides: settings of `SimulationConfig` such as "icc=0.35".
        seed: of everything random.

    Raises:
        DataError: as `naturalness` and `simulate_ratings`, or `out` holds anything but simulated ratings.
    """
    if Path(out).exists() and not is_simulated(read_ratings(out)):
        raise DataError(f"{out} holds people's ratings: give another name with -o, so that none is lost")
    config = load_config(SimulationConfig, overrides=overrides)
    manifest = read_manifest(data)
    if "reference" in manifest and "naturalness_distance" in manifest:
        manifest = manifest.assign(naturalness_distance=_distances(Path(data), manifest))
    ratings = simulate_ratings(image_names(manifest), naturalness(manifest, config), config, seed)
    write_table(ratings, out)
    return ratings


def _distances(folder: Path, manifest: "pd.DataFrame") -> np.ndarray:
    """Distances (n,) to the references where the manifest does not give them; 0 for images that need none."""
    names = image_names(manifest).tolist()
    row_of = {name: index for index, name in enumerate(names)}
    known = manifest["naturalness_distance"].to_numpy(np.float64).copy()
    references = manifest["reference"].fillna("").tolist()
    rows: Any = manifest.to_dict("records")

    def read(index: int) -> np.ndarray:
        return read_pixels(folder, rows[index])

    def measure(index: int) -> float:
        if references[index] in ("", names[index]):
            return 0.0
        if references[index] not in row_of:
            raise DataError(f"'{names[index]}' in {folder} refers to '{references[index]}', which the set does not have")
        return distance(read(index), read(row_of[references[index]]))

    missing = np.flatnonzero(np.isnan(known))
    with ThreadPoolExecutor() as pool, shown_progress("comparing images", len(missing)) as advance:
        for index, value in zip(missing, pool.map(measure, missing), strict=True):
            known[index] = value
            advance()
    return known
