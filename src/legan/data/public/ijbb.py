"""IJB-B, 1:1 verification (Whitelam et al., CVPR Workshops 2017), in the lists that insightface and most papers use.

Layout: `meta/ijbb_face_tid_mid.txt` (image, template, medium), `meta/ijbb_template_pair_label.txt` (template, template, 1 or 0),
`meta/ijbb_name_5pts_score.txt` (image, five points x y, score of the detector), `loose_crop/<image>`. IJB-C is laid out likewise,
with `ijbc_` in the names. NIST gives the data to researchers on request.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from legan.core.errors import DataError
from legan.data.public.layout import lines_of, wrong_line

_WHAT = "a list of IJB-B, as insightface lays them out in meta/"


class TemplateLists(NamedTuple):
    """The images with template and medium, (n,) each; their five points (n, 5, 2) in pixels; and the pairs of templates with `same`."""

    images: list[Path]
    template: np.ndarray
    medium: np.ndarray
    points: np.ndarray
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def read_ijbb(folder: Path) -> TemplateLists:
    """Read the lists below a folder.

    Raises:
        DataError: a missing list or image, a line of another form (the message names file and line), or lists that do not fit.
    """
    folder = Path(folder)
    meta = folder / "meta"
    name = next((name for name in ("ijbb", "ijbc") if (meta / f"{name}_face_tid_mid.txt").is_file()), "ijbb")
    faces = _table(meta / f"{name}_face_tid_mid.txt", 3, "IMAGE TEMPLATE MEDIUM", text=True)
    points = _table(meta / f"{name}_name_5pts_score.txt", 12, "IMAGE, ten coordinates and a score", text=True)
    pairs = _table(meta / f"{name}_template_pair_label.txt", 3, "TEMPLATE TEMPLATE 1 or 0", text=False)
    if list(faces[0]) != list(points[0]):
        raise DataError(
            f"{name}_face_tid_mid.txt and {name}_name_5pts_score.txt in {meta} name other images: download both again"
        )
    labels = pairs[1][:, 2]
    if not np.isin(labels, (0, 1)).all():
        line = int(np.flatnonzero(~np.isin(labels, (0, 1)))[0]) + 1
        raise wrong_line(meta / f"{name}_template_pair_label.txt", line, str(labels[line - 1]), "TEMPLATE TEMPLATE 1 or 0")
    images = [folder / "loose_crop" / str(image) for image in faces[0]]
    absent = next((image for image in images if not image.is_file()), None)
    if absent is not None:
        raise DataError(f"{absent} does not exist: the lists name it; extract the images into {folder / 'loose_crop'}")
    numbers = pairs[1].astype(np.int64)
    coordinates = points[1][:, :10].reshape(-1, 5, 2)
    template, medium = faces[1].astype(np.int64).T
    return TemplateLists(images, template, medium, coordinates, numbers[:, 0], numbers[:, 1], numbers[:, 2].astype(bool))


def _table(path: Path, n_columns: int, form: str, text: bool) -> tuple[np.ndarray, np.ndarray]:
    """The first column as text where it is, and the others as numbers (n, columns). Millions of lines: the parser is pandas'."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist: it is {_WHAT}")
    kinds = {i: (str if text and i == 0 else float) for i in range(n_columns)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of a line that is too long, which would be cut off
            frame = pd.read_csv(
                path,
                sep=r"\s+",
                header=None,
                names=range(n_columns),
                dtype=kinds,
                na_filter=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError):
        raise _first_wrong(path, n_columns, form, text) from None
    if frame.empty or (frame.iloc[:, 0] == "").any():
        raise _first_wrong(path, n_columns, form, text)
    start = 1 if text else 0
    return frame.iloc[:, 0].to_numpy(), frame.iloc[:, start:].to_numpy(np.float64)


def _first_wrong(path: Path, n_columns: int, form: str, text: bool) -> DataError:
    """The error about the line on which the parser failed."""
    for number, line in lines_of(path, _WHAT):
        words = line.split()
        numbers = words[1:] if text else words
        if len(words) != n_columns or not all(_is_number(word) for word in numbers):
            return wrong_line(path, number, line, form)
    return DataError(f"{path} is empty: it is {_WHAT}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
