"""Filter synthetic faces by score, match and duplicates, and the page that shows what was kept."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from PIL import Image

from legan.core.errors import ConfigError, ImageError, LeganError
from legan.core.files import atomic_write, file_stamp, held_folder, make_folder, sha256_of, write_atomic
from legan.core.inputs import Input, find_inputs
from legan.core.listing import composed, person_of, utf8_name
from legan.core.pages import data_uri, write_page
from legan.core.places import Place
from legan.core.table import Journal
from legan.core.workers import RunJobs, check_workers, in_order, keep, kept, run_jobs, shown_progress
from legan.data.shards import check_own_folder
from legan.faces.align import Faces, Prepared, grouped, prepare, prepare_many, unreadable
from legan.quality.scorer import BATCH_SIZE, QualityScorer, check_faces, load_quality, score_prepared
from legan.requests import FilterRequest

if TYPE_CHECKING:
    import pandas as pd


# Filter synthetic faces: keep those that look natural, still show the same person, and are not nearly the same image twice.


DECISIONS, SCORES, PAGE, IMAGES = "decisions.parquet", "scores.csv", "index.html", "images"
COLUMNS = ("image", "score", "spread", "match", "hash", "reason")
NO_REFERENCE = "no usable reference of the person"
HASH_SIDE = 16  # a hash has 256 bits
_MATCH_RULE = 2  # raised when other references would be chosen for an image
_N_NAMED = 20  # poor references that are named
N_MOST_ALIKE = 8  # bits by which near-duplicates differ at most


class Embedder(Protocol):
    """Gives identity embeddings: unit vectors (B, d) of aligned crops."""

    @property
    def name(self) -> str:
        """How results name it."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """`sha256` of its weights, and more."""

    def embed(self, crops: Sequence[Image.Image]) -> np.ndarray:
        """Return the embeddings of aligned crops."""


@dataclass(frozen=True)
class FilterResult:
    """What became of the images: how many were kept, how many left out for which reason, and where it is written."""

    out: Path
    n_kept: int
    left_out: Mapping[str, int]
    embedder: str | None = None
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        found = {"out": str(self.out), "n_kept": self.n_kept, "left_out": dict(self.left_out), "embedder": self.embedder}
        return {**found, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{self.n_kept} images kept in {self.out / IMAGES}"]
        lines += [f"left out: {count}, {reason}" for reason, count in self.left_out.items()]
        if self.embedder:
            lines.append(f"match scores by {self.embedder}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"decisions in {self.out / DECISIONS}; page: {self.out / PAGE}"])


def filter_images(
    folder: str | Path,
    out: Path,
    request: FilterRequest,
    reference: str | Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    embedder: Embedder | None = None,
    n_workers: int = 1,
    run: RunJobs | None = None,
) -> FilterResult:
    """Score a folder of images and copy those that pass; the same command again goes on where it stopped.

    Args:
        folder: the images; walked. Or a tar shard, a Parquet manifest or an address, as for `legan.core.inputs.find_inputs`.
        out: gets `images/` (the kept ones, by their names in `folder`), `decisions.parquet` (every image with its scores and the
            reason), `scores.csv` (what a further run takes up) and `index.html` (best, worst and borderline images).
        request: what passes.
        reference: images to match with, named as `folder`. An image is compared with those of its person (`alice/1.png` with
            `reference/alice/`), or with the one of the same file name; where the references name neither, with those directly in
            `reference`, or with all where they are of one person; else with none. The highest similarity counts. References
            without a usable face are named in the notes.
        weights, device: as for `load_quality`.
        embedder: of identities; None for the one that the request names.
        n_workers: processes; 1 works in this one, its networks in all its threads.
        run: what drives the workers; by default local processes (`run_jobs`).

    Raises:
        LeganError: nothing to do, no images, two of one name, links to images that are no files, weights that cannot be used,
            `out` holds other files or what was filtered by another reference, another process writes there, or a full disk.
    """

    request.check(reference)
    check_faces(request.faces)
    check_workers(n_workers)
    out = Path(out)
    check_own_folder(out, SCORES)
    images = _by_name(find_inputs([folder], exclude=out))
    if request.link and not all(isinstance(image.place, Path) for image in images.values()):
        raise ConfigError(f"--link links files, and the images of {folder} are none: leave it out")
    own_device = device if run is None else "cpu"  # the machine that drives a cluster needs no GPU
    scorer = load_quality(weights, own_device)
    matcher = None if reference is None else _matcher(reference, embedder, scorer.size, request, own_device)
    with held_folder(make_folder(out)):
        judges = Judges(scorer, matcher)
        load = partial(load_judges, weights, device, matcher and matcher.alone(embedder), request.identity)
        table = decide(_scored(out, images, judges, load, request, n_workers, run), request)
        _place(table, images, out / IMAGES, request.link)
        with atomic_write(out / DECISIONS) as file:
            table.to_parquet(file, index=False)
        write_overview(table, images, out / PAGE, request, scorer.size)
    reasons = table.loc[~table["kept"], "why"].value_counts()
    left_out = {str(reason): int(count) for reason, count in reasons.items()}
    n_kept = int(table["kept"].sum())
    return FilterResult(out, n_kept, left_out, *(() if matcher is None else (matcher.name, matcher.notes)))


def decide(table: "pd.DataFrame", request: FilterRequest) -> "pd.DataFrame":
    """Return the table with `kept`, `why` (a short reason, empty for the kept) and `duplicate_of`.

    Args:
        table: `image, score, match, hash, reason`, one line an image.
        request: what passes. The bounds come first; of images that pass and are nearly the same, the most natural one stays.
    """
    why = np.full(len(table), "", object)
    score, match = table["score"].to_numpy(float), table["match"].to_numpy(float)

    def refuse(out: np.ndarray, reason: str) -> None:
        why[out & (why == "")] = reason

    refuse(np.array([unreadable({"reason": reason}) for reason in table["reason"]], bool), "unreadable")
    refuse(np.isnan(score), "no face found")
    if request.min_quality is not None:
        refuse(score < request.min_quality, "below min-quality")
    if request.min_match is not None:
        refuse(np.isnan(match), NO_REFERENCE)
        refuse(~(match >= request.min_match), "below min-match")
    if request.keep is not None:
        n_faces = int((~np.isnan(score)).sum())
        best = np.argsort(-np.nan_to_num(score, nan=-1), kind="stable")[: math.ceil(request.keep * n_faces)]
        refuse(~np.isin(np.arange(len(table)), best), "not among the share to keep")
    duplicate_of = np.full(len(table), "", object)
    if not request.duplicates:
        names = table["image"].to_numpy(object)
        for index, other in near_duplicates(table["hash"].tolist(), score, why == "").items():
            why[index], duplicate_of[index] = "near-duplicate", names[other]
    return table.assign(kept=why == "", why=why, duplicate_of=duplicate_of)


def near_duplicates(hashes: Sequence[str], score: np.ndarray, passed: np.ndarray) -> dict[int, int]:
    """Return index of image -> index of the better one that it nearly equals, among those that passed."""
    order = [int(i) for i in np.argsort(-np.nan_to_num(score, nan=-1), kind="stable") if passed[i]]
    bits = np.zeros((len(hashes), HASH_SIDE * HASH_SIDE // 8), np.uint8)
    for index in order:
        bits[index] = np.frombuffer(bytes.fromhex(hashes[index]), np.uint8)
    found: dict[int, int] = {}
    kept = np.empty(len(order), np.int64)
    n_kept = 0
    for index in order:
        others = kept[:n_kept]
        distances = np.bitwise_count(bits[others] ^ bits[index]).sum(axis=1)
        if n_kept and distances.min() <= N_MOST_ALIKE:
            found[index] = int(others[distances.argmin()])
        else:
            kept[n_kept], n_kept = index, n_kept + 1
    return found


def perceptual_hash(crop: np.ndarray) -> str:
    """Return 256 bits as hexadecimal digits: which of the lowest frequencies of a grey crop lie above their median (pHash).

    Ten lines in place of a dependency; small changes of tone, size or compression change few bits.
    """
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(grey)[:HASH_SIDE, :HASH_SIDE].ravel()
    return np.packbits(waves > np.median(waves[1:])).tobytes().hex()


class Matcher:
    """Similarity of crops to reference images of the same person.

    Args:
        reference: folder of reference images, or what else `find_inputs` takes.
        embedder: of identities.
        size: side of the crops in pixels.
        faces: as for `prepare`.

    `name` is the embedder's, `checksum` changes with the reference images and with the embedder, `notes` name references that
    cannot be used, and why.

    Raises:
        ImageError: no reference image shows a face.
    """

    def __init__(self, reference: str | Path, embedder: Embedder, size: int, faces: Faces) -> None:
        self.embedder: Embedder | None = embedder
        self.name = embedder.name
        images = _by_name(find_inputs([reference]))
        self._by_person: dict[str, list[int]] = {}  # usable references; a person may have none
        self._loose: dict[str, list[int]] = {}  # of references directly in the folder, by name: who they show is not known
        crops: list[np.ndarray] = []
        poor: list[str] = []
        for (place, name), one in zip(
            images.values(), prepare_many((image.place for image in images.values()), size, faces), strict=True
        ):
            inside = PurePosixPath(name)
            groups = [self._by_person.setdefault(_person(name), [])]
            groups += [self._loose.setdefault(composed(inside.stem), [])] if len(inside.parts) < 2 else []
            if one.crop is None:
                poor.append(utf8_name(one.reason if not one.readable else f"{place}: {one.reason}"))
                continue
            for group in groups:
                group.append(len(crops))
            crops.append(one.crop)
        if not crops:
            raise ImageError(f"no face in the images of {reference}: name images of the person to compare with ({poor[0]})")
        self.notes = _in_brief(poor)
        self.vectors = self._embed(crops)
        contents = [(name, sha256_of(image.place)) for name, image in images.items()]
        facts = [_MATCH_RULE, embedder.provenance.get("sha256", ""), contents]
        self.checksum = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def alone(self, embedder: Embedder | None) -> "Matcher":
        """Return a copy for another process, with this embedder, or without one."""
        other = copy(self)
        other.embedder = embedder
        return other

    def match(self, names: Sequence[str], crops: Sequence[np.ndarray]) -> list[float]:
        """Return the highest cosine similarity of each crop to its references, NaN where it has none that can be used.

        `names` are those of the images in the folder filtered.
        """
        if not crops:
            return []
        values = []
        for name, vector in zip(names, self._embed(crops), strict=True):
            own = self._references(name)
            values.append(float((self.vectors[own] @ vector).max()) if own else math.nan)
        return values

    def _references(self, image: str) -> list[int]:
        """The references to compare an image with. A person whose references are all poor has none: never another person's."""
        person, name = _person(image), composed(PurePosixPath(image).stem)
        if person in self._by_person:
            return self._by_person[person]
        if name in self._loose:
            return self._loose[name]
        if self._loose:
            return [index for group in self._loose.values() for index in group]
        return list(range(len(self.vectors))) if len(self._by_person) == 1 else []

    def _embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        assert self.embedder is not None, "loaded"
        parts = [crops[i : i + BATCH_SIZE] for i in range(0, len(crops), BATCH_SIZE)]
        return np.concatenate([np.asarray(self.embedder.embed([Image.fromarray(crop) for crop in part])) for part in parts])


