"""Q at work: scores of images, files and folders, and a loss for the training of any generator."""

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from legan.core.device import check_device, mixed_dtype
from legan.core.errors import ConfigError, DataError, ImageError, no_such
from legan.core.files import atomic_write, check_ending, file_stamp, make_folder, sha256_of
from legan.core.images import from_unit, image_list, resized, to_network
from legan.core.inputs import find_inputs
from legan.core.listing import utf8_name
from legan.core.places import Place
from legan.core.table import Journal, escaped
from legan.core.weights import weights_file
from legan.core.workers import Progress, RunJobs, check_workers, in_order, keep, kept, run_jobs, shown_progress
from legan.data.shards import SHARDS, open_set_folder
from legan.faces.align import CUT_FACE, FACES, Faces, ImageInput, Prepared, grouped, prepare_many, prepared_crop, unreadable
from legan.losses import unnaturalness
from legan.models.quality import (
    TOP_SCORE,
    FeatureQuality,
    QualityModel,
    QualityOutput,
    jittered,
    load_quality_net,
    wants_jitter,
)

# Q at work: scores of images and tensors, and a loss for anyone's GAN.
#
# legan.score("photo.jpg")  # 0 (unnatural) .. 10 (hyper-realistic)


Precision = Literal["auto", "bf16", "fp32"]
BATCH_SIZE = 64  # of images in a list
_AT_ONCE_CPU = (
    8  # images in the network, so that what lies between its layers stays in a processor's cache: a quarter of the time
)


class QualityScorer:
    """Scores aligned face crops: `scorer("photo.jpg")`, `scorer(tensor)`. Made by `load_quality`.

    Args:
        net: the network, in evaluation mode.
        metadata: what its weights file says about itself.
        checksum: SHA-256 of that file.
        device: where it runs.
        precision: "bf16", "fp32", or "auto": bfloat16 convolutions where the hardware has them (scores change by less than 0.05).

    Example:
        >>> scorer = legan.load_quality()
        >>> scorer(torch.rand(4, 3, 128, 128)).shape  # aligned crops
        torch.Size([4])
    """

    def __init__(
        self,
        net: QualityModel | FeatureQuality,
        metadata: Mapping[str, Any],
        checksum: str,
        device: str = "cpu",
        precision: Precision = "auto",
    ) -> None:
        self.device = torch.device(device)
        self.metadata, self.checksum = dict(metadata), checksum
        self.size = net.config.size
        self.dtype = mixed_dtype(precision, self.device) or torch.float32
        self.net = net.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.features.to(self.dtype)

    def __call__(self, image: Tensor | ImageInput | Sequence[ImageInput], faces: Faces = "auto") -> Any:
        """Score an image (a float), several (a list of floats, in batches), or a batch of aligned crops (a tensor).

        Args:
            image: a path, a PIL image or an array (H, W, 3), uint8 or floats in [0, 1], whose largest face is taken; a list of
                these, or an array (B, H, W, 3); or a float tensor (B, 3, H, W) in [0, 1] of aligned crops, scaled to the network's
                size, which gives back scores (B,).
            faces: as for `prepare`; images only.

        Raises:
            ImageError: a tensor or array of another shape or range, or an image that cannot be read.
            FaceError: no face in an image, or one that the photo cuts; of several, the message says in which.
        """
        if isinstance(image, Tensor):
            return self.predict(resized(from_unit(image), self.size)).score
        several = image_list(image)
        images: list[Any] = [image] if several is None else several
        if several is None:
            return float(self.predict_crops(np.stack([prepared_crop(images[0], self.size, faces, whole=True)])).score[0])
        crops = (prepared_crop(one, self.size, faces, f"image {i}", whole=True) for i, one in enumerate(images))
        return [value for group in grouped(crops, BATCH_SIZE) for value in self.predict_crops(np.stack(group)).score.tolist()]

    @torch.inference_mode()
    def predict_crops(self, crops: np.ndarray) -> QualityOutput:
        """Score crops, uint8 (B, size, size, 3); scores and spreads (B,) float32 on the CPU, scores within 0..10."""
        n = max(len(crops), 1)  # of no crops one part that is empty
        at_once = _AT_ONCE_CPU if self.device.type == "cpu" else n
        return _joined([self._predict_bytes(crops[i : i + at_once]) for i in range(0, n, at_once)])

    def _predict_bytes(self, crops: np.ndarray) -> QualityOutput:
        # Bytes go to the device and to the layout of the network without a float32 copy in between.
        x = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).to(self.dtype)
        return self._bounded(self.net.predict(x.div_(127.5).sub_(1)))

    @torch.inference_mode()
    def predict(self, x: Tensor) -> QualityOutput:
        """Score crops (B, 3, size, size) in [-1, 1], as `predict_crops`."""
        x = x.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        return _joined([self._bounded(self.net.predict(part)) for part in x.split(256)])

    def _bounded(self, output: QualityOutput) -> QualityOutput:
        spread = output.spread
        return QualityOutput(output.score.clamp(0, TOP_SCORE).cpu(), None if spread is None else spread.cpu())


