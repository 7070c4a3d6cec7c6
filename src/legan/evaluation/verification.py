"""`legan verify`: face verification by the protocols of LFW and IJB-B, or on a folder of people."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from legan.core.config import parse_json
from legan.core.errors import ConfigError, DataError, ImageError, no_such
from legan.core.files import atomic_write, check_ending, file_stamp, held_folder, make_folder, write_atomic
from legan.core.geometry import CROP_SIZE, fit_similarity, warp
from legan.core.images import decode_rgb, load_photo
from legan.core.listing import utf8_name
from legan.core.places import Place
from legan.data.faces import LabelledFaces
from legan.data.manifest import MANIFEST, contents_stamp
from legan.data.public.folder import read_folder
from legan.data.public.ijbb import TemplateLists, read_ijbb
from legan.data.public.insightface_bin import read_bin
from legan.data.public.lfw import find_listed_images, read_pairs
from legan.faces.align import N_THREADS, prepare
from legan.faces.embeddings import ARCFACE_CROP_POINTS as CROP_POINTS
from legan.faces.embeddings import INPUT_POINTS, Embedding, load_embedding
from legan.metrics.verification import (
    N_FOLDS,
    Figures,
    Pairs,
    Roc,
    draw_pairs,
    match_scores,
    roc,
    score_pairs,
    template_features,
    verification_figures,
)
from legan.requests import VerificationRequest

CropAt = Callable[[int], "np.ndarray | None"]  # the crop uint8 (S, S, 3) of an image by its number, or None: no face
Progress = Callable[[int, int], None]  # images done, images in all

# `legan verify`: how well an identity embedding tells people apart, by the standard protocols or on one's own folder of people.
#
# LFW (6,000 pairs, ten folds; Huang et al., 2007), insightface's `.bin` files of aligned pairs, IJB-B 1:1 (templates; Whitelam et al.,
# 2017), and pairs drawn by seed. Scores are cosines.


_MAX_BIN_PIXELS = 1_000_000  # of an image in insightface's files; theirs have 112 x 112
# Where LFW's images of 250 pixels have the face, for those in which the detector finds none: left, top, right, bottom.
_LFW_FACE = (0.22, 0.21, 0.78, 0.77)
# Where the middles of the upper and lower edge of NIST's boxes, from the hair to the chin, come to lie in a crop, for faces without eyes.
_IJBB_BOX = np.array([[0.5, 0.1], [0.5, 0.95]])


@dataclass(frozen=True)
class VerificationResult:
    """Figures of one protocol; `notes` say what was done about images without a face."""

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
        figures = self.figures
        lines = [f"{self.protocol}, {self.embedding}: {figures.n_same} pairs of one person, {figures.n_other} of two"]
        if figures.accuracy is not None:
            lines.append(f"accuracy {figures.accuracy:.4f} ± {figures.accuracy_std:.4f} over {N_FOLDS} folds")
        lines.append(f"AUC {figures.auc:.4f}, equal error rate {figures.eer:.4f}")
        lines += [f"TAR {tar:.4f} at FAR {far:g}" for far, tar in sorted(figures.tar.items())]
        return "\n".join([*lines, *self.notes])


def verify(
    protocol: str, place: Path, request: VerificationRequest, plot: Path | None = None, progress: Any = None
) -> VerificationResult:
    """Verify by a protocol.

    Args:
        protocol: "lfw": a folder of people with `pairs.txt`; "bin": a file of insightface's; "ijbb": a folder with `meta/` and
            `loose_crop/`; "people": a folder of a subfolder a person, or a data set folder.
        place: the folder or file.
        request: how.
        plot: a PNG file for the ROC.
        progress: called with images done and in all.

    Raises:
        ConfigError: an unknown protocol or a number out of range.
        DataError: lists or images that cannot be used.
        WeightsError: an embedding that cannot be used.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(no_such("protocol", protocol, PROTOCOLS))
    request.check()
    if plot is not None:
        check_ending(plot, ".png")
    embedding = load_embedding(request.identity, request.device)
    scores, same, notes = PROTOCOLS[protocol](Path(place), embedding, request, progress)
    figures = verification_figures(scores, same, request.fars)
    if plot is not None:
        plot_rocs({embedding.name: [roc(scores, same)]}, plot, f"{protocol}, {len(same)} pairs")
    return VerificationResult(protocol, figures, embedding.name, embedding.provenance, tuple(notes), scores, same)


