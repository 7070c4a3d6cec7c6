"""Sources of a study: a data set folder, a folder of images, or one folder for each model with equal file names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legan.core.errors import DataError, StudyError, nearest
from legan.core.images import READ_SUFFIXES, Photo, decoded, load_photo, photo_of
from legan.core.listing import composed, images_in_folder, utf8_name
from legan.core.table import read_csv_table
from legan.data.manifest import MANIFEST, image_names, read_bytes, read_manifest
from legan_study.store import INPUT

MIN_MODELS, MAX_MODELS = 2, 4


@dataclass(frozen=True)
class SourceItem:
    """An item to judge.

    Args:
        name: as in the export.
        images: function that reads the image, by model; model "" in rating studies.
    """

    name: str
    images: Mapping[str, Callable[[], Photo]]


@dataclass(frozen=True)
class GoldAnswer:
    """The right answer of a gold item: a rating between `low` and `high`, or the model `best`."""

    low: float | None = None
    high: float | None = None
    best: str | None = None


def read_items(folder: Path, kind: str) -> tuple[list[SourceItem], list[str]]:
    """List the items of a folder, by name, and the models (none for ratings).

    Raises:
        StudyError: no such folder, no images, two images of one name, or models with different file names.
        DataError: an invalid data set folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder: give the folder of the images")
    return _compared(folder) if kind == "preference" else (_rated(folder), [])


def _rated(folder: Path) -> list[SourceItem]:
    items = _from_manifest(folder) if (folder / MANIFEST).is_file() else _from_files(folder)
    if not items:
        raise StudyError(f"{folder} holds no images ({', '.join(READ_SUFFIXES)}) and no {MANIFEST}")
    return sorted(items, key=lambda item: item.name)


def _from_files(folder: Path) -> list[SourceItem]:
    return [SourceItem(name, {"": _file(path)}) for name, path in _images(folder).items()]


def _images(folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for path in images_in_folder(folder):
        if (other := paths.setdefault(_table_name(path.relative_to(folder).as_posix()), path)) != path:
            raise StudyError(f"{other} and {path} have the same name: keep one of them")
    return paths


def _table_name(name: str) -> str:
    """The name of a file or folder as tables hold it."""
    return composed(utf8_name(name))


def _file(path: Path) -> Callable[[], Photo]:
    return lambda: load_photo(path)


def _from_manifest(folder: Path) -> list[SourceItem]:
    manifest = read_manifest(folder)
    rows: Any = manifest.to_dict("records")
    return [
        SourceItem(composed(str(name)), {"": _row(folder, row, str(name))})
        for name, row in zip(image_names(manifest), rows, strict=True)
    ]


def _row(folder: Path, row: Mapping[str, Any], name: str) -> Callable[[], Photo]:
    def read() -> Photo:
        with decoded(read_bytes(folder, row), f"'{name}' in {folder}") as image:
            return photo_of(image)

    return read


def _compared(folder: Path) -> tuple[list[SourceItem], list[str]]:
    """Items whose images have the same name in each model's folder; suffixes may differ."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    models = [_table_name(path.name) for path in folders if path.name != INPUT]
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        raise StudyError(
            f"{folder} has {len(models)} folders of models: a preference study needs {MIN_MODELS} to {MAX_MODELS}, "
            f"each with images of the same names, and perhaps {INPUT}/ with the originals"
        )
    files = {
        _table_name(path.name): {Path(name).with_suffix("").as_posix(): file for name, file in _images(path).items()}
        for path in folders
    }
    names = set(files[models[0]])
    for model, images in files.items():
        wrong = sorted(names - set(images)) if model == INPUT else sorted(names ^ set(images))
        if wrong:
            raise StudyError(
                f"'{wrong[0]}' is not in every model's folder of {folder} (see {model}/): give each model the same names"
            )
    if not names:
        raise StudyError(f"{folder / models[0]} holds no images ({', '.join(READ_SUFFIXES)})")
    return [SourceItem(name, {model: _file(files[model][name]) for model in files}) for name in sorted(names)], models


def read_gold(path: Path, kind: str, models: list[str]) -> dict[str, GoldAnswer]:
    """Read the right answers of gold items, by image: columns `image, low, high`, or `image, best` in a preference study.

    Raises:
        DataError: no such file, a missing column, bounds outside 0..10, or an unknown model.
    """
    table = read_csv_table(path)
    columns = ("image", "low", "high") if kind == "rating" else ("image", "best")
    missing = [name for name in columns if name not in table.columns]
    if missing or not table.rows:
        missing = missing or ["image"]
        raise DataError(f"{path} lacks the column '{missing[0]}': gold items of this study have {', '.join(columns)}")
    if kind == "preference":
        answers = [
            _best(path, image, best, models) for image, best in zip(table.texts("image"), table.column("best"), strict=True)
        ]
    else:
        bounds = zip(table.texts("image"), table.numbers("low"), table.numbers("high"), strict=True)
        answers = [_bounds(path, image, low, high) for image, low, high in bounds]
    return dict(zip(table.texts("image"), answers, strict=True))


def _best(path: Path, image: str, best: str, models: list[str]) -> GoldAnswer:
    if best not in models:
        raise DataError(f"{path} names an unknown model '{best}' for '{image}'{nearest(best, models)}")
    return GoldAnswer(best=best)


def _bounds(path: Path, image: str, low: float, high: float) -> GoldAnswer:
    if not 0 <= low <= high <= 10:
        raise DataError(f"{path} has the bounds {low:g} and {high:g} for '{image}': give 0 <= low <= high <= 10")
    return GoldAnswer(low=low, high=high)
