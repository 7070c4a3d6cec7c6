"""`legan study serve`: the web server. Binds loopback unless told otherwise; writes no log of who asked for what."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from legan.core.errors import StudyError
from legan.study.check import text_faults
from legan.study.study import note_missing, open_study
from legan.study.web import LOOPBACK, make_app

ADMIN_CHOICES = ("off", "on", "only")
KEEP_ALIVE_SECONDS = 75  # raters think for a while between two requests


@dataclass(frozen=True)
class Address:
    """Where to serve.

    Args:
        host, port: that the server listens on.
        admin: off, on (also the admin pages) or only (nothing else).
        public_url: where raters reach it through a proxy, such as https://study.example.org.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    admin: str = "off"
    public_url: str = ""


def serve_study(folder: Path, address: Address, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Raises:
        StudyError: an admin choice that does not exist, a bare public host without an URL, or a port that is taken.
    """
    import uvicorn

    _check(address)
    with open_study(folder) as study:
        for name in note_missing(study):
            say(f"note: '{name}' is left out, a picture of it is gone")
        for fault in text_faults(study.config.texts):
            say(f"note: {fault}")
        app = make_app(study, address.admin, address.public_url, hosts=[address.host])
        page = "/admin" if address.admin == "only" else "/"
        say(f"serving {folder} on http://{address.host}:{address.port}{page} (Ctrl-C stops; every answer is on the disk)")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        config = uvicorn.Config(
            app, address.host, address.port, access_log=False, log_level="warning", server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=5, ws="none",
        )  # fmt: skip
        server = uvicorn.Server(config)
        try:
            server.run()
        except SystemExit:  # uvicorn's way to say that it could not start
            raise StudyError(
                f"cannot listen on {address.host}:{address.port}: the port is taken, choose another with --port"
            ) from None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _check(address: Address) -> None:
    if not 0 < address.port < 65536:
        raise StudyError(f"--port {address.port} is out of range: choose one from 1 to 65535")
    if address.admin not in ADMIN_CHOICES:
        raise StudyError(f"unknown --admin '{address.admin}': choose {', '.join(ADMIN_CHOICES)}")
    if address.public_url and not _is_url(address.public_url):
        raise StudyError(f"cannot read --public-url '{address.public_url}': write it as https://study.example.org")
    if address.host not in LOOPBACK and not address.public_url:
        raise StudyError(
            f"--host {address.host} opens the study to the network: say under which address raters reach it with --public-url "
            "(https:// through a proxy, see docs/studies.md)"
        )
