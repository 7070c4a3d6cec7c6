"""`legan import`: public sets of real and fake faces as a data set folder of aligned crops; run again, it continues."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from legan.core.errors import ConfigError, DataError, FaceError, ImageError
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE, transform
from legan.core.images import load_photo
from legan.core.listing import utf8_name
from legan.core.workers import run_jobs
from legan.data.manifest import QUALITY_COLUMNS, ShardWriter, read_record, split_of, write_manifest
from legan.data.public.affectnet import read_affectnet
from legan.data.public.casia_webface import read_casia_webface
from legan.data.public.faceforensics import read_faceforensics
from legan.data.public.folder import read_expressions, read_folder, read_people
from legan.data.public.layout import SourceImage
from legan.data.public.lfw import read_lfw
from legan.data.public.progan import read_progan
from legan.data.public.stylegan import read_stylegan
from legan.data.shards import SHARDS, clear_set_folder, open_set_folder
from legan.faces.align import align
from legan.faces.detect import MIN_FACE_SIDE, detect_largest

# Layouts that are known by name; any other name is a folder of what that name made.
READERS: dict[str, Callable[[Path], list[SourceImage]]] = {
    "affectnet": read_affectnet,
    "casia-webface": read_casia_webface,
    "expressions": read_expressions,
    "faceforensics": read_faceforensics,
    "lfw": read_lfw,
    "people": read_people,
    "progan": read_progan,
    "stylegan": read_stylegan,
}
_ROWS = "rows.json"
_IMAGES_OF_SHARD = 100

Progress = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True)
class Batch:
    """Images that are aligned and written together."""

    path: Path
    source: str
    licence: str
    images: list[tuple[SourceImage, str, str]]  # with name in the shard and split


def parse_source(text: str) -> tuple[str, Path]:
    """Split `NAME=DIR`.

    Raises:
        ConfigError: no such form.
    """
    name, found, folder = text.partition("=")
    if not found or not name or not folder:
        raise ConfigError(
            f"cannot read '{text}': write NAME=DIR, such as stylegan=samples/; NAME is photo, {', '.join(READERS)} or your own"
        )
    return name, Path(folder)


def import_faces(
    name: str,
    folder: Path,
    out: Path,
    limit: int | None = None,
    n_workers: int = 1,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Align the largest face of each image of a public set and write a data set folder.

    Args:
        name: one of `READERS`: by that layout; "photo" or any other name: a folder of images of that kind.
        folder: where the images are.
        out: the data set folder; made when missing.
        limit: images to take, spread evenly; None takes all.
        n_workers: processes.
        licence: of the images, for the manifest.
        progress: called with images done and in all.

    Returns:
        `manifest`, `n_images`, `by_setting`, and `left_out` {reason: number of images}.

    Raises:
        DataError: no images in this layout, no face in any of them, or `out` holds something else.
    """
    if n_workers < 1 or (limit is not None and limit < 1):
        raise ConfigError("workers and limit must be at least 1")
    images = READERS[name](folder) if name in READERS else read_folder(folder, name)
    if limit is not None and limit < len(images):
        images = [images[step * len(images) // limit] for step in range(limit)]
    with open_set_folder(Path(out), _settings(name, Path(folder), images, licence)):
        batches = _batches(Path(out), images, Path(folder), name, licence)
        missing = [batch for batch in batches if not batch.path.exists()]
        n_done = len(images) - sum(len(batch.images) for batch in missing)
        if progress:
            progress(n_done, len(images))
        for n_made in run_jobs(_align_batch, missing, n_workers, _start_worker):
            n_done += n_made
            if progress:
                progress(n_done, len(images))
        left_out: Counter[str] = Counter()
        by_setting: Counter[str] = Counter()

        def rows() -> Iterator[dict[str, Any]]:
            for batch in batches:
                found = read_record(batch.path, _ROWS)
                left_out.update(found["left_out"])
                by_setting.update(row["setting"] for row in found["rows"])
                yield from found["rows"]

        manifest = write_manifest(rows(), Path(out), QUALITY_COLUMNS)
        if not by_setting:
            manifest.unlink()
            clear_set_folder(Path(out))
            raise DataError(f"no image in {folder} could be used ({', '.join(left_out)}): name other images")
        counts = {"n_images": by_setting.total(), "by_setting": dict(sorted(by_setting.items())), "left_out": dict(left_out)}
        return {"manifest": str(manifest), **counts}


def _settings(name: str, folder: Path, images: Sequence[SourceImage], licence: str) -> dict[str, Any]:
    """What the set depends on, without this machine's paths."""
    return {
        "import": name,
        "folder": utf8_name(folder.resolve().name),
        "n": len(images),
        "licence": licence,
        "pictures": _digest_of(images, folder),
    }


def source_digest(name: str, folder: Path) -> str:
    """Return a digest of all images that `import_faces` would read: it changes with their names and with their contents.

    Raises:
        DataError: no images in this layout.
    """
    return _digest_of(READERS[name](folder) if name in READERS else read_folder(folder, name), folder)


def _digest_of(images: Sequence[SourceImage], folder: Path) -> str:
    # Lists name images that are not there, which are counted as unreadable.
    contents = (sha256_of(image.path) if image.path.is_file() else None for image in images)
    names = (utf8_name(image.path.relative_to(folder).as_posix()) for image in images)
    pictures = list(zip(names, contents, strict=True))
    return hashlib.sha256(json.dumps(pictures).encode()).hexdigest()


def _batches(out: Path, images: Sequence[SourceImage], folder: Path, name: str, licence: str) -> list[Batch]:
    people = {identity: number for number, identity in enumerate(dict.fromkeys(image.identity for image in images))}
    pictures = [
        (image, f"{image.kind}-{number:06d}.png", image.split or split_of(people[image.identity], len(people)))
        for number, image in enumerate(images)
    ]
    return [
        Batch(out / SHARDS / f"{name}-{start // _IMAGES_OF_SHARD:04d}.tar", utf8_name(folder.resolve().name), licence,
              pictures[start : start + _IMAGES_OF_SHARD])
        for start in range(0, len(pictures), _IMAGES_OF_SHARD)
    ]  # fmt: skip


def _start_worker() -> None:
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _align_batch(batch: Batch) -> int:
    rows, left_out = [], []
    with ShardWriter(batch.path) as writer:
        for image, key, split in batch.images:
            try:
                crop, landmarks, matrix = _aligned(image)
            except (ImageError, FaceError) as error:
                left_out.append("no face found" if isinstance(error, FaceError) else "not readable")
                continue
            buffer = io.BytesIO()
            crop.save(buffer, "PNG")
            data = buffer.getvalue()
            offset, n_bytes = writer.add(key, data)
            rows.append(
                _row(batch, image, split)
                | {"offset": offset, "n_bytes": n_bytes, "key": key, "sha256": hashlib.sha256(data).hexdigest()}
                | {"landmarks": landmarks, "alignment": matrix}
            )
        writer.add(_ROWS, json.dumps({"rows": rows, "left_out": left_out}).encode())
    return len(batch.images)


def _aligned(image: SourceImage) -> tuple[Image.Image, list[float], list[float]]:
    """The crop of the largest face, or of the data set's own landmarks, these in crop pixels, and the numbers of the alignment."""
    photo, landmarks = load_photo(image.path), image.landmarks
    if landmarks is None:
        faces = detect_largest(photo.image)
        if not faces:
            raise FaceError(f"no face of {MIN_FACE_SIDE} pixels in {image.path}")
        landmarks = faces[0].landmarks
    crop = align(photo.image, landmarks, CROP_SIZE)
    points = transform(crop.matrix, landmarks)
    return crop.image, [round(float(value), 3) for value in points.ravel()], [float(value) for value in crop.matrix.ravel()]


def _row(batch: Batch, image: SourceImage, split: str) -> dict[str, Any]:
    return {
        "path": f"{SHARDS}/{batch.path.name}",
        "identity": image.identity,
        "expression": image.expression,
        "lighting": "",
        "domain": "photo" if image.kind == "photo" else "generated",
        "split": split,
        "source": batch.source,
        "licence": batch.licence,
        "kind": image.kind,
        "setting": image.setting,
        "fault": 0.0 if image.kind == "photo" else float("nan"),  # nobody designed it
        "degradation": "none",
        "strength": 0.0,
        "reference": "",
        "naturalness_distance": float("nan"),
    }
