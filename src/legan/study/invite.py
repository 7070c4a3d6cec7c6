"""Inviting raters, and forgetting one."""

import time
from pathlib import Path

from legan.core.errors import StudyError
from legan.study.raters import find, forget, invite
from legan.study.study import open_study


def make_links(folder: Path, n: int, url: str, days: float) -> list[str]:
    """Make `n` invitations and return their links.

    Raises:
        StudyError: the study lets people in another way.
    """
    with open_study(folder) as study:
        if study.config.entry != "invitation":
            raise StudyError(
                f'this study is entered by {study.config.entry} link: set entry = "invitation" in {folder}/study.toml'
            )
        with study.store.writing() as connection:
            tokens = invite(connection, study.keys, n, time.time(), days)
    return [f"{url.rstrip('/')}/?invitation={token}" for token in tokens]


def forget_rater(folder: Path, word: str) -> tuple[str, int]:
    """Erase a rater; return the name and how many answers there were.

    Raises:
        StudyError: nobody is known by `word`.
    """
    with open_study(folder) as study:
        with study.store.writing() as connection:
            row = find(connection, study.keys, word)
            n_answers = forget(connection, row.id)
        study.store.empty_log()
    return row.name, n_answers
