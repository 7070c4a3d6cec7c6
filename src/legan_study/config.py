"""Settings of a study, and its secret keys."""

import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import tomllib
from base64 import b32encode
from dataclasses import field
from pathlib import Path
from string import Template
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from legan.core.config import load_config, parse_toml, to_toml
from legan.core.errors import StudyError
from legan.core.files import write_atomic

# Settings of a study: `study.toml` in its folder, which the researcher edits before people take part.


SETTINGS, IMAGES, DATABASE = "study.toml", "pictures", "study.sqlite"
KINDS = ("rating", "preference")
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Texts:
    """All texts that raters read, so that a study can be in any language; blank lines separate paragraphs.

    `{...}` is replaced: `{name}`, the rater's, in `reference`; `{done}` and `{total}` in `progress`.
    """

    language: str = "en"
    question: str = ""  # empty: the one of the study's kind
    lowest: str = "unnatural"
    highest: str = "hyper-realistic"
    consent_title: str = "Before you take part"
    consent: str = ""
    agree: str = "I have read this and I agree to take part"
    begin: str = "Begin"
    decline: str = "I do not want to take part"
    declined: str = "You have not been entered into the study. You may close this page."
    instructions_title: str = "How it works"
    instructions: str = ""
    start: str = "Start"
    practice: str = "Practice: these answers do not count."
    save: str = "Save and go on"
    skip: str = "Skip"
    back: str = "Back"
    original: str = "Original"
    picture: str = "Image"
    tie: str = "No difference"
    none: str = "None is acceptable"
    no_rating: str = "Move the slider to give your rating."
    progress: str = "{done} of {total}"
    shortcuts: str = "Keyboard shortcuts"
    rating_keys: str = "0 to 9 set the rating, End is 10, arrows adjust it, Enter saves, B goes back, S skips."
    preference_keys: str = "1 to 4 pick an image, 0 no difference, N none, Enter saves, B goes back, S skips."
    break_title: str = "Time for a short break"
    break_text: str = "Rest your eyes for a moment. Go on whenever you like: all your answers are saved."
    go_on: str = "Go on"
    done_title: str = "Thank you"
    done: str = "You have finished, and all your answers are saved."
    code: str = "Your completion code is"
    finish: str = "Finish"
    reference: str = "Your answers are kept under the name {name}. Tell it to the researchers if you want them erased."
    too_few_title: str = "Too few answers"
    too_few: str = "You have skipped so many images that there is no completion code. What you answered is saved."
    full_title: str = "No images are left"
    full: str = "Every image has been judged often enough. Thank you for your interest."
    full_code: str = "Your code for this case is"
    full_return: str = "Please return your submission on the site that sent you here: there is nothing left to do for it."
    left_over: str = "You were away for a while, so the image before went to someone else. Here is your next one."
    broken: str = "This image cannot be shown. Please skip it."
    unsaved: str = "This answer is not saved yet. Keep this page open: it tries again by itself."
    preview: str = "This is a preview: accept the task to take part."
    needs_link: str = "Please open the study through the link that you were given."
    unfilled_link: str = (
        "This link does not say who you are: the site that sent you here did not fill it in. Please tell the researchers."
    )
    invalid_invitation: str = "This invitation is not valid, or it has been used already."
    outdated: str = "This page is out of date: open the study's link again. All answers that you saved are kept."
    unreadable: str = "This answer cannot be taken: load the page again."
    unavailable: str = "The study cannot save or read just now. What you saved is kept; please try again in a minute."
    no_page: str = "There is no such page."
    needs_script: str = "This study needs JavaScript: please allow it for this page, then load it again."
    contact: str = ""


