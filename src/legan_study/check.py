"""`legan study check`: what is missing before people may take part, and the state of one rater."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from legan_study.config import IMAGES, StudyConfig, Texts
from legan_study.raters import find, true_counts
from legan_study.results import rater_in_words, rater_rows, read_records
from legan_study.study import Study, is_readable, mark_missing, open_study

PLACEHOLDER = "REPLACE THIS TEXT"
PROLIFIC = "PROLIFIC_PID"  # its parameter for the participant; other panels take a code for each rater


def check_study(folder: Path) -> list[str]:
    """Return everything that is wrong with a study, one line each; empty: ready.

    Raises:
        StudyError: no study, or one that cannot be opened.
    """
    with open_study(folder) as study:
        faults = text_faults(study.config.texts) + _setting_faults(study)
        faults += [
            f"'{name}' is left out: an image file of it is missing; restore it in {folder / IMAGES}"
            for name in mark_missing(study)
        ]
        faults += [f"'{path.name}' is damaged: restore it from a copy" for path in _damaged(study)]
        with study.store.reading() as connection:
            counts = true_counts(connection)
        wrong = [key for key, (stored, true) in counts.items() if stored != true]
        if wrong:
            faults.append(f"{len(wrong)} items have wrong counts of answers (a bug of legan: please report it)")
        return faults


def consent_faults(texts: Texts) -> list[str]:
    """Why nobody may take part yet: no consent text."""
    is_written = texts.consent.strip() and PLACEHOLDER not in texts.consent
    return [] if is_written else ["the consent text is not written: set texts.consent in study.toml"]


def text_faults(texts: Texts) -> list[str]:
    """Missing texts, one line each."""
    faults = consent_faults(texts)
    if not texts.instructions.strip():
        faults.append("there are no instructions: set texts.instructions in study.toml")
    if not texts.contact.strip():
        faults.append("raters cannot reach anybody: set texts.contact in study.toml")
    return faults


def _setting_faults(study: Study) -> list[str]:
    config, faults = study.config, []
    if config.entry == "panel" and config.panel_parameter == PROLIFIC:
        if not config.completion_url and not config.completion_code:
            faults.append("Prolific needs a way back: set completion_code, and completion_url if you like, in study.toml")
        elif "{code}" in config.completion_url and not config.completion_code:
            faults.append(
                "completion_url has {code}, and each rater would get a different one: set completion_code to Prolific's"
            )
    if "{code}" in config.full_url and not config.full_code:
        faults.append("full_url has {code}, and there is none: set full_code to the panel's code for a screen-out")
    if config.full_code and config.full_code == config.completion_code:
        faults.append("full_code is the completion code: raters who get no items would be paid as if they had finished")
    if config.simulated:
        faults.append("simulated = true: answers of people would count as simulated; create another study for people")
    return faults


def _damaged(study: Study) -> list[Path]:
    return [image.path for image in study.images.values() if image.path.is_file() and not is_readable(image)]


def look_up(folder: Path, word: str) -> dict[str, Any]:
    """The state of the rater with a name, a completion code, or a panel's name.

    Raises:
        StudyError: there is none.
    """
    with open_study(folder) as study, study.store.reading() as connection:
        row = find(connection, study.keys, word)
        rows = rater_rows(study, read_records(study, connection), connection)
        return next(entry for entry in rows if entry["id"] == row.id)


def all_texts(config: StudyConfig) -> dict[str, str]:
    """Every text that raters read."""
    return {field.name: getattr(config.texts, field.name) for field in fields(Texts)}


def report(folder: Path, rater: str | None, texts: bool) -> tuple[list[str], Any]:
    """What the command prints, as lines and as plain values; the plain values are a list if something is missing."""
    if rater is not None:
        state = look_up(folder, rater)
        return [rater_in_words(state)], state
    if texts:
        with open_study(folder) as study:
            values = all_texts(study.config)
        return [f"{name} = {value!r}" for name, value in values.items()], values
    faults = check_study(folder)
    return faults or [f"{folder}: ready"], faults
