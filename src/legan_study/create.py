"""`legan study create`: copies the images without names and metadata, and fills the database.

All images become PNG files with random names and no metadata, so that raters cannot see which model made them.
"""

import json
import os
import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from legan.core.errors import StudyError
from legan.core.files import make_folder, write_atomic
from legan.core.images import Photo, encode_photo
from legan.core.listing import utf8_name
from legan.requests import StudyRequest
from legan_study import store as tables
from legan_study.config import DATABASE, IMAGES, KINDS, StudyConfig, write_keys, write_settings
from legan_study.sources import GoldAnswer, SourceItem, read_gold, read_items
from legan_study.store import INPUT, Store

SQLITE = f"sqlite:///{DATABASE}"


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