# Cosines (n,) of the pairs, whether both images show one person (n,), and notes.
PairScores = tuple[np.ndarray, np.ndarray, list[str]]


def _lfw(place: Path, embedding: Embedding, request: VerificationRequest, progress: Any) -> PairScores:
    pairs = read_pairs(request.pairs_file or place / "pairs.txt")
    paths = find_listed_images(place, pairs.images)
    features, found = embed_all(
        embedding,
        with_stamps(pairs.images, paths),
        lambda i: prepare(paths[i], CROP_SIZE, "detect").crop,
        request.cache,
        progress,
        instead=lambda i: centre_crop(paths[i]),  # where LFW has the face: every pair counts in this protocol
    )
    scores = match_scores(features[pairs.first], features[pairs.second])
    notes = [] if found.all() else [f"{(~found).sum()} of {len(paths)} images cut by the middle: no face was detected"]
    return scores, np.array(pairs.same), notes


def centre_crop(path: Path) -> np.ndarray:
    """The part of an LFW image where its face lies, uint8 (128, 128, 3)."""
    image = load_photo(path).image
    box = tuple(round(share * side) for share, side in zip(_LFW_FACE, image.size * 2, strict=True))
    return np.asarray(image.crop(box).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.LANCZOS))  # type: ignore[arg-type]


def _bin(place: Path, embedding: Embedding, request: VerificationRequest, progress: Any) -> PairScores:
    images, same = read_bin(place)
    names = [f"{place.name}#{i}" for i in range(len(images))]
    stamped = with_stamps(names, [place] * len(names))
    features, _ = embed_all(embedding, stamped, lambda i: aligned_crop(images[i], names[i]), request.cache, progress)
    return match_scores(features[0::2], features[1::2]), same, []


def aligned_crop(data: bytes, name: str) -> np.ndarray:
    """A face that insightface aligned, encoded, 112 x 112 pixels, as a crop uint8 (128, 128, 3).

    Raises:
        DataError: no image, or one of many pixels.
    """
    try:
        pixels = decode_rgb(data, f"image {name}", _MAX_BIN_PIXELS)
    except ImageError as error:
        raise DataError(str(error)) from error
    scale = pixels.shape[0] / 112
    return warp(pixels, fit_similarity(INPUT_POINTS * scale, CROP_POINTS * CROP_SIZE), CROP_SIZE)


def _ijbb(place: Path, embedding: Embedding, request: VerificationRequest, progress: Any) -> PairScores:
    lists = read_ijbb(place)

    known = np.isfinite(lists.points).all(2)  # (n, 5)
    aligned = known.sum(1) > 1
    if not aligned.all() and (lists.boxes is None or not np.isfinite(lists.boxes[~aligned]).all()):
        lost = next(k for k in np.flatnonzero(~aligned) if lists.boxes is None or not np.isfinite(lists.boxes[k]).all())
        raise DataError(f"a face of {lists.images[lost]} has neither two points nor a box: the protocol cannot be carried out")

    def crop_at(index: int) -> np.ndarray:
        pixels = np.asarray(load_photo(lists.images[index]).image)
        if aligned[index]:
            own, points = known[index], lists.points[index] + 0.5
            return warp(pixels, fit_similarity(points[own], CROP_POINTS[own] * CROP_SIZE), CROP_SIZE)
        assert lists.boxes is not None
        return warp(pixels, fit_similarity(_corners(lists.boxes[index]), _IJBB_BOX * CROP_SIZE), CROP_SIZE)

    faces = range(len(lists.images))
    names = with_stamps([_face_name(place, lists, k) for k in faces], lists.images)
    features, _ = embed_all(embedding, names, crop_at, request.cache, progress)
    templates = template_features(features, lists.template, lists.medium)
    pairs = Pairs(templates.rows_of(lists.first), templates.rows_of(lists.second), lists.same)
    notes = [f"{len(templates.ids)} templates of {len(names)} images"]
    if not aligned.all():
        notes.append(f"{(~aligned).sum()} faces without the points of both eyes are cut by their box")
    return score_pairs(templates.features, pairs), lists.same, notes


