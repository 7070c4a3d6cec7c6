"""`legan study create`: copies the images without names and metadata, and fills the database.

All images become PNG files with random names and no metadata, so that raters cannot see which model made them.
"""

import json
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from legan.core.errors import DataError, StudyError, nearest
from legan.core.files import make_folder, write_atomic
from legan.core.images import READ_SUFFIXES, Photo, decoded, encode_photo, load_photo, photo_of
from legan.core.listing import composed, images_in_folder, utf8_name
from legan.core.table import read_csv_table
from legan.data.manifest import MANIFEST, image_names, read_bytes, read_manifest
from legan.requests import StudyRequest
from legan_study import store as tables
from legan_study.config import DATABASE, IMAGES, KINDS, StudyConfig, write_keys, write_settings
from legan_study.store import INPUT, Store

SQLITE = f"sqlite:///{DATABASE}"
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


@dataclass(frozen=True)
class Created:
    """The new study: its folder, and the number of items of each role."""

    out: Path
    models: tuple[str, ...]
    n_main: int
    n_gold: int
    n_practice: int
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**self.__dict__, "out": str(self.out), "models": list(self.models), "notes": list(self.notes)}

    def __str__(self) -> str:
        models = f" of {', '.join(self.models)}" if self.models else ""
        lines = [f"{self.out}: {self.n_main} items{models}, {self.n_gold} gold, {self.n_practice} for practice", *self.notes]
        return "\n".join([*lines, f"next: edit {self.out}/study.toml, then `legan study check {self.out}`"])


def create_study(request: StudyRequest, progress: Callable[[int, int], None] = lambda done, total: None) -> Created:
    """Create a study's folder: settings, secrets, images, database. It gets its name only when it is complete.

    Raises:
        StudyError: the folder exists, the source has another layout, or no item is left to judge.
        ImageError: an image that cannot be read.
    """
    if request.kind not in KINDS:
        raise StudyError(f"unknown kind '{request.kind}': choose {' or '.join(KINDS)}")
    if request.n_practice < 0 or (request.n_items is not None and request.n_items < 1):
        raise StudyError("--n-practice must be 0 or more, and --n-items 1 or more")
    out = Path(request.out)
    if out.exists():
        raise StudyError(f"{out} exists already: choose another folder for the study, or delete it")
    items, models = read_items(request.source, request.kind)
    chosen = _choose(request, items, models)
    with _new_folder(out) as folder:
        config = StudyConfig(title=request.title, kind=request.kind, raters_per_item=request.raters_per_item)  # type: ignore[arg-type]
        n_gold = sum(role == tables.GOLD for role, _, _ in chosen)
        write_settings(folder, replace(config, gold_per_rater=min(config.gold_per_rater, n_gold)))
        write_keys(folder, request.database or SQLITE)
        notes = _fill(folder, request, chosen, models, progress)
    counts = {role: sum(r == role for r, _, _ in chosen) for role in (tables.MAIN, tables.GOLD, tables.PRACTICE)}
    return Created(out, tuple(models), counts["main"], counts["gold"], counts["practice"], notes)


Chosen = list[tuple[str, SourceItem, GoldAnswer]]


