"""Serving a study: the server process and its limits of connections."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from legan.core.errors import StudyError
from legan_study.check import consent_faults, text_faults
from legan_study.study import note_missing, open_study
from legan_study.web import LOOPBACK, make_app

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI


# `legan study serve`: the web server. Binds loopback unless told otherwise; writes no log of who asked for what.


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
            say(f"note: '{name}' is left out, an image of it is gone")
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


# Limits of what one connection may take: bytes of a request, seconds for each part of it, and connections at once.
#
# uvicorn itself waits for ever for a request that somebody has begun, or that nobody ever begins on an open connection. Behind a proxy,
# which has limits of its own, these are seldom met.


IDLE, HEAD, BODY, ANSWER = "idle", "head", "body", "answer"  # what a connection is at


@dataclass(frozen=True)
class Limits:
    """What a connection may take.

    Args:
        head_bytes: of a request's first line and headers.
        body_bytes: that may be sent after them, the form with its wrapping; `guard` takes less for the form itself.
        head_seconds: from the connection, or the first byte of a later request, until all headers are there.
        body_seconds: from then until the whole form is there.
        answer_seconds: from then until the answer has been fetched.
        idle_seconds: without a request, after the first one.
        n_connections: at once; for each further one, the one is closed that has waited longest without a whole request.
    """

    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    answer_seconds: float = 120.0
    idle_seconds: float = 75.0  # raters think for a while between two requests
    n_connections: int = 500

    @property
    def n_possible(self) -> int:
        """Connections at once that the system allows too, with files left over for images and the database."""
        try:
            import resource
        except ModuleNotFoundError:  # Windows has no such limit
            return self.n_connections
        return max(1, min(self.n_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))


class LimitedProtocol(HttpToolsProtocol):
    """A connection that keeps to `limits`. The methods are those of asyncio's protocols and httptools' parsers."""

    limits = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at, self._since, self._n_bytes = IDLE, 0.0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock, and make room."""
        super().connection_made(transport)
        self._go_to(HEAD)
        others = [one for one in self.connections if isinstance(one, LimitedProtocol) and not one.transport.is_closing()]
        if len(others) > self.limits.n_possible:
            waiting = [one for one in others if one._at != ANSWER and one is not self]
            min(waiting, key=lambda one: one._since, default=self).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count, and hand on to the parser."""
        if self._is_refused or self.transport.is_closing():
            return
        if self._at == IDLE:
            self._go_to(HEAD)
        before = self._at
        super().data_received(data)
        if self._at == before == HEAD:
            self._count(len(data), self.limits.head_bytes, 431, "Request Header Fields Too Large")
        elif self._at == before == BODY:
            self._count(len(data), self.limits.body_bytes, 413, "Content Too Large")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        if self._at != HEAD:
            self._go_to(HEAD)

    def on_headers_complete(self) -> None:
        """The whole head is there."""
        n_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if n_bytes > self.limits.head_bytes:
            self._refuse(431, "Request Header Fields Too Large")
        else:
            super().on_headers_complete()
            self._go_to(BODY)

    def on_body(self, body: bytes) -> None:
        """A part of the form."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        if self._is_refused:
            return
        super().on_message_complete()
        self._go_to(IDLE if self.cycle.response_complete else ANSWER)

    def on_response_complete(self) -> None:
        """The answer is written, though perhaps not fetched."""
        super().on_response_complete()
        if self._at == ANSWER and not self.pipeline and self.cycle.response_complete:
            self._go_to(IDLE)

    def _go_to(self, at: str) -> None:
        self._stop_timer()
        self._at, self._since, self._n_bytes = at, self.loop.time(), 0
        limits = self.limits
        seconds = {
            HEAD: limits.head_seconds,
            BODY: limits.body_seconds,
            ANSWER: limits.answer_seconds,
            IDLE: limits.idle_seconds,
        }
        self._timer = self.loop.call_later(seconds[at], self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self, n_bytes: int, most: int, status: int, words: str) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > most:
            self._refuse(status, words)

    def _time_is_up(self) -> None:
        self._timer = None
        is_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self._at == HEAD and not self._n_bytes:
            self.transport.close()  # nothing was asked
        elif self._at in (HEAD, BODY) and not is_answered:
            self._refuse(408, "Request Timeout")
        else:
            self.transport.abort()

    def _refuse(self, status: int, words: str) -> None:
        """Say why, and close; for good after a second, whether that is read or not."""
        self._is_refused = True
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {words}\r\ncontent-type: text/plain\r\ncontent-length: {len(words)}\r\nconnection: close"
            self.transport.write(f"{head}\r\n\r\n{words}".encode())
            self.transport.close()
            self.loop.call_later(1.0, self.transport.abort)


def limited_protocol(limits: Limits) -> type[LimitedProtocol]:
    """The class of connections that keep to these limits, as uvicorn asks for one."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})
