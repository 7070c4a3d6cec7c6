"""IJB-B, 1:1 verification (Whitelam et al., CVPR Workshops 2017), as NIST distributes it, or in the lists of insightface.

NIST's layout: `protocol/ijbb_1N_gallery_S1.csv`, `..._S2.csv` and `protocol/ijbb_1N_probe_mixed.csv` (a face a row: template, person,
image, sighting, box, and eyes and nose where they were seen), `protocol/ijbb_11_S1_S2_matches.csv` (two templates a row, no heading),
and the images below the folder as the rows name them (`img/`, `frames/`). The faces of one sighting are one medium.

insightface's, which most papers use: `meta/ijbb_face_tid_mid.txt` (image, template, medium), `meta/ijbb_template_pair_label.txt` (template,
template, 1 or 0), `meta/ijbb_name_5pts_score.txt` (image, five points x y, score of the detector), `loose_crop/<image>`. IJB-C is laid
out likewise there, with `ijbc_` in the names. NIST gives the data to researchers on request.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from legan.core.errors import DataError
from legan.core.files import path_inside
from legan.data.public.layout import lines_of, wrong_line

if TYPE_CHECKING:
    import pandas as pd

_WHAT = "a list of IJB-B, as insightface lays them out in meta/"


_PROTOCOL = "a file of IJB-B's protocol, as NIST distributes it"
_MATCHES = "ijbb_11_S1_S2_matches.csv"
_TEMPLATES = ("ijbb_1N_gallery_S1.csv", "ijbb_1N_gallery_S2.csv", "ijbb_1N_probe_mixed.csv")
# The columns of NIST's files that are read, with the names of its releases.
_COLUMNS = {
    "template": ("TEMPLATE_ID",), "person": ("SUBJECT_ID",), "image": ("FILENAME", "FILE"), "medium": ("SIGHTING_ID",),
    "left": ("FACE_X",), "top": ("FACE_Y",), "width": ("FACE_WIDTH",), "height": ("FACE_HEIGHT",),
    "right_eye_x": ("RIGHT_EYE_X",), "right_eye_y": ("RIGHT_EYE_Y",), "left_eye_x": ("LEFT_EYE_X",), "left_eye_y": ("LEFT_EYE_Y",),
    "nose_x": ("NOSE_X", "NOSE_BASE_X"), "nose_y": ("NOSE_Y", "NOSE_BASE_Y"),
}  # fmt: skip


class TemplateLists(NamedTuple):
    """The faces of templates, and the pairs of templates to compare.

    `images` with `template` and `medium`, (n,) each; `points` (n, 5, 2) in pixels: eye at the image's left, other eye, nose, corners of the
    mouth, NaN where unknown; `boxes` (n, 4) left, top, width, height in pixels where the lists give them; `first` and `second` (m,)
    templates, `same` whether they are of one person.
    """

    images: list[Path]
    template: np.ndarray
    medium: np.ndarray
    points: np.ndarray
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    boxes: np.ndarray | None = None


def read_ijbb(folder: Path) -> TemplateLists:
    """Read the lists below a folder: NIST's where it has `protocol/`, else insightface's in `meta/`.

    Raises:
        DataError: a missing list or image, a line of another form (the message names file and line), or lists that do not fit.
    """
    folder = Path(folder)
    return _read_nist(folder) if (folder / "protocol" / _MATCHES).is_file() else _read_insightface(folder)


def _read_nist(folder: Path) -> TemplateLists:
    """The galleries and the mixed probes, and their matches; each template's faces once."""
    import pandas as pd

    frame = pd.concat([_faces(folder / "protocol" / name) for name in _TEMPLATES], ignore_index=True)
    frame = frame.drop_duplicates(["template", "image", "person", "left", "top"])
    people = frame.groupby("template")["person"].agg(["first", "nunique"])
    if (people["nunique"] > 1).any():
        raise DataError(
            f"template {people['nunique'].idxmax()} in {folder / 'protocol'} shows more than one person: get the files from NIST again"
        )
    matches = folder / "protocol" / _MATCHES
    try:
        pairs = pd.read_csv(
            matches, header=None, names=["first", "second"], index_col=False, dtype=np.int64, encoding="utf-8-sig"
        )
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(
            f"{matches} cannot be read ({error}): a line is two numbers of templates; get it from NIST again"
        ) from None
    unknown = np.setdiff1d(pairs.to_numpy(), people.index.to_numpy())
    if len(unknown):
        raise DataError(
            f"{matches} names the template {unknown[0]}, of which {', '.join(_TEMPLATES)} have no face: get them from NIST again"
        )
    names = frame["image"].unique()
    absent = next((folder / name for name in names if not path_inside(folder, name).is_file()), None)
    if absent is not None:
        raise DataError(f"{absent} does not exist: the protocol names it; extract img/ and frames/ into {folder}")
    eyes_and_nose = frame[[name for name in _COLUMNS if "_x" in name or "_y" in name]].to_numpy(np.float64).reshape(-1, 3, 2)
    points = np.concatenate([eyes_and_nose, np.full((len(frame), 2, 2), np.nan)], 1)
    # The right eye is the person's: it is at the image's left.
    same = people["first"][pairs["first"]].to_numpy() == people["first"][pairs["second"]].to_numpy()
    return TemplateLists(
        [folder / name for name in frame["image"]],
        frame["template"].to_numpy(),
        frame["medium"].to_numpy(),
        points,
        pairs["first"].to_numpy(),
        pairs["second"].to_numpy(),
        same,
        frame[["left", "top", "width", "height"]].to_numpy(np.float64),
    )


def _faces(path: Path) -> "pd.DataFrame":
    """One of NIST's files, with our names of the columns."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist: it is {_PROTOCOL}")
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", index_col=False)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): it is {_PROTOCOL}") from None
    found = {ours: next((name for name in theirs if name in frame.columns), None) for ours, theirs in _COLUMNS.items()}
    missing = [theirs[0] for ours, theirs in _COLUMNS.items() if found[ours] is None]
    if missing or frame.empty:
        raise DataError(f"{path} lacks the column '{missing[0]}'" if missing else f"{path} has no face: it is {_PROTOCOL}")
    frame = pd.DataFrame({ours: frame[name] for ours, name in found.items()})
    numbers = [name for name in _COLUMNS if name != "image"]
    wrong = frame[numbers].apply(pd.to_numeric, errors="coerce").isna() & frame[numbers].notna()
    needed = frame[["template", "person", "image", "medium"]].isna().any(axis=1)
    bad = np.flatnonzero(wrong.any(axis=1) | needed)
    if len(bad):
        raise DataError(
            f"{path}, line {bad[0] + 2}: template, person and sighting must be numbers, with an image: get it from NIST again"
        )
    whole = {name: np.int64 for name in ("template", "person", "medium")}
    return frame.astype({**whole, **{name: np.float64 for name in numbers if name not in whole}})


def _read_insightface(folder: Path) -> TemplateLists:
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
