"""`legan study serve`: the web server. Binds loopback unless told otherwise; writes no log of who asked for what."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from legan.core.errors import StudyError
from legan.study.check import consent_faults, text_faults
from legan.study.study import note_missing, open_study
from legan.study.web import LOOPBACK, make_app

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from legan.study.limits import Limits

ADMIN_CHOICES = ("off", "on", "only")
BACKLOG = 128  # connections that wait to be accepted


@dataclass(frozen=True)
class Address:
    """Where to serve.

    Args:
        host, port: that the server listens on.
        admin: off, on (also the admin pages) or only (nothing else).
        public_url: where raters reach it through a proxy, such as https://study.example.org.
        proxy: addresses or networks of the proxy, parted by commas, which is believed when it says whom it asks for; empty: nobody is.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    admin: str = "off"
    public_url: str = ""
    proxy: str = ""


def serve_study(folder: Path, address: Address, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Raises:
        StudyError: an admin choice that does not exist, a bare public host without an URL, a proxy that cannot be read, a study that is
            opened to raters without a consent text, or a port that is taken.
    """
    _check(address)
    with open_study(folder) as study:
        faults = consent_faults(study.config.texts)
        if faults and address.public_url and address.admin != "only":
            raise StudyError(f"{faults[0]}; without --public-url you can try the study out alone")
        for name in note_missing(study):
            say(f"note: '{name}' is left out, a picture of it is gone")
        for fault in text_faults(study.config.texts):
            say(f"note: {fault}")
        app = make_app(study, address.admin, address.public_url, hosts=[address.host])
        page = "/admin" if address.admin == "only" else "/"
        say(f"serving {folder} on http://{address.host}:{address.port}{page} (Ctrl-C stops; every answer is on the disk)")
        server = make_server(app, address)
        try:
            server.run()
        except SystemExit:  # uvicorn's way to say that it could not start
            raise StudyError(
                f"cannot listen on {address.host}:{address.port}: the port is taken, choose another with --port"
            ) from None


def make_server(app: "FastAPI", address: Address, limits: "Limits | None" = None) -> "uvicorn.Server":
    """The server of an application, with limits to what one connection may take."""
    import uvicorn

    from legan.study.limits import Limits, limited_protocol

    limits = limits or Limits()
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what strangers send is no concern of the researcher's
    config = uvicorn.Config(
        app, address.host, address.port, access_log=False, log_level="error", server_header=False, http=limited_protocol(limits),
        timeout_keep_alive=round(limits.idle_seconds), timeout_graceful_shutdown=5, ws="none", backlog=BACKLOG,
        proxy_headers=bool(address.proxy), forwarded_allow_ips=address.proxy,
    )  # fmt: skip
    return uvicorn.Server(config)


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


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
    if address.proxy and not all(_is_network(part.strip()) for part in address.proxy.split(",")):
        raise StudyError(f"cannot read --proxy '{address.proxy}': give the proxy's address, such as 127.0.0.1")
    if address.host not in LOOPBACK and not address.public_url:
        raise StudyError(
            f"--host {address.host} opens the study to the network: say under which address raters reach it with --public-url "
            "(https:// through a proxy, see docs/studies.md)"
        )