@dataclass(frozen=True)
class StudyConfig:
    """A study.

    Args:
        title: shown at the top of each page.
        kind: rating (one face on a scale from 0 to 10) or preference (the best of two to four models' images).
        raters_per_item: ratings that each item gets.
        items_per_rater: items that count, for one rater at most.
        gold_per_rater: items with a known answer, mixed in; as many as there are, at most.
        repeats_per_rater: items shown a second time to the same rater, to measure how consistent the answers are.
        repeat_distance: items at least between the two times.
        break_every: items between two breaks; 0 for none.
        timeout_minutes: after which an assigned item without an answer goes to another rater.
        allow_skip: whether an item may be skipped.
        min_answered: share of a rater's items, 0..1, that must be answered and not skipped: below it, no completion code is shown.
        step: of the slider, in points.
        picture_size: largest side of an image on the page, in CSS pixels.
        entry: open (anybody with the link), invitation (one link for each person) or panel (Prolific, MTurk: the link holds a name).
        panel_parameter: of the link that holds the name: PROLIFIC_PID, or workerId.
        completion_code: shown at the end; empty: each rater gets a different one, for `legan study check --rater`.
        completion_url: link of the last page; `{code}` stands for the code.
        full_code: shown to raters for whom no item is left (a panel's code for a screen-out); empty: none.
        full_url: link of that page; `{code}` stands for that code.
        simulated: whether programs take part, to test the study; names of raters, exports and weights are then marked as simulated.
        session_hours: length of a rater's session.
        texts: what raters read.
    """

    title: str = "Face study"
    kind: Literal["rating", "preference"] = "rating"
    raters_per_item: Annotated[int, Field(ge=1)] = 3
    items_per_rater: Annotated[int, Field(ge=1, le=2000)] = 60
    gold_per_rater: Annotated[int, Field(ge=0)] = 3
    repeats_per_rater: Annotated[int, Field(ge=0)] = 3
    repeat_distance: Annotated[int, Field(ge=1)] = 10
    break_every: Annotated[int, Field(ge=0)] = 30
    timeout_minutes: Annotated[float, Field(gt=0)] = 15.0
    allow_skip: bool = True
    min_answered: Annotated[float, Field(ge=0, le=1)] = 0.5
    step: Annotated[float, Field(gt=0, le=5)] = 0.5
    picture_size: Annotated[int, Field(ge=64, le=2048)] = 420
    entry: Literal["open", "invitation", "panel"] = "open"
    panel_parameter: str = "PROLIFIC_PID"
    completion_code: str = ""
    completion_url: str = ""
    full_code: str = ""
    full_url: str = ""
    simulated: bool = False
    session_hours: Annotated[float, Field(gt=0)] = 12.0
    texts: Texts = field(default_factory=Texts)


def read_settings(folder: Path) -> StudyConfig:
    """Read the settings of the study in `folder`.

    Raises:
        StudyError: the folder holds no study.
        ConfigError: an unknown setting, or a wrong value.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        raise StudyError(
            f"{folder} holds no study (no {SETTINGS}): make one with `legan study create --from DIR --out {folder}`"
        )
    config = load_config(StudyConfig, path)
    for name in ("completion_url", "full_url"):
        url = getattr(config, name)
        if url and not url.startswith(("https://", "http://")):
            raise StudyError(f"{path}: {name} must begin with https:// (or http://), not '{url}'")
    return config


def write_settings(folder: Path, config: StudyConfig) -> None:
    """Write `study.toml`, with comments for the researcher."""
    template = Template((TEMPLATES / "study.toml").read_text(encoding="utf-8"))
    # A JSON string is a TOML basic string, and JSON writes numbers and booleans as TOML does.
    values = {name: json.dumps(getattr(config, name), ensure_ascii=False) for name in _SCALARS}
    question, instructions = _WORDS[config.kind]
    write_atomic(folder / SETTINGS, template.substitute(values, question=question, instructions=instructions).encode())


_SCALARS = (
    "title", "kind", "raters_per_item", "items_per_rater", "gold_per_rater", "repeats_per_rater", "break_every",
    "timeout_minutes", "allow_skip", "min_answered", "entry", "panel_parameter", "completion_code", "completion_url",
    "full_code", "full_url", "simulated",
)  # fmt: skip
_WORDS = {
    "rating": (
        "How natural does this face look?",
        """You will see one face at a time. Judge how natural it looks, from 0 (unnatural: it cannot be a photograph) to 10
