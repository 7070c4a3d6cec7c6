"""`legan verify`: how well an identity embedding tells people apart, by the standard protocols or on one's own folder of people.

LFW (6,000 pairs, ten folds; Huang et al., 2007), insightface's `.bin` files of aligned pairs, IJB-B 1:1 (templates; Whitelam et al.,
2017), and pairs drawn by seed. Scores are cosines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.apply.crops import prepare
from legan.apply.embeddings import PACKAGED, Embedding, load_embedding
from legan.apply.features import CropAt, embed_all, with_stamps
from legan.apply.roc_plot import plot_rocs
from legan.core.crop import CROP_SIZE
from legan.core.errors import ConfigError, DataError, ImageError, no_such
from legan.core.files import check_ending
from legan.core.geometry import fit_similarity
from legan.core.images import decode_rgb, load_photo
from legan.core.manifest import MANIFEST, contents_stamp
from legan.data.faces import LabelledFaces
from legan.data.sources.folder import read_folder
from legan.data.sources.ijbb import read_ijbb
from legan.data.sources.insightface_bin import read_bin
from legan.data.sources.lfw import find_pictures, read_pairs
from legan.faces.arcface_embedding import CROP_POINTS, INPUT_POINTS
from legan.faces.resample import warp
from legan.metrics.match import N_FOLDS, Pairs, draw_pairs, match_scores, roc, score_pairs
from legan.metrics.templates import template_features
from legan.metrics.verification import Figures, verification_figures

FARS = (1e-4, 1e-3, 1e-2, 1e-1)
_MAX_BIN_PIXELS = 1_000_000  # of a picture in insightface's files; theirs have 112 x 112
# Where LFW's pictures of 250 pixels have the face, for those in which the detector finds none: left, top, right, bottom.
_LFW_FACE = (0.22, 0.21, 0.78, 0.77)


@dataclass(frozen=True)
class Options:
    """How to verify.

    Args:
        identity: the embedding, as `load_embedding` names it.
        fars: rates at which TAR is told.
        n_pairs: of one's own people: half of one person, half of two.
        seed: of those pairs.
        split: of a data set folder.
        pairs: another list than `pairs.txt` in LFW's folder.
        cache: folder for features as they are computed; the same command again goes on there.
        device: where a LightCNN runs.
    """

    identity: str = PACKAGED
    fars: Sequence[float] = FARS
    n_pairs: int = 6000
    seed: int = 0
    split: str = "test"
    pairs: Path | None = None
    cache: Path | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        for far in self.fars:
            if not 0 < far < 1:
                raise ConfigError(f"--far {far:g} is out of range: give a rate between 0 and 1, such as 1e-3")
        if self.n_pairs < 2 or self.seed < 0:
            raise ConfigError("give at least 2 pairs and a seed of 0 or more")


@dataclass(frozen=True)
class Verified:
    """Figures of one protocol; `notes` say what was done about pictures without a face."""

    protocol: str
    figures: Figures
    embedding: str
    provenance: dict[str, Any]
    notes: tuple[str, ...]
    scores: np.ndarray
    same: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """As plain values, without the scores."""
        named = {
            "protocol": self.protocol,
            "embedding": self.embedding,
            "provenance": self.provenance,
            "notes": list(self.notes),
        }
        return {**named, **self.figures.as_json()}

    def __str__(self) -> str:
        found = self.figures
        lines = [f"{self.protocol}, {self.embedding}: {found.n_same} pairs of one person, {found.n_other} of two"]
        if found.accuracy is not None:
            lines.append(f"accuracy {found.accuracy:.4f} ± {found.accuracy_std:.4f} over {N_FOLDS} folds")
        lines.append(f"AUC {found.auc:.4f}, equal error rate {found.eer:.4f}")
        lines += [f"TAR {tar:.4f} at FAR {far:g}" for far, tar in sorted(found.tar.items())]
        return "\n".join([*lines, *self.notes])


def verify(protocol: str, place: Path, options: Options, plot: Path | None = None, progress: Any = None) -> Verified:
    """Verify by a protocol.

    Args:
        protocol: "lfw": a folder of people with `pairs.txt`; "bin": a file of insightface's; "ijbb": a folder with `meta/` and
            `loose_crop/`; "people": a folder of a subfolder a person, or a data set folder.
        place: the folder or file.
        options: how.
        plot: a PNG file for the ROC.
        progress: called with images done and in all.

    Raises:
        ConfigError: an unknown protocol or a number out of range.
        DataError: lists or pictures that cannot be used.
        WeightsError: an embedding that cannot be used.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(no_such("protocol", protocol, PROTOCOLS))
    options.check()
    if plot is not None:
        check_ending(plot, ".png")
    embedding = load_embedding(options.identity, options.device)
    scores, same, notes = PROTOCOLS[protocol](Path(place), embedding, options, progress)
    figures = verification_figures(scores, same, options.fars)
    if plot is not None:
        plot_rocs({embedding.name: [roc(scores, same)]}, plot, f"{protocol}, {len(same)} pairs")
    return Verified(protocol, figures, embedding.name, embedding.provenance, tuple(notes), scores, same)