def _matcher(reference: str | Path, embedder: Embedder | None, size: int, request: FilterRequest, device: str) -> Matcher:
    if embedder is None:
        from legan.faces.embeddings import load_embedding

        embedder = load_embedding(request.identity, device)
    return Matcher(reference, embedder, size, request.faces)


@dataclass(frozen=True)
class Judges:
    """The networks that a filtering needs."""

    scorer: QualityScorer
    matcher: Matcher | None


def load_judges(weights: Path | None, device: str, matcher: Matcher | None, identity: str) -> Judges:
    """Load them in a worker; `matcher` has its references already, and may lack its embedder, which `identity` names."""
    if matcher is not None and matcher.embedder is None:
        from legan.faces.embeddings import load_embedding

        matcher.embedder = load_embedding(identity, device)
    return Judges(load_quality(weights, device), matcher)


def _in_brief(poor: Sequence[str]) -> list[str]:
    """Notes about references that cannot be used."""
    notes = [f"a reference image cannot be used: {reason}" for reason in poor[:_N_NAMED]]
    return [*notes, *([f"{len(poor) - _N_NAMED} more reference images cannot be used"] if len(poor) > _N_NAMED else [])]


def _scored(
    out: Path,
    images: Mapping[str, Input],
    judges: Judges,
    load: Callable[[], Judges],
    request: FilterRequest,
    n_workers: int,
    run: RunJobs | None,
) -> "pd.DataFrame":
    """Score what the folder's journal does not have yet, and return its table."""
    matcher = judges.matcher
    stamp = {
        "weights": judges.scorer.checksum[:12],
        "faces": request.faces,
        "reference": matcher.checksum[:12] if matcher else "none",
    }
    with Journal(out / SCORES, COLUMNS, stamp) as journal:
        by_place = {image.place: image for image in images.values()}
        places = {name: image.place for name, image in images.items()}
        todo = [by_place[place] for place in journal.missing(places, unreadable)]
        with shown_progress("scoring", len(todo)) as advance:
            if run is None and n_workers == 1:  # in this process: images are decoded while the networks work
                prepared = prepare_many((image.place for image in todo), judges.scorer.size, request.faces)
                groups = grouped(zip(todo, prepared, strict=True), BATCH_SIZE)
                parts: Iterator[list[dict[str, str]]] = (_rows(group, judges) for group in groups)
            else:
                jobs = enumerate((group, request.faces) for group in grouped(todo, BATCH_SIZE))
                parts = in_order((run or run_jobs)(_filter_job, jobs, n_workers, keep, (load,), apart=True))
            for rows in parts:
                journal.add(rows)
                for _ in rows:
                    advance()
        return _table(journal, list(images))