def _choose(request: StudyRequest, items: list[SourceItem], models: list[str]) -> Chosen:
    """Draw the role of each item. An item has one role: who has practised on an image could not rate it without bias."""
    gold = read_gold(request.gold, request.kind, models) if request.gold else {}
    by_name = {item.name: item for item in items}
    if request.kind == "preference":  # an item has several files there, whose suffixes may differ
        gold = {name if name in by_name else name.rsplit(".", 1)[0]: answer for name, answer in gold.items()}
    beside = {}
    if request.gold and not set(gold) <= set(by_name) and request.kind == "rating":
        beside = {item.name: item for item in read_items(request.gold.parent, "rating")[0]}
    unknown = [name for name in gold if name not in by_name and name not in beside]
    if unknown:
        raise StudyError(f"the gold item '{unknown[0]}' is neither in {request.source} nor beside {request.gold}")
    chosen: Chosen = [(tables.GOLD, by_name.get(name) or beside[name], answer) for name, answer in gold.items()]
    main = [item for item in items if item.name not in gold]
    draw = random.Random(request.seed)
    if request.practice:
        practice = read_items(request.practice, request.kind)[0][: request.n_practice]
        if practice and request.kind == "preference" and set(practice[0].images) - {INPUT} != set(models):
            raise StudyError(f"{request.practice} has other models than {request.source}: give the same ones")
    else:
        practice = draw.sample(main, min(request.n_practice, max(0, len(main) - 1)))
        taken = {item.name for item in practice}
        main = [item for item in main if item.name not in taken]
    if request.n_items is not None:
        main = draw.sample(main, min(request.n_items, len(main)))
    if not main:
        raise StudyError(f"no item of {request.source} is left to judge: give more images than gold and practice items")
    return [
        *((tables.MAIN, item, GoldAnswer()) for item in main),
        *chosen,
        *((tables.PRACTICE, i, GoldAnswer()) for i in practice),
    ]


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder with a temporary name, renamed to `out` when the block ends, removed when it fails."""
    folder = make_folder(out.parent) / f".{out.name}.{secrets.token_hex(4)}.tmp"
    make_folder(folder / IMAGES)
    try:
        yield folder
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(
    folder: Path, request: StudyRequest, chosen: Chosen, models: list[str], progress: Callable[[int, int], None]
) -> tuple[str, ...]:
    """Copy the images and fill the database; return notes on differences by which raters could recognise a model."""
    os.close(os.open(folder / DATABASE, os.O_CREAT | os.O_WRONLY, 0o600))  # SQLite keeps the mode for its log too
    store = Store(request.database or SQLITE, folder)
    store.create_tables()
    total, rows = sum(len(item.images) for _, item, _ in chosen), []
    jobs = [(index, model, read) for index, (_, item, _) in enumerate(chosen) for model, read in item.images.items()]
    random.Random(secrets.randbits(64)).shuffle(jobs)  # so that neither row numbers nor file dates depend on the model
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for row in pool.map(lambda job: _copy(folder, *job), jobs):
            rows.append(row)
            progress(len(rows), total)
    with store.writing() as connection:
        if connection.execute(select(tables.study.c.id)).first():
            raise StudyError("the database holds a study already: use a database of its own for each study")
        _insert(connection, request, chosen, models, rows)
    store.close()
    return _notes(rows, models)


def _copy(folder: Path, index: int, model: str, read: Callable[[], Photo]) -> dict[str, Any]:
    image, code = read().image, secrets.token_urlsafe(16)
    write_atomic(folder / IMAGES / f"{code}.png", encode_photo(image, "PNG"))
    row = {"item_id": index + 1, "model": model, "code": code, "file": f"{code}.png"}
    return {**row, "width": image.width, "height": image.height}


def _insert(
    connection: Connection, request: StudyRequest, chosen: Chosen, models: list[str], rows: list[dict[str, Any]]
) -> None:
    about = {"id": 1, "kind": request.kind, "models": json.dumps(models), "source": utf8_name(Path(request.source).resolve())}
    connection.execute(insert(tables.study), [{**about, "created_at": time.time()}])
    connection.execute(
        insert(tables.item),
        [
            {"id": index + 1, "name": item.name, "role": role, "low": gold.low, "high": gold.high, "best": gold.best}
            for index, (role, item, gold) in enumerate(chosen)
        ],
    )
    connection.execute(insert(tables.image), rows)


def _notes(rows: list[dict[str, Any]], models: list[str]) -> tuple[str, ...]:
    sizes = {model: sorted({(r["width"], r["height"]) for r in rows if r["model"] == model}) for model in models}
    if len({tuple(size) for size in sizes.values()}) > 1:
        listed = "; ".join(f"{model} {sizes[model][0][0]}x{sizes[model][0][1]}" for model in models)
        return (f"note: the models' images differ in size ({listed}), and so in sharpness: scale them to one size",)
    return ()


# Sources of a study: a data set folder, a folder of images, or one folder for each model with equal file names.


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