def _joined(parts: Sequence[QualityOutput]) -> QualityOutput:
    spreads = [part.spread for part in parts if part.spread is not None]
    return QualityOutput(torch.cat([part.score for part in parts]), torch.cat(spreads) if spreads else None)


def load_quality(weights: str | Path | None = None, device: str = "cpu", precision: Precision = "auto") -> QualityScorer:
    """Return a scorer with the packaged weights, or with weights written by `legan train quality`.

    Args:
        weights: a file; "robust" and "simulated" are further packaged ones: adversarially trained, and of simulated raters.
        device: "cpu", "cuda", "mps".
        precision: "auto" is bfloat16 where the hardware multiplies it.

    Raises:
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have, or an unknown precision.

    Example:
        >>> scorer = legan.load_quality()
        >>> scores = scorer(["photo.jpg", "other.jpg"])
        >>> all(0 <= score <= 10 for score in scores)
        True
    """
    check_device(device)
    path = weights_file(weights, "quality")
    net, metadata = load_quality_net(path)
    return QualityScorer(net, metadata, sha256_of(path), device, precision)


def score(image: Any, faces: Faces = "auto", weights: str | Path | None = None) -> Any:
    """Score with a network that is loaded once and kept; arguments as in `QualityScorer.__call__` and `load_quality`.

    Example:
        >>> 0 <= legan.score("photo.jpg") <= 10
        True
    """
    return _kept_scorer(weights)(image, faces)


def score_crops(crops: Sequence[Image.Image]) -> Tensor:
    """Score aligned crops of one size with the packaged network, scaled to its size: (B,) float32 on the CPU."""
    scorer = _kept_scorer(None)
    return scorer.predict(resized(to_network(crops), scorer.size)).score


@lru_cache(maxsize=1)
def _kept_scorer(weights: str | Path | None) -> QualityScorer:
    return load_quality(weights)


class QualityLoss(nn.Module):
    """How unnatural generated faces look, for a generator to minimise: `loss = loss + weight * quality(fake)`.

    Frozen and differentiable. A mean over the batch, within 0 (natural) and 1, of `losses.unnaturalness`: it has a slope at every
    score and rewards nothing beyond the scale. Q on features is shown the images a little shifted, scaled and blurred at random
    (`jittered`, from PyTorch's random state), so that what fools it at one place is of no use at the next. Tensors of another size
    than the network's are scaled to it, with gradients.

    Args:
        weights: as for `load_quality`.
        value_range: of the images: (0, 1) by default, (-1, 1) for generators that end in tanh. Values outside are an error.

    Example:
        >>> quality = legan.QualityLoss(value_range=(-1, 1))
        >>> fake = torch.zeros(4, 3, 128, 128, requires_grad=True)  # of a generator that ends in tanh
        >>> (0.1 * quality(fake)).backward()
    """

    def __init__(self, weights: str | Path | None = None, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.net, self.metadata = load_quality_net(weights)
        self.low, self.high = value_range

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) of aligned faces within `value_range` -> a scalar in [0, 1].

        Raises:
            ImageError: another shape, values out of range, or no images, of which there is no mean.
        """
        if not len(images):
            raise ImageError("a batch of no images has no quality loss: leave such a batch out")
        return unnaturalness(self._scores(images, jitter=wants_jitter(self.net))).mean()

    def scores(self, images: Tensor) -> Tensor:
        """Return Q's scores (B,) of images as in `forward`, not clipped, with gradients."""
        return self._scores(images, jitter=False)

    def _scores(self, images: Tensor, jitter: bool) -> Tensor:
        x = resized(from_unit((images - self.low) / (self.high - self.low)), self.net.config.size)
        return self.net(jittered(x) if jitter else x)

    def train(self, mode: bool = True) -> "QualityLoss":
        """Stay in evaluation mode, whatever the network round it does."""
        return super().train(False)


