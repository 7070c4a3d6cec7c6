"""Identity features of many pictures, a block at a time, kept on disk so that the same command again goes on where it stopped."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from legan.apply.crops import N_THREADS
from legan.apply.embeddings import Embedding
from legan.core.errors import DataError
from legan.core.files import atomic_write, file_stamp, make_folder, write_atomic
from legan.core.lock import held_folder
from legan.core.names import utf8_name
from legan.core.plain import parse_json

BLOCK = 256

CropAt = Callable[[int], "np.ndarray | None"]  # the crop uint8 (S, S, 3) of a picture by its number, or None: no face
Progress = Callable[[int, int], None]  # pictures done, pictures in all


def embed_all(
    embedding: Embedding,
    names: Sequence[str],
    crop_at: CropAt,
    cache: Path | None = None,
    progress: Progress | None = None,
    instead: CropAt | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed pictures.

    Args:
        embedding: by what.
        names: of the pictures, with something that changes when a picture does: a cache is of one list of names and one embedding.
        crop_at: gives the crops, in threads.
        cache: folder for the blocks; None keeps nothing.
        progress: called after each block.
        instead: gives the crops of pictures without a face; None leaves them out.

    Returns:
        unit features (n, d) float32, zero where a picture is left out, and whether it has a face (n,) bool.

    Raises:
        DataError: no pictures, no face at all, or a cache of other pictures or another embedding.
        LeganError: another process fills the cache.
    """
    if not names:
        raise DataError("there are no pictures to embed")
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
        raise DataError(f"no face found in any of {len(names)} pictures: faces must be seen from the front")
    wide = [features if features.shape[1] else np.zeros((len(found), width), np.float32) for features, found in blocks]
    return np.concatenate(wide), np.concatenate([found for _, found in blocks])


def with_stamps(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return names with the size and the time of their files, which change when a picture does."""
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
        raise DataError(f"{cache} holds features of other pictures or another embedding: name another folder, or delete it")
    write_atomic(path, json.dumps(stamp).encode())