def _face_name(place: Path, lists: TemplateLists, index: int) -> str:
    """The name of a face's features: that of its image, and where an image shows several faces its box."""
    if lists.boxes is None:
        return lists.images[index].name
    return f"{lists.images[index].relative_to(place).as_posix()} {' '.join(f'{value:g}' for value in lists.boxes[index])}"


def _corners(box: np.ndarray) -> np.ndarray:
    """The middles of the upper and lower edge, (2, 2), of a box as high as its longer side."""
    left, top, width, height = box
    x, y, half = left + width / 2, top + height / 2, max(width, height) / 2
    return np.array([[x, y - half], [x, y + half]])


def _people(place: Path, embedding: Embedding, request: VerificationRequest, progress: Any) -> PairScores:
    names, people, crop_at = _own_people(place, request.split)
    pairs = draw_pairs(people, request.n_pairs, np.random.default_rng(request.seed))
    used, at = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    features, found = embed_all(embedding, [names[i] for i in used], lambda i: crop_at(int(used[i])), request.cache, progress)
    first, second = np.split(at, 2)
    whole = found[first] & found[second]
    notes = [f"{len(np.unique(people))} people, {len(names)} images, seed {request.seed}"]
    if not whole.all():
        notes.append(f"{(~found).sum()} images without a face left out, with {(~whole).sum()} pairs")
    return match_scores(features[first[whole]], features[second[whole]]), pairs.same[whole], notes


def _own_people(place: Path, split: str) -> tuple[list[str], np.ndarray, CropAt]:
    """Names of the images, numbers of the people, and how to get a crop."""
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

    names = [image.inside for image in images]
    return with_stamps(names, [image.path for image in images]), people, crop_at


PROTOCOLS: dict[str, Callable[[Path, Embedding, VerificationRequest, Any], PairScores]] = {
    "lfw": _lfw, "bin": _bin, "ijbb": _ijbb, "people": _people,
}  # fmt: skip


# Identity features of many images, a block at a time, kept on disk so that the same command again goes on where it stopped.


BLOCK = 256