(hyper-realistic: it could well be one).

Judge the image, not the person: beauty, age or expression do not matter. Low sharpness alone does not make a face
unnatural. Look as long as you need; your first impression is usually right.""",
    ),
    "preference": (
        "Which image is the best?",
        """You will see several versions of one face, beside the original where there is one. Pick the version that looks best:
natural, without faults, and still the same person.

If you see no difference, say so; if none is acceptable, say that. The order is random each time.""",
    ),
}


# Secrets of a study: from the environment, or from a generated file that only its owner may read (mode 600).


SECRETS = "secrets.toml"
ENVIRONMENT = {
    "session_key": "LEGAN_STUDY_SECRET",
    "admin_password": "LEGAN_STUDY_ADMIN_PASSWORD",
    "database": "LEGAN_STUDY_DATABASE",
}
MIN_LENGTH = 16  # characters of a session key and of an admin password


@dataclasses.dataclass(frozen=True)
class Keys:
    """The secrets of a study.

    Args:
        session_key: signs sessions and form tokens, and keys the hashes of panel names and invitations.
        admin_password: of the admin pages.
        database: its URL, which may hold a password.
    """

    session_key: str
    admin_password: str
    database: str

    @staticmethod
    def are_equal(given: str, secret: str) -> bool:
        """Whether a text from outside equals a secret; in constant time."""
        return hmac.compare_digest(given.encode(errors="replace"), secret.encode())

    def digest(self, purpose: str, text: str) -> str:
        """Keyed hash (64 hexadecimal digits) of a text; another for each purpose."""
        return hmac.new(self.session_key.encode(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    def code(self, name: str) -> str:
        """Completion code of a rater: eight letters and digits."""
        return b32encode(bytes.fromhex(self.digest("completion", name)[:10])).decode()

    def __repr__(self) -> str:
        return "Keys(...)"  # no secret in a traceback


def write_keys(folder: Path, database: str) -> None:
    """Generate the secrets of a new study; the file has mode 600 from the start."""
    values = {"session_key": secrets.token_urlsafe(32), "admin_password": secrets.token_urlsafe(15), "database": database}
    handle = os.open(Path(folder) / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("# Keep this file to yourself; with it anybody can sign in as any rater.\n" + to_toml(values))
        file.flush()
        os.fsync(file.fileno())


def read_keys(folder: Path) -> Keys:
    """Read the secrets; the environment overrides the file, which may be absent if the environment has all.

    Raises:
        StudyError: a missing or damaged file, one that others may read, or a key that is too short.
    """
    path = Path(folder) / SECRETS
    values = {name: os.environ[variable] for name, variable in ENVIRONMENT.items() if os.environ.get(variable)}
    if len(values) < len(ENVIRONMENT):
        values = {**_from_file(path), **values}
    missing = [name for name in ENVIRONMENT if not isinstance(values.get(name), str) or not values[name]]
    if missing:
        raise StudyError(f"{path} has no {missing[0]}: restore it, or set {ENVIRONMENT[missing[0]]}")
    if len(values["session_key"]) < MIN_LENGTH:
        raise StudyError(f"the session key is too short: give {MIN_LENGTH} characters or more in {ENVIRONMENT['session_key']}")
    return Keys(**{name: values[name] for name in ENVIRONMENT})


def check_password(keys: Keys) -> None:
    """Check the length of the admin password, the only protection against guessing: wrong ones lock nobody out.

    Raises:
        StudyError: the password is too short.
    """
    if len(keys.admin_password) < MIN_LENGTH:
        raise StudyError(
            f"the admin password is too short: give {MIN_LENGTH} characters or more in {SECRETS} or "
            f"{ENVIRONMENT['admin_password']}"
        )


def _from_file(path: Path) -> dict[str, str]:
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise StudyError(f"others may read {path}: run `chmod 600 {path}`")
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path} is missing: restore it, or set {', '.join(ENVIRONMENT.values())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise StudyError(f"{path} cannot be read ({error}): restore it from a copy") from error
