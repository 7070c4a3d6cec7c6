"""dlib's embedding: our cut of the face is dlib's own."""

import dlib
import numpy as np
import pytest

from legan.core.errors import WeightsError
from legan.core.geometry import fit_similarity, inverse, transform
from legan.faces import embeddings as dlib_embedding
from legan.faces.embeddings import CHIP_PADDING, CHIP_POINTS, CHIP_SIZE, DlibEmbedder, model_path
from legan.faces.embeddings import DLIB_CROP_POINTS as DLIB_CROP_POINTS


def test_chips_are_cut_as_dlib_cuts_them() -> None:
    """dlib's alignment of the same five points, in a large image since it takes whole pixels."""
    side = 8192
    points = dlib.points([dlib.point(round(x), round(y)) for x, y in DLIB_CROP_POINTS * side])
    face = dlib.full_object_detection(dlib.rectangle(0, 0, side, side), list(points))
    details = dlib.get_face_chip_details(face, CHIP_SIZE, CHIP_PADDING)
    corners = transform(
        inverse(fit_similarity(DLIB_CROP_POINTS * side, CHIP_POINTS)), np.array([[0, 0], [CHIP_SIZE, CHIP_SIZE]])
    )
    rect = details.rect
    assert corners.ravel() == pytest.approx(
        [rect.left(), rect.top(), rect.right(), rect.bottom()], abs=0.002 * side
    )  # a quarter of a crop's pixel
    assert details.angle == pytest.approx(0, abs=1e-3)


def test_a_missing_model_file_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlib_embedding, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install legan\[identity\]"):
        model_path()


def test_a_file_that_is_no_model_is_refused(tmp_path) -> None:
    (tmp_path / "x.dat").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="no model"):
        DlibEmbedder(tmp_path / "x.dat")
