"""AffectNet (Mollahosseini, Hasani and Mahoor, IEEE TAC 2017), in its two layouts. For research, on request.

Lists: `training.csv` and `validation.csv` (perhaps in `Manually_Annotated_file_lists/`; the second has no heading), with
`subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks, expression, valence, arousal`, and the images in
`Manually_Annotated_Images/`. Eight labels: `train_set/` and `val_set/`, each with `images/0.jpg`, `annotations/0_exp.npy` and
`annotations/0_lnd.npy`. Landmarks are the 68 iBUG points. Nobody is named: every image is a person of its own.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from legan.core.errors import DataError
from legan.data.public.layout import SourceImage, images_in, required, wrong_line

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
_N_COLUMNS = 9
_N_CODES = 11  # beyond the eight: none, uncertain, no face
_LISTS = {"training.csv": "train", "validation.csv": "val"}
_SETS = {"train_set": "train", "val_set": "val"}
_FORM = "nine columns: path, four of the box, 68 points x;y;x;y..., expression 0..10, valence, arousal"
_HEAD = "subDirectory_filePath"


def read_affectnet(folder: Path) -> list[SourceImage]:
    """Return the images that have one of the eight expressions, with their landmarks; AffectNet's validation set is `val`.

    Raises:
        DataError: neither layout, a line of another form (the message names file and line), or a missing or damaged annotation.
    """
    folder = Path(folder)
    if any((folder / name).is_dir() for name in _SETS):
        found = (image for name, split in _SETS.items() for image in _annotated(folder / name, split))
        return required(found, folder, "train_set/images/<number>.jpg with train_set/annotations/<number>_exp.npy")
    lists = folder / "Manually_Annotated_file_lists"
    places = [(place / name, split) for name, split in _LISTS.items() for place in (lists, folder) if (place / name).is_file()]
    if not places:
        raise DataError(
            f"{folder} holds neither training.csv and validation.csv nor train_set/ and val_set/: name AffectNet's folder"
        )
    found = (image for path, split in places for image in _listed(folder, path, split))
    return required(found, folder, "Manually_Annotated_Images/<folder>/<image>")


def _listed(folder: Path, path: Path, split: str) -> Iterator[SourceImage]:
    nested = folder / "Manually_Annotated" / "Manually_Annotated_Images"
    images = nested if nested.is_dir() else folder / "Manually_Annotated_Images"
    with open(path, encoding="utf-8-sig", newline="") as file:
        for line in (reader := csv.reader(file)):
            if not line or (reader.line_num == 1 and line[0] == _HEAD):
                continue
            while len(line) > _N_COLUMNS and not line[-1].strip():  # commas at the end
                line.pop()
            try:
                code = int(line[6]) if line[6].strip().isascii() and line[6].strip().isdecimal() else -1
                points = np.array(line[5].split(";"), np.float32).reshape(68, 2) if code < len(EXPRESSIONS) else None
            except (ValueError, IndexError):
                raise wrong_line(path, reader.line_num, ",".join(line), _FORM) from None
            if len(line) != _N_COLUMNS or not 0 <= code < _N_CODES:
                raise wrong_line(path, reader.line_num, ",".join(line), _FORM)
            if code < len(EXPRESSIONS):
                name = line[0].replace("\\", "/")
                identity = f"affectnet-{name.rsplit('.', 1)[0].replace('/', '-')}"
                yield SourceImage(images / name, identity, "photo", "photo/affectnet", EXPRESSIONS[code], split, points)


def _annotated(folder: Path, split: str) -> Iterator[SourceImage]:
    if not folder.is_dir():
        return
    for path in images_in(folder / "images"):
        stem = folder / "annotations" / path.stem
        code, points = _numbers(stem, "exp", 1), _numbers(stem, "lnd", 136)
        if not 0 <= code[0] < len(EXPRESSIONS):
            raise DataError(f"{stem}_exp.npy holds {code[0]:g}: AffectNet's eight expressions are 0..7")
        identity = f"affectnet-{split}-{path.stem}"
        expression = EXPRESSIONS[int(code[0])]
        yield SourceImage(
            path, identity, "photo", "photo/affectnet", expression, split, points.reshape(68, 2).astype(np.float32)
        )


def _numbers(stem: Path, what: str, n: int) -> np.ndarray:
    """The numbers of an annotation; a single one may be stored as text."""
    path = Path(f"{stem}_{what}.npy")
    try:
        found = np.asarray(np.load(path, allow_pickle=False)).astype(np.float64).ravel()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: every image has its annotations; extract them again") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}): extract it again") from error
    if found.size != n:
        raise DataError(f"{path} holds {found.size} numbers, not {n}: extract it again")
    return found