def embed_all(
    embedding: Embedding,
    names: Sequence[str],
    crop_at: CropAt,
    cache: Path | None = None,
    progress: Progress | None = None,
    instead: CropAt | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed images.

    Args:
        embedding: by what.
        names: of the images, with something that changes when an image does: a cache is of one list of names and one embedding.
        crop_at: gives the crops, in threads.
        cache: folder for the blocks; None keeps nothing.
        progress: called after each block.
        instead: gives the crops of images without a face; None leaves them out.

    Returns:
        unit features (n, d) float32, zero where an image is left out, and whether it has a face (n,) bool.

    Raises:
        DataError: no images, no face at all, or a cache of other images or another embedding.
        LeganError: another process fills the cache.
    """
    if not names:
        raise DataError("there are no images to embed")
    cv2.setNumThreads(1)  # OpenCV's own threads would fight with ours
    blocks = []
    with nullcontext() if cache is None else held_folder(make_folder(cache)):
        if cache is not None:
            _open(Path(cache), embedding, names)
        for start in range(0, len(names), BLOCK):
            end = min(start + BLOCK, len(names))
            path = None if cache is None else Path(cache) / f"{start:08d}.npz"
            is_kept = path is not None and path.exists()
            blocks.append(_read(path) if path and is_kept else _made(embedding, crop_at, instead, range(start, end), path))
            if progress:
                progress(end, len(names))
    width = max(features.shape[1] for features, _ in blocks)
    if not width:
        raise DataError(f"no face found in any of {len(names)} images: faces must be seen from the front")
    wide = [features if features.shape[1] else np.zeros((len(found), width), np.float32) for features, found in blocks]
    return np.concatenate(wide), np.concatenate([found for _, found in blocks])


def with_stamps(names: Sequence[str], paths: Sequence[Path | Place]) -> list[str]:
    """Return names with the size and the time of their files, which change when an image does."""
    return [f"{name} {file_stamp(path)}" for name, path in zip(names, paths, strict=True)]


def _made(
    embedding: Embedding, crop_at: CropAt, instead: CropAt | None, numbers: range, path: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    with ThreadPoolExecutor(N_THREADS) as pool:
        crops = list(pool.map(crop_at, numbers))
    found = np.array([crop is not None for crop in crops])
    if instead is not None:
        crops = [instead(i) if crop is None else crop for i, crop in zip(numbers, crops, strict=True)]
    used = np.array([crop is not None for crop in crops])
    rows = embedding.embed([Image.fromarray(crop) for crop in crops if crop is not None]) if used.any() else np.zeros((0, 0))
    features = np.zeros((len(crops), rows.shape[1]), np.float32)
    if used.any():
        features[used] = rows
    if path is not None:
        with atomic_write(path) as file:
            np.savez(file, features=features, found=found)
    return features, found


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as block:
            return block["features"], block["found"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}): delete it and run the same command again") from error


def _open(cache: Path, embedding: Embedding, names: Sequence[str]) -> None:
    stamp = {
        "embedding": embedding.name,
        "sha256": embedding.provenance.get("sha256", ""),
        "pictures": hashlib.sha256("\n".join(map(utf8_name, names)).encode()).hexdigest(),
    }
    path = cache / "features.json"
    try:
        known = parse_json(path.read_text(encoding="utf-8")) if path.exists() else stamp
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete {cache} and run the same command again") from error
    if known != stamp and any(cache.glob("*.npz")):
        raise DataError(f"{cache} holds features of other images or another embedding: name another folder, or delete it")
    write_atomic(path, json.dumps(stamp).encode())


# Images of ROC curves: one line a curve, or a mean line in a band where there are several of one kind.


_COLOURS = ("#23211d", "#a3480f", "#2d6a8f", "#6b8f2d", "#8f2d6b", "#777777")
_LEAST = 1e-4


def plot_rocs(curves: Mapping[str, Sequence[Roc]], path: Path, title: str = "", least: float = _LEAST) -> None:
    """Draw TAR over FAR, the latter on a logarithmic axis, as a PNG file.

    Args:
        curves: by name; several of one name, such as of several seeds, become their mean and a band of one standard deviation.
        path: the file.
        title: above it.
        least: smallest FAR shown.

    Raises:
        ConfigError: a name that does not end in .png.
        LeganError: the place cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_ending(path, ".png")
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    far = np.logspace(np.log10(least), 0, 200)
    for colour, (name, rocs) in zip(_COLOURS * len(curves), curves.items(), strict=False):
        tars = np.stack([tar_over(curve, far) for curve in rocs])
        mean, std = tars.mean(0), tars.std(0)
        axes.plot(far, mean, color=colour, label=name, linewidth=1.4)
        if len(tars) > 1:
            axes.fill_between(far, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", xlim=(least, 1), ylim=(0, 1.01), xlabel="FAR", ylabel="TAR", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    make_folder(Path(path).parent)
    with atomic_write(Path(path)) as file:
        FigureCanvasAgg(figure).print_png(file)


def tar_over(curve: Roc, far: np.ndarray) -> np.ndarray:
    """Largest TAR (n,) whose FAR is at most each of `far` (n,)."""
    return curve.tar[np.searchsorted(curve.far, far, side="right") - 1]