# Score images and folders: how natural people would find each face, in order, resumable.


COLUMNS = ("image", "score", "spread", "reason")


@dataclass(frozen=True)
class ScoreResult:
    """An image's score (0..10) and the spread expected among raters; both NaN with a reason where there is no whole face."""

    image: str
    score: float
    spread: float
    reason: str = ""
    readable: bool = True

    def as_json(self) -> dict[str, object]:
        """As plain values; NaN becomes None, which JSON has a word for."""
        score, spread = (None if math.isnan(value) else round(value, 4) for value in (self.score, self.spread))
        return {"image": self.image, "score": score, "spread": spread, "reason": self.reason}

    def row(self) -> dict[str, str]:
        """As text for a table."""
        return {"image": self.image, "score": f"{self.score:.4f}", "spread": f"{self.spread:.4f}", "reason": self.reason}


def score_prepared(scorer: QualityScorer, group: Sequence[Prepared]) -> list[ScoreResult]:
    """Score one group of prepared images, in order."""
    import numpy as np

    crops = [one.crop for one in group if one.crop is not None and not one.is_cut]
    output = scorer.predict_crops(np.stack(crops)) if crops else None
    values = iter(zip(output.score.tolist(), _spreads(output.spread, len(crops)), strict=True)) if output else iter(())
    found = []
    for one in group:
        score, spread = next(values) if one.crop is not None and not one.is_cut else (math.nan, math.nan)
        reason = CUT_FACE if one.is_cut else one.reason
        found.append(ScoreResult(utf8_name(str(one.path)), score, spread, utf8_name(reason), one.readable))
    return found


def _spreads(spread: "object", n: int) -> list[float]:
    return [math.nan] * n if spread is None else spread.tolist()  # type: ignore[attr-defined]


def score_files(scorer: QualityScorer, paths: Iterable[Path | Place], faces: Faces = "auto") -> Iterator[list[ScoreResult]]:
    """Score files, a batch at a time, in the order of `paths`."""
    check_faces(faces)
    for group in grouped(prepare_many(paths, scorer.size, faces), BATCH_SIZE):
        yield score_prepared(scorer, group)


def score_images(
    given: Sequence[str | Path],
    out: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    faces: Faces = "auto",
    plot: Path | None = None,
    n_workers: int = 1,
    run: RunJobs | None = None,
) -> list[ScoreResult]:
    """Score images and folders of images.

    Args:
        given: images, folders, shards, manifests and addresses, as for `find_inputs`.
        out: a table that is written as the work goes on; images that it holds already are not scored again, unless they
            could not be read, or their files have changed since.
        weights, device: as for `load_quality`.
        faces: as for `prepare`.
        plot: a PNG file for a histogram of the scores.
        n_workers: processes; 1 works in this one, its networks in all its threads.
        run: what drives the workers; by default local processes (`run_jobs`).

    Raises:
        LeganError: no images, weights that cannot be used, a table of other weights, or one that another process writes.
    """
    check_faces(faces)
    if plot is not None:
        check_ending(plot, ".png")
    check_workers(n_workers)
    paths = list(dict.fromkeys(one.place for one in find_inputs(given)))
    # The machine that drives a cluster needs no GPU: it only learns here which weights they are.
    scorer = load_quality(weights, device if run is None else "cpu")
    names: dict[Path | Place, str] = {path: utf8_name(str(path)) for path in paths}
    with Journal(out, COLUMNS, {"weights": scorer.checksum[:12], "faces": faces}) as journal:
        todo = journal.missing({name: path for path, name in names.items()}, unreadable)
        with shown_progress("scoring", len(todo)) as advance:
            if run is None and n_workers == 1:  # in this process: images are decoded while the network works
                batches = score_files(scorer, todo, faces)
            else:
                jobs = enumerate((group, faces) for group in grouped(todo, BATCH_SIZE))
                load = partial(load_quality, weights, device)
                batches = in_order((run or run_jobs)(_score_job, jobs, n_workers, keep, (load,), apart=True))
            for batch in batches:
                journal.add(scored.row() for scored in batch)
                for _ in batch:
                    advance()
    rows = [journal.rows[name] for name in names.values()]
    found = [
        ScoreResult(row["image"], float(row["score"]), float(row["spread"]), row["reason"], not unreadable(row)) for row in rows
    ]
    if plot is not None:
        plot_histogram([scored.score for scored in found], plot)
    return found