def _filter_job(job: tuple[int, tuple[Sequence[Input], Faces]]) -> tuple[int, list[dict[str, str]]]:
    """Runs in a worker."""
    number, (images, faces) = job
    judges: Judges = kept()
    prepared = prepare_many((image.place for image in images), judges.scorer.size, faces)
    return number, _rows(list(zip(images, prepared, strict=True)), judges)


def _rows(group: Sequence[tuple[Input, Prepared]], judges: Judges) -> list[dict[str, str]]:
    images, prepared = [image for image, _ in group], [one for _, one in group]
    shown = [(image.inside, one.crop) for image, one in group if one.crop is not None]
    crops = [crop for _, crop in shown]
    matches = iter(judges.matcher.match([inside for inside, _ in shown], crops) if judges.matcher else [math.nan] * len(crops))
    rows = []
    for image, one, scored in zip(images, prepared, score_prepared(judges.scorer, prepared), strict=True):
        match, code = (next(matches), perceptual_hash(one.crop)) if one.crop is not None else (math.nan, "")
        rows.append({**scored.row(), "image": utf8_name(image.inside), "match": f"{match:.4f}", "hash": code})
    return rows


def _by_name(images: Iterable[Input]) -> dict[str, Input]:
    """Images by the names that tables give them.

    Raises:
        ImageError: two have the same.
    """
    found: dict[str, Input] = {}
    for image in images:
        if (other := found.setdefault(utf8_name(image.inside), image)).place != image.place:
            raise ImageError(f"{other.place} and {image.place} would have the same name: filter them one by one")
    return found


