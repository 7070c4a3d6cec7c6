"""An opened study: its folder, settings, secrets and database, and where each picture lies."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update

from legan.core.errors import ImageError, StudyError
from legan.core.files import path_inside
from legan.core.formats import decoded
from legan.study.config import PICTURES, StudyConfig, read_settings
from legan.study.keys import Keys, read_keys
from legan.study.soundness import check_structure, check_values
from legan.study.store import BUSY_SECONDS, Store
from legan.study.tables import item, picture, study


@dataclass(frozen=True)
class Picture:
    """A picture as the page needs it: the file, and its size in pixels."""

    code: str
    path: Path
    width: int
    height: int
    item_id: int
    model: str


@dataclass
class Study:
    """A study that can be served, looked at and exported; a context manager that closes the database.

    `tag` is short and no other study's; it stays the same. Pictures are known by their number; `by_code` gives the number of a code,
    `of_item` those of an item.
    """

    folder: Path
    config: StudyConfig
    keys: Keys
    store: Store
    models: tuple[str, ...]
    pictures: dict[int, Picture]
    tag: str

    def __post_init__(self) -> None:
        self.by_code = {one.code: key for key, one in self.pictures.items()}
        self.of_item: dict[int, list[int]] = {}
        for key, one in self.pictures.items():
            self.of_item.setdefault(one.item_id, []).append(key)

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()


def open_study(folder: Path, busy_seconds: float = BUSY_SECONDS) -> Study:
    """Open a study; brings its tables up to date.

    Raises:
        StudyError: no study, secrets that others may read, or a database that is damaged or does not belong to it.
        DataError: a picture that lies outside of the study's folder.
        StoreError: the database cannot be reached.
    """
    import json

    folder = Path(folder)
    config, keys = read_settings(folder), read_keys(folder)
    if keys.database.startswith("sqlite:///") and not (folder / keys.database.removeprefix("sqlite:///")).is_file():
        raise StudyError(
            f"the database of {folder} is missing ({keys.database}): restore it from a copy, or make the study again"
        )
    store = Store(keys.database, folder, busy_seconds)
    check_structure(store)
    store.migrate()
    check_values(store)
    with store.reading() as connection:
        about = connection.execute(select(study)).first()
        rows = connection.execute(select(picture)).all()
    if about is None:
        raise StudyError(f"the database of {folder} holds no study: restore it from a copy, or check LEGAN_STUDY_DATABASE")
    if about.kind != config.kind:
        raise StudyError(f'{folder} was made as a {about.kind} study: set kind = "{about.kind}" in study.toml')
    place = folder / PICTURES
    pictures = {r.id: Picture(r.code, path_inside(place, r.file), r.width, r.height, r.item_id, r.model) for r in rows}
    tag = keys.digest("tag", repr(about.created_at))[:8]
    return Study(folder, config, keys, store, tuple(json.loads(about.models)), pictures, tag)


def is_whole(one: Picture) -> bool:
    """Whether a picture's file is there and can be shown."""
    try:
        with decoded(one.path):
            return True
    except ImageError:
        return False


def note_missing(opened: Study) -> list[str]:
    """Mark the items of which a picture's file is gone, so that nobody gets them, and those whose pictures came back; return the names."""
    gone = {one.item_id for one in opened.pictures.values() if not one.path.is_file()}
    with opened.store.reading() as connection:
        marked = set(connection.execute(select(item.c.id).where(item.c.missing.is_(True))).scalars())
    # What a rater found broken stays so until its file is restored.
    gone |= {one.item_id for one in opened.pictures.values() if one.item_id in marked and not is_whole(one)}
    if gone != marked:
        with opened.store.writing() as connection:
            for item_id in gone ^ marked:
                connection.execute(update(item).where(item.c.id == item_id).values(missing=item_id in gone))
    with opened.store.reading() as connection:
        return list(connection.execute(select(item.c.name).where(item.c.missing.is_(True)).order_by(item.c.name)).scalars())