def _score_job(job: tuple[int, tuple[Sequence[Path | Place], Faces]]) -> tuple[int, list[ScoreResult]]:
    """Runs in a worker."""
    number, (paths, faces) = job
    return number, [scored for batch in score_files(kept(), paths, faces) for scored in batch]


# Scores of any number of images as Parquet parts: nothing is kept in memory but the parts in work.


PART_SIZE = 512  # images of a part: what one job scores, and what is lost where a worker dies
_DIGEST, _LEFT_OUT = b"legan.images", "left_out.csv"


@dataclass(frozen=True)
class PartsResult:
    """What became of the images: how many there are, how many have a score, and why others have none; and where it is written."""

    out: Path
    n_images: int
    n_scored: int
    left_out: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"out": str(self.out), "n_images": self.n_images, "n_scored": self.n_scored, "left_out": dict(self.left_out)}

    def __str__(self) -> str:
        lines = [f"{self.n_scored} of {self.n_images} images scored: {self.out / SHARDS}"]
        lines += [f"left out: {count}, {reason}" for reason, count in self.left_out.items()]
        return "\n".join([*lines, *([f"which: {self.out / _LEFT_OUT}"] if self.left_out else [])])


def score_in_parts(
    given: Sequence[str | Path],
    out: Path,
    weights: Path | None = None,
    device: str = "cpu",
    faces: Faces = "auto",
    n_workers: int = 1,
    run: RunJobs | None = None,
    progress: Progress | None = None,
) -> PartsResult:
    """Score any number of images into a folder of Parquet files; run again, it continues.

    A part holds `PART_SIZE` images in the order of `given`: `image, score, spread, reason`, as the table of `score_images`. It is
    written once and whole; one whose images have changed since is made again. Images without a score are also listed in
    left_out.csv.

    Args:
        given: as for `find_inputs`. What is named twice is scored twice.
        out: the folder; its parts are in `shards/`.
        progress: called with images done, and listed so far.

    Other arguments as for `score_images`.

    Raises:
        LeganError: as `score_images`, or the folder holds something else, or scores of other weights.
    """
    check_faces(faces)
    check_workers(n_workers)
    scorer = load_quality(weights, device if run is None else "cpu")
    settings = {"made by": "score", "weights": scorer.checksum, "faces": faces}
    with open_set_folder(out, settings, besides={_LEFT_OUT}) as folder:
        parts = _Parts(folder.out / SHARDS)
        jobs = parts.missing(one.place for one in find_inputs(given, exclude=folder.out))
        numbered = ((number, (group, faces)) for number, group in jobs)
        if run is None and n_workers == 1:
            results = run_jobs(_score_job, numbered, 1, keep, (lambda: scorer,))
        else:
            load = partial(load_quality, weights, device)
            results = (run or run_jobs)(_score_job, numbered, n_workers, keep, (load,), apart=True)
        for number, found in results:
            parts.write(number, found)
            if progress:
                progress(parts.n_done, parts.n_listed)
        return parts.finish(folder.out)


