"""Secrets of a study: from the environment, or from a generated file that nobody but its owner may read (mode 600)."""

import hashlib
import hmac
import os
import secrets
import tomllib
from base64 import b32encode
from dataclasses import dataclass
from pathlib import Path

from legan.core.config import to_toml
from legan.core.errors import StudyError
from legan.core.plain import parse_toml

SECRETS = "secrets.toml"
ENVIRONMENT = {
    "session_key": "LEGAN_STUDY_SECRET",
    "admin_password": "LEGAN_STUDY_ADMIN_PASSWORD",
    "database": "LEGAN_STUDY_DATABASE",
}
MIN_LENGTH = 16  # characters of a session key and of an admin password that somebody chose


@dataclass(frozen=True)
class Keys:
    """What a study must keep to itself.

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
        """Whether a text that somebody sent is the secret; takes as long for any text of the secret's length."""
        return hmac.compare_digest(given.encode(errors="replace"), secret.encode())

    def digest(self, purpose: str, text: str) -> str:
        """Keyed hash (64 hexadecimal digits) of a text; the same text gives others for other purposes."""
        return hmac.new(self.session_key.encode(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    def code(self, name: str) -> str:
        """Completion code of a rater: eight letters and digits."""
        return b32encode(bytes.fromhex(self.digest("completion", name)[:10])).decode()

    def __repr__(self) -> str:
        return "Keys(...)"  # no secret in a traceback


def write_keys(folder: Path, database: str) -> None:
    """Generate the secrets of a new study; the file is created with mode 600, so that it is at no time readable by others."""
    values = {"session_key": secrets.token_urlsafe(32), "admin_password": secrets.token_urlsafe(15), "database": database}
    handle = os.open(Path(folder) / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("# Keep this file to yourself; whoever has it can sign in as any rater.\n" + to_toml(values))
        file.flush()
        os.fsync(file.fileno())


def read_keys(folder: Path) -> Keys:
    """Read the secrets; the environment goes before the file, which is not needed where the environment has all.

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
    """Check the length of the admin password, which alone keeps guessers out: wrong ones lock nobody out.

    Raises:
        StudyError: it is too short.
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
