"""`legan study check`: what is still missing before people may take part, and what is known of one rater."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from legan_study.config import StudyConfig, Texts
from legan_study.raters import find, true_counts
from legan_study.results import rater_rows, read_records
from legan_study.study import Study, is_whole, note_missing, open_study

PLACEHOLDER = "REPLACE THIS TEXT"
PROLIFIC = "PROLIFIC_PID"  # its participants' parameter; other panels take a code of each rater's own


def check_study(folder: Path) -> list[str]:
    """Look at everything that can be wrong with a study and return it, one line each; empty: ready.

    Raises:
        StudyError: no study there, or nothing can be read.
    """
    with open_study(folder) as study:
        found = text_faults(study.config.texts) + _setting_faults(study)
        found += [
            f"'{name}' is left out: an image of it is gone; restore it in {folder}/images" for name in note_missing(study)
        ]
        found += [f"'{path.name}' is damaged: restore it from a copy" for path in _damaged(study)]
        with study.store.reading() as connection:
            counts = true_counts(connection)
        wrong = [key for key, (told, true) in counts.items() if told != true]
        if wrong:
            found.append(f"{len(wrong)} items have wrong counts of answers (a fault of legan: please report it)")
        return found


def consent_faults(texts: Texts) -> list[str]:
    """Why nobody may be asked to take part yet."""
    is_written = texts.consent.strip() and PLACEHOLDER not in texts.consent
    return [] if is_written else ["the consent text is not written: set texts.consent in study.toml"]


def text_faults(texts: Texts) -> list[str]:
    """What raters must read and nobody has written yet, one line each."""
    found = consent_faults(texts)
    if not texts.instructions.strip():
        found.append("there are no instructions: set texts.instructions in study.toml")
    if not texts.contact.strip():
        found.append("raters cannot reach anybody: set texts.contact in study.toml")
    return found


def _setting_faults(study: Study) -> list[str]:
    config, found = study.config, []
    if config.entry == "panel" and config.panel_parameter == PROLIFIC:
        if not config.completion_url and not config.completion_code:
            found.append("Prolific needs a way back: set completion_code, and completion_url if you like, in study.toml")
        elif "{code}" in config.completion_url and not config.completion_code:
            found.append("completion_url has {code}, and each rater would get another: set completion_code to Prolific's")
    if "{code}" in config.full_url and not config.full_code:
        found.append("full_url has {code}, and there is none: set full_code to the panel's code for a screen-out")
    if config.full_code and config.full_code == config.completion_code:
        found.append("full_code is the completion code: who finds the study full would be paid as if they had finished")
    if config.simulated:
        found.append(
            "simulated = true: answers of people would be taken for simulated ones; make a study of its own for people"
        )
    return found


def _damaged(study: Study) -> list[Path]:
    return [one.path for one in study.pictures.values() if one.path.is_file() and not is_whole(one)]


def look_up(folder: Path, word: str) -> dict[str, Any]:
    """What is known of the rater with a name, a completion code, or a panel's name.

    Raises:
        StudyError: nobody is known by it.
    """
    with open_study(folder) as study, study.store.reading() as connection:
        row = find(connection, study.keys, word)
        return next(told for told in rater_rows(study, read_records(study, connection), connection) if told["id"] == row.id)


def all_texts(config: StudyConfig) -> dict[str, str]:
    """Every text that raters read, as the study has it."""
    return {field.name: getattr(config.texts, field.name) for field in fields(Texts)}


def report(folder: Path, rater: str | None, texts: bool) -> tuple[list[str], Any]:
    """What the verb prints, as lines and as plain values; a list of plain values is what is missing."""
    from legan_study.results import rater_in_words

    if rater is not None:
        told = look_up(folder, rater)
        return [rater_in_words(told)], told
    if texts:
        with open_study(folder) as study:
            found = all_texts(study.config)
        return [f"{name} = {value!r}" for name, value in found.items()], found
    faults = check_study(folder)
    return faults or [f"{folder}: ready"], faults
