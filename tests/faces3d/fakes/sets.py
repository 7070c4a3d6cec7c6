"""A small set of drawn faces with landmarks, as `legan render` would lay it out."""

import json
from pathlib import Path

import numpy as np
from tests.face_sets import make_face_set
from tests.faces.face_images import frontal_landmarks

from legan.core.conditions import EXPRESSIONS
from legan.data.manifest import read_manifest, write_manifest
from legan_faces3d.render.dataset import RENDER_VERSION


def make_rendered_set(folder: Path, n_identities: int = 20, domain: str = "render", prefix: str = "d") -> Path:
    """Write drawn faces of 128 pixels, four lightings; the mouth's landmarks follow the expression, all a little the person."""
    make_face_set(folder, n_identities, size=128)
    frame = read_manifest(folder)
    rows = []
    for row in frame.to_dict("records"):
        points = landmarks_of(int(row["identity"][1:]), EXPRESSIONS.index(row["expression"]))
        identity = prefix + row["identity"][1:]
        rows.append(
            {**row, "landmarks": points.ravel().tolist(), "domain": domain, "identity": identity, "source": f"drawn {prefix}"}
        )
    write_manifest(rows, folder)
    (folder / "settings.json").write_text(json.dumps({"seed": 0, "view": "crop", "version": RENDER_VERSION}))
    return folder


def landmarks_of(identity: int, expression: int) -> np.ndarray:
    """Landmarks (68, 2) of a drawn face."""
    points = frontal_landmarks(41.6, (64.0, 52.5))
    points += np.random.default_rng(identity).normal(0, 0.5, 2).astype(np.float32)
    points[55:60, 1] += 1.5 * expression
    points[65:68, 1] += 1.5 * expression
    return points
