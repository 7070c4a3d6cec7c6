"""`legan import`: public sets of real and fake faces as a data set folder of aligned crops; run again, it continues."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.core.errors import ConfigError, DataError, FaceError, ImageError
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE, transform
from legan.core.images import load_photo, png_bytes
from legan.core.inputs import folder_at, name_of
from legan.core.listing import utf8_name
from legan.core.places import Place, is_address
from legan.core.workers import Progress, RunJobs, begin_item
from legan.data.manifest import QUALITY_COLUMNS, split_of, write_manifest
from legan.data.public.affectnet import read_affectnet
from legan.data.public.casia_webface import read_casia_webface
from legan.data.public.celeba import read_celeba
from legan.data.public.faceforensics import read_faceforensics
from legan.data.public.folder import read_conditions, read_expressions, read_folder, read_people
from legan.data.public.layout import SourceImage
from legan.data.public.lfw import read_lfw
from legan.data.public.multipie import read_multipie
from legan.data.public.progan import read_progan
from legan.data.public.rafd import read_rafd
from legan.data.public.stylegan import read_stylegan
from legan.data.shards import ShardJob, ShardMaker, ShardWriter, clear_set_folder, open_set_folder
from legan.faces.align import align
from legan.faces.detect import MIN_FACE_SIDE, detect_largest

# Layouts that are known by name; any other name is a folder of what that name made.
READERS: dict[str, Callable[[Path], list[SourceImage]]] = {
    "affectnet": read_affectnet,
    "casia-webface": read_casia_webface,
    "celeba": read_celeba,
    "faceforensics": read_faceforensics,
    "lfw": read_lfw,
    "multipie": read_multipie,
    "progan": read_progan,
    "rafd": read_rafd,
    "stylegan": read_stylegan,
}
# Layouts of any folder, also of tar shards, Parquet manifests and addresses.
FOLDER_READERS: dict[str, Callable[[str | Path], list[SourceImage]]] = {
    "conditions": read_conditions,
    "expressions": read_expressions,
    "people": read_people,
}
ATTRIBUTES = {"attributes": "string"}  # a further column of sets that have such: names with spaces between
_IMAGES_OF_SHARD = 100


def parse_source(text: str) -> tuple[str, str]:
    """Split `NAME=DIR`.

    Raises:
        ConfigError: no such form.
    """
    name, found, folder = text.partition("=")
    if not found or not name or not folder:
        known = ", ".join(sorted({*READERS, *FOLDER_READERS}))
        raise ConfigError(
            f"cannot read '{text}': write NAME=DIR, such as stylegan=samples/; NAME is photo, {known} or your own"
        )
    return name, folder


def import_faces(
    name: str,
    folder: str | Path,
    out: Path,
    limit: int | None = None,
    n_workers: int = 1,
    licence: str = "unknown",
    progress: Progress | None = None,
    run: RunJobs | None = None,
) -> dict[str, Any]:
    """Align the largest face of each image of a public set and write a data set folder.

    Args:
        name: one of `READERS` or `FOLDER_READERS`: by that layout; "photo" or any other name: a folder of images of that kind.
        folder: where the images are; for names other than `READERS` also a tar shard, a Parquet manifest or an address, as for
            `legan.core.inputs.find_inputs`.
        out: the data set folder; made when missing.
        limit: images to take, spread evenly; None takes all.
        n_workers: processes.
        licence: of the images, for the manifest.
        progress: called with images done and in all.
        run: what drives the workers; by default local processes (`run_jobs`).

    Returns:
        `manifest`, `n_images`, `by_setting`, and `left_out` {reason: number of images}.

    Raises:
        DataError: no images in this layout, no face in any of them, or `out` holds something else.
    """
    if n_workers < 1 or (limit is not None and limit < 1):
        raise ConfigError("workers and limit must be at least 1")
    images = _listed(name, folder)
    if limit is not None and limit < len(images):
        images = [images[step * len(images) // limit] for step in range(limit)]
    source = name_of(folder)
    jobs = _jobs(name, images)
    with open_set_folder(out, _settings(name, folder, images, licence)) as builder:
        builder.make(jobs, partial(build_aligner, source, licence), n_workers, progress, run=run)
        left_out: Counter[str] = Counter()
        by_setting: Counter[str] = Counter()

        def rows() -> Iterator[dict[str, Any]]:
            for job in jobs:
                record = builder.record(job.name)
                left_out.update(record.facts["left_out"])
                by_setting.update(row["setting"] for row in record.rows)
                yield from record.rows

        attributes = ATTRIBUTES if any(image.attributes for image in images) else {}
        manifest = write_manifest(rows(), builder.out, QUALITY_COLUMNS | attributes)
        if not by_setting:
            manifest.unlink()
            clear_set_folder(builder.out)
            raise DataError(f"no image in {folder} could be used ({', '.join(left_out)}): name other images")
        counts = {"n_images": by_setting.total(), "by_setting": dict(sorted(by_setting.items())), "left_out": dict(left_out)}
        return {"manifest": str(manifest), **counts}


def _listed(name: str, folder: str | Path) -> list[SourceImage]:
    if name not in READERS:
        return FOLDER_READERS[name](folder) if name in FOLDER_READERS else read_folder(folder, name)
    found = folder_at(folder)
    if not isinstance(found, Path):
        raise DataError(
            f"the layout {name} is read from a folder of this machine: copy {folder} to one, or name photo={folder}"
        )
    return READERS[name](found)


def _settings(name: str, folder: str | Path, images: Sequence[SourceImage], licence: str) -> dict[str, Any]:
    """What the set depends on, without this machine's paths."""
    return {
        "import": name,
        "folder": name_of(folder),
        "n": len(images),
        "licence": licence,
        "pictures": _digest_of(images, folder),
    }