class _Parts:
    """The parts in a folder, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_parts = self.n_listed = self.n_done = 0
        self._digests: dict[int, str] = {}  # of the parts in work

    def missing(self, images: Iterable[Path | Place]) -> Iterator[tuple[int, list[Path | Place]]]:
        """Yield number and images of each part that is not there, or was of other images."""
        for number, group in enumerate(grouped(images, PART_SIZE)):
            self.n_parts, self.n_listed = number + 1, self.n_listed + len(group)
            digest = hashlib.sha256("\n".join(f"{one} {file_stamp(one)}" for one in group).encode("utf-8", "surrogateescape"))
            if self._digest(number) == digest.hexdigest():
                self.n_done += len(group)
                continue
            self._digests[number] = digest.hexdigest()
            yield number, group

    def write(self, number: int, found: Sequence[ScoreResult]) -> None:
        """Write a part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: [getattr(one, name) for one in found] for name in COLUMNS}
        schema = pa.schema(
            [("image", pa.string()), ("score", pa.float64()), ("spread", pa.float64()), ("reason", pa.string())],
            metadata={_DIGEST: self._digests.pop(number).encode()},
        )
        with atomic_write(self._path(number)) as file:
            pq.write_table(pa.table(columns, schema), file)
        self.n_done += len(found)

    def finish(self, out: Path) -> PartsResult:
        """Take away parts beyond the last one, and list the images without a score."""
        import pyarrow.parquet as pq

        for path in self.folder.glob("*.parquet"):
            if int(path.stem) >= self.n_parts:
                path.unlink()
        reasons: Counter[str] = Counter()
        with atomic_write(out / _LEFT_OUT, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "reason"])
            for number in range(self.n_parts):
                for row in pq.read_table(self._path(number), columns=["image", "reason"]).to_pylist():
                    if row["reason"]:
                        reasons["cannot be read" if unreadable(row) else row["reason"].partition(":")[0]] += 1
                        writer.writerow(map(escaped, row.values()))
        return PartsResult(out, self.n_listed, self.n_listed - reasons.total(), dict(reasons))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"

    def _digest(self, number: int) -> str:
        """Of the images that the part on the disk is of; "" where there is none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return (pq.read_schema(self._path(number)).metadata or {}).get(_DIGEST, b"").decode()
        except FileNotFoundError:
            return ""
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self._path(number)} is damaged: delete it and run the same command again") from error


def as_csv(found: Sequence[ScoreResult]) -> str:
    """Scores as CSV text with a heading."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escaped(value) for name, value in scored.row().items()} for scored in found)
    return buffer.getvalue().rstrip("\n")


def in_words(found: Sequence[ScoreResult]) -> str:
    """Scores as lines for people: score, spread, image."""
    return "\n".join(
        f"{scored.image}: no score, {scored.reason}"
        if math.isnan(scored.score)
        else f"{scored.score:5.2f}" + ("" if math.isnan(scored.spread) else f" ±{scored.spread:.2f}") + f"  {scored.image}"
        for scored in found
    )


def plot_histogram(scores: Sequence[float], path: Path) -> None:
    """Draw how the scores are spread, as a PNG file.

    Raises:
        ConfigError: a name that does not end in .png.
        LeganError: the place cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_ending(path, ".png")
    known = [score for score in scores if not math.isnan(score)]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(known, bins=40, range=(0, TOP_SCORE), color="#a3480f")
    if known:
        mean = sum(known) / len(known)
        axes.axvline(mean, color="#23211d", linewidth=1)
        axes.annotate(f"mean {mean:.2f}", (mean, 0.93), (4, 0), xycoords=("data", "axes fraction"), textcoords="offset points")
    axes.set(
        xlim=(0, TOP_SCORE), xlabel="naturalness score", ylabel="images", title=f"{len(known)} of {len(scores)} images scored"
    )
    axes.spines[["top", "right"]].set_visible(False)
    make_folder(Path(path).parent)
    with atomic_write(Path(path)) as file:
        FigureCanvasAgg(figure).print_png(file)


def check_faces(faces: str) -> None:
    """Check a word for `faces`.

    Raises:
        ConfigError: an unknown one.
    """
    if faces not in FACES:
        raise ConfigError(no_such("--faces", faces, FACES))