Found = tuple[np.ndarray, np.ndarray, list[str]]  # scores, same, notes


def _lfw(place: Path, embedding: Embedding, options: Options, progress: Any) -> Found:
    pairs = read_pairs(options.pairs or place / "pairs.txt")
    paths = find_pictures(place, pairs.images)
    features, found = embed_all(
        embedding,
        with_stamps(pairs.images, paths),
        lambda i: prepare(paths[i], CROP_SIZE, "detect").crop,
        options.cache,
        progress,
        instead=lambda i: centre_crop(paths[i]),  # where LFW has the face: every pair counts in this protocol
    )
    scores = match_scores(features[pairs.first], features[pairs.second])
    notes = [] if found.all() else [f"{(~found).sum()} of {len(paths)} pictures cut by the middle: no face was detected"]
    return scores, np.array(pairs.same), notes


def centre_crop(path: Path) -> np.ndarray:
    """The part of an LFW picture where its face lies, uint8 (128, 128, 3)."""
    image = load_photo(path).image
    box = tuple(round(share * side) for share, side in zip(_LFW_FACE, image.size * 2, strict=True))
    return np.asarray(image.crop(box).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS))  # type: ignore[arg-type]


def _bin(place: Path, embedding: Embedding, options: Options, progress: Any) -> Found:
    pictures, same = read_bin(place)
    names = [f"{place.name}#{i}" for i in range(len(pictures))]
    stamped = with_stamps(names, [place] * len(names))
    features, _ = embed_all(embedding, stamped, lambda i: aligned_crop(pictures[i], names[i]), options.cache, progress)
    return match_scores(features[0::2], features[1::2]), same, []


def aligned_crop(data: bytes, name: str) -> np.ndarray:
    """A face that insightface aligned, encoded, 112 x 112 pixels, as a crop uint8 (128, 128, 3).

    Raises:
        DataError: no picture, or one of many pixels.
    """
    try:
        pixels = decode_rgb(data, f"image {name}", _MAX_BIN_PIXELS)
    except ImageError as error:
        raise DataError(str(error)) from error
    scale = pixels.shape[0] / 112
    return warp(pixels, fit_similarity(INPUT_POINTS * scale, CROP_POINTS * CROP_SIZE), CROP_SIZE)


def _ijbb(place: Path, embedding: Embedding, options: Options, progress: Any) -> Found:
    lists = read_ijbb(place)

    def crop_at(index: int) -> np.ndarray:
        pixels = np.asarray(load_photo(lists.images[index]).image)
        return warp(pixels, fit_similarity(lists.points[index] + 0.5, CROP_POINTS * CROP_SIZE), CROP_SIZE)

    names = with_stamps([path.name for path in lists.images], lists.images)
    features, _ = embed_all(embedding, names, crop_at, options.cache, progress)
    templates = template_features(features, lists.template, lists.medium)
    pairs = Pairs(templates.rows_of(lists.first), templates.rows_of(lists.second), lists.same)
    return score_pairs(templates.features, pairs), lists.same, [f"{len(templates.ids)} templates of {len(names)} images"]


def _people(place: Path, embedding: Embedding, options: Options, progress: Any) -> Found:
    names, people, crop_at = _own_people(place, options.split)
    pairs = draw_pairs(people, options.n_pairs, np.random.default_rng(options.seed))
    used, at = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    features, found = embed_all(embedding, [names[i] for i in used], lambda i: crop_at(int(used[i])), options.cache, progress)
    first, second = np.split(at, 2)
    whole = found[first] & found[second]
    notes = [f"{len(np.unique(people))} people, {len(names)} pictures, seed {options.seed}"]
    if not whole.all():
        notes.append(f"{(~found).sum()} pictures without a face left out, with {(~whole).sum()} pairs")
    return match_scores(features[first[whole]], features[second[whole]]), pairs.same[whole], notes


def _own_people(place: Path, split: str) -> tuple[list[str], np.ndarray, CropAt]:
    """Names of the pictures, numbers of the people, and how to get a crop."""
    if (place / MANIFEST).is_file():
        faces = LabelledFaces([place], split, CROP_SIZE, memory_gb=0.0)
        stamp = contents_stamp(place, (row["path"] for row in faces.rows))
        named = [f"{row['path']}/{row['key']} {stamp}" for row in faces.rows]
        return named, faces.person, lambda i: faces.images([i])[0]
    images = read_folder(place)
    numbers = {person: number for number, person in enumerate(sorted({image.identity for image in images}))}
    people = np.array([numbers[image.identity] for image in images])

    def crop_at(index: int) -> np.ndarray | None:
        try:
            return prepare(images[index].path, CROP_SIZE).crop
        except ImageError:
            return None

    names = [image.path.relative_to(place).as_posix() for image in images]
    return with_stamps(names, [image.path for image in images]), people, crop_at


PROTOCOLS: dict[str, Callable[[Path, Embedding, Options, Any], Found]] = {
    "lfw": _lfw, "bin": _bin, "ijbb": _ijbb, "people": _people,
}  # fmt: skip
