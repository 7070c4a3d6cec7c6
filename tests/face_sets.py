"""Small face data sets that the tests make: drawn faces whose mouth follows the expression and whose shading the light."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.geometry import EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.data.manifest import MATTE_COLUMNS, matte_columns, split_of, write_manifest
from legan.data.shards import ShardWriter


def draw_face(identity: int, expression: int, lighting: int, size: int) -> np.ndarray:
    """Return one face, uint8 (size, size, 3)."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    skin = np.random.default_rng(identity).uniform(90, 200, 3)
    side = (LIGHTINGS[lighting].azimuth or 0) / 90
    image = skin * (1 + 0.5 * side * (2 * x - 1))[..., None]
    for centre in (0.5 - EYE_DISTANCE / 2, 0.5 + EYE_DISTANCE / 2):
        image[(x - centre) ** 2 + (y - EYES_Y) ** 2 < 0.003] = 20
    image[((x - 0.5) / 0.15) ** 2 + ((y - MOUTH_Y) / (0.02 + 0.015 * expression)) ** 2 < 1] = (150, 30, 40)
    return image.clip(0, 255).round().astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def row(identity: str, expression: str, lighting: str, **others: object) -> dict[str, object]:
    """Return a manifest row with the usual entries of the tests."""
    return {
        "path": "", "offset": None, "n_bytes": None, "key": "", "identity": identity, "expression": expression,
        "lighting": lighting, "domain": "render", "split": "train", "source": "drawn", "licence": "CC0-1.0", "sha256": "",
        "alignment": None, "landmarks": None, **others,
    }  # fmt: skip


def make_face_set(
    folder: Path,
    n_identities: int = 10,
    size: int = 32,
    lightings: tuple[int, ...] = (0, 1, 7, 13),
    matte: np.ndarray | None = None,
    grain: float = 0.0,
) -> Path:
    """Write a data set folder of drawn faces, one shard an identity, all six expressions, and return it.

    `matte` is everybody's; `grain` is the standard deviation of noise, in levels.
    """
    (folder / "shards").mkdir(parents=True)
    rows = []
    for identity in range(n_identities):
        name = f"d{identity:03d}"
        with ShardWriter(folder / "shards" / f"{name}.tar") as shard:
            mattes = matte_columns(None if matte is None else shard.add("matte.png", png(matte)))
            for expression, expression_name in enumerate(EXPRESSIONS):
                for lighting in lightings:
                    image = draw_face(identity, expression, lighting, size)
                    if grain:
                        noise = np.random.default_rng([identity, expression, lighting]).normal(0, grain, image.shape)
                        image = (image + noise).clip(0, 255).astype(np.uint8)
                    data = png(image)
                    key = f"{name}_{expression_name}_{lighting:02d}.png"
                    offset, n_bytes = shard.add(key, data)
                    place = {"path": f"shards/{name}.tar", "offset": offset, "n_bytes": n_bytes, "key": key}
                    digest = hashlib.sha256(data).hexdigest()
                    place |= {"split": split_of(identity), "sha256": digest, **mattes}
                    rows.append(row(name, expression_name, f"{lighting:02d}", **place))
    write_manifest(rows, folder, MATTE_COLUMNS)
    return folder