def _person(inside: str) -> str:
    return person_of(Path(inside), Path())


def _table(journal: Journal, names: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    rows = [journal.rows[name] for name in names]
    table = pd.DataFrame(rows, columns=journal.columns)
    return table.assign(**{name: table[name].astype(float) for name in ("score", "spread", "match")})


def _place(table: "pd.DataFrame", images: Mapping[str, Input], out: Path, link: bool) -> None:
    """Bring the kept images to `out`, and take away those of an earlier run with other bounds."""
    kept = {name for name, is_kept in zip(table["image"], table["kept"], strict=True) if is_kept}
    for name in table["image"]:
        target, source = out / images[name].inside, images[name].place
        if name not in kept:
            target.unlink(missing_ok=True)
        elif isinstance(source, Place):
            data = source.read_bytes()
            if not target.is_file() or target.read_bytes() != data:
                write_atomic(target, data)
        elif file_stamp(target) != file_stamp(source):  # not there yet, or of an image that changed since
            half = make_folder(target.parent) / f".{target.name}.tmp"
            half.unlink(missing_ok=True)  # of a process that was killed
            try:
                os.link(source, half) if link else shutil.copy2(source, half)
                os.replace(half, target)
            except OSError as error:
                half.unlink(missing_ok=True)
                way = "another disk? leave --link out" if link else "free some space and run the same command again"
                raise LeganError(f"cannot bring {name} to {out} ({error.strerror}): {way}") from error


# The page of a filtering: its best, worst and borderline images, in one file that opens from disk.


N_SHOWN = 16  # images of each group, at most half of all, so that the best are not among the worst


def write_overview(table: "pd.DataFrame", images: Mapping[str, Input], path: Path, request: FilterRequest, size: int) -> None:
    """Write the page.

    Args:
        table: as `decide` gives it.
        images: by their names in the table.
        path: the page to write.
        request: what was asked for.
        size: side of the crops shown, in pixels.

    Raises:
        LeganError: the place cannot be written.
    """
    scored = table[table["score"].notna()].sort_values("score", ascending=False)
    kept, refused = scored[scored["kept"]], scored[~scored["kept"]]
    doubles = refused[refused["why"] == "near-duplicate"]
    n_shown = min(N_SHOWN, max(1, len(scored) // 2))
    n_edge = max(1, n_shown // 2)
    by_score = refused[refused["why"].isin(["below min-quality", "not among the share to keep"])]
    groups = {
        "Best": kept.head(n_shown),
        "Worst": scored.tail(n_shown)[::-1],
        "Borderline: just kept": kept.tail(n_edge)[::-1],
        "Borderline: just left out": by_score.head(n_edge),
        "Below the match bound, most natural first": refused[refused["why"] == "below min-match"].head(n_edge),
        "Near-duplicates left out": doubles.head(n_edge),
    }
    shown = {name: [_face(row, images, request, size) for row in _records(rows)] for name, rows in groups.items() if len(rows)}
    bars = _bars(scored["score"].to_numpy(float), scored["kept"].to_numpy(bool))
    write_page(path, "filter.html", lead=_lead(table, request), groups=shown, bars=bars, size=size)


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _lead(table: "pd.DataFrame", request: FilterRequest) -> str:
    bounds = {"keep": request.keep, "min-quality": request.min_quality, "min-match": request.min_match}
    words = ", ".join(f"{name} {value:g}" for name, value in bounds.items() if value is not None)
    return f"{int(table['kept'].sum())} of {len(table)} images kept ({words})."


def _face(row: dict[str, Any], images: Mapping[str, Input], request: FilterRequest, size: int) -> dict[str, Any]:
    try:
        crop = prepare(images[str(row["image"])].place, size, request.faces).crop
    except ImageError:  # removed since it was scored
        crop = None
    return {**row, "uri": "" if crop is None else data_uri(Image.fromarray(crop))}


def _bars(scores: np.ndarray, kept: np.ndarray, n: int = 40) -> list[tuple[float, float]]:
    """Heights (0..1) of the histogram's `n` bars over the scores 0..10: of all images, and of the kept ones."""
    counts = [np.histogram(chosen.clip(0, 10), n, (0, 10))[0] for chosen in (scores, scores[kept])]
    top = max(1, int(counts[0].max(initial=0)))
    return [(all_ / top, kept_ / top) for all_, kept_ in zip(*counts, strict=True)]