def source_digest(name: str, folder: str | Path) -> str:
    """Return a digest of all images that `import_faces` would read: it changes with their names and with their contents.

    Contents at addresses count by their stamps, as far as these are known, so that nothing is read twice.

    Raises:
        DataError: no images in this layout.
    """
    return _digest_of(_listed(name, folder), folder)


def _digest_of(images: Sequence[SourceImage], folder: str | Path) -> str:
    contents_by_name = [(utf8_name(image.inside or _inside(image.path, folder)), _content_of(image.path)) for image in images]
    return hashlib.sha256(json.dumps(contents_by_name).encode()).hexdigest()


def _inside(path: Path | Place, folder: str | Path) -> str:
    return path.relative_to(folder).as_posix() if isinstance(path, Path) else str(path)


def _content_of(path: Path | Place) -> str | None:
    """What stands for an image's content in a digest; None where a list names an image that is not there."""
    if isinstance(path, Place):
        is_far = is_address(path.file) and path.stamp
        return f"{path.stamp} {path.offset} {path.n_bytes}" if is_far else sha256_of(path)
    return sha256_of(path) if path.is_file() else None


def _jobs(name: str, images: Sequence[SourceImage]) -> list[ShardJob]:
    """Shards of images, each with its name in the shard and its split."""
    people = {identity: number for number, identity in enumerate(dict.fromkeys(image.identity for image in images))}
    contents = [
        (image, f"{image.kind}-{number:06d}.png", image.split or split_of(people[image.identity], len(people)))
        for number, image in enumerate(images)
    ]
    parts = [contents[start : start + _IMAGES_OF_SHARD] for start in range(0, len(contents), _IMAGES_OF_SHARD)]
    return [ShardJob(f"{name}-{number:04d}", part, len(part)) for number, part in enumerate(parts)]


def build_aligner(source: str, licence: str) -> ShardMaker:
    """A worker's maker of shards."""
    return partial(align_images, source, licence)


def align_images(
    source: str, licence: str, images: Sequence[tuple[SourceImage, str, str]], shard: ShardWriter
) -> dict[str, list[str]]:
    """Fill a shard with the crops of images; gives the reasons why others are left out, for the record."""
    left_out = []
    for index, (image, key, split) in enumerate(images):
        try:
            if reason := begin_item(index):
                raise ImageError(reason)
            crop, landmarks, matrix = _aligned(image)
        except (ImageError, FaceError) as error:
            left_out.append("no face found" if isinstance(error, FaceError) else "not readable")
            continue
        facts = _facts(image) | {"split": split, "source": source, "licence": licence}
        shard.add_image(key, png_bytes(np.asarray(crop)), facts | {"landmarks": landmarks, "alignment": matrix})
    return {"left_out": left_out}


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


def _facts(image: SourceImage) -> dict[str, Any]:
    """What the manifest says of an image by its source."""
    return {
        "identity": image.identity,
        "expression": image.expression,
        "lighting": image.lighting,
        "domain": "photo" if image.kind == "photo" else "generated",
        "kind": image.kind,
        "setting": image.setting,
        "fault": 0.0 if image.kind == "photo" else float("nan"),  # nobody designed it
        "degradation": "none",
        "strength": 0.0,
        "reference": "",
        "naturalness_distance": float("nan"),
        "attributes": " ".join(image.attributes),
    }
