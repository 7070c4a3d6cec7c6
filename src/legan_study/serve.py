"""`legan study serve`: the web application, the server, and its limits of connections.

Listens on loopback unless an address is given; writes no log of requests.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from legan.core.errors import StudyError
from legan.requests import Address
from legan_study.admin import admin_routes
from legan_study.check import consent_faults, text_faults
from legan_study.config import Texts, check_password
from legan_study.http import Guard, Limiter, Renderer, Sessions, error_page, static_routes
from legan_study.pages import rater_routes
from legan_study.store import StoreError
from legan_study.study import Study, mark_missing, open_study

LOOPBACK = ("localhost", "127.0.0.1", "::1")
N_THREADS = 8  # more would only wait for the interpreter and the database
PER_SESSION, PER_ADDRESS = (20.0, 60.0), (300.0, 600.0)  # requests a second, and in a burst; a classroom shares one address


def make_app(
    study: Study,
    admin: str = "off",
    public_url: str = "",
    hosts: Iterable[str] = (),
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The web application: the pages of raters, of the researcher, or both.

    Args:
        study: the opened study.
        admin: off (no admin pages), on (in addition to the raters' pages), or only (no raters' pages).
        public_url: its address for raters, behind a proxy; with https:// cookies are sent over TLS only.
        hosts: further names accepted in the `Host` header.
        clock: seconds since 1970; tests replace it.

    Raises:
        StudyError: an admin password that is too short.
    """
    sessions = Sessions(study.keys, study.tag, study.config.session_hours, secure=public_url.startswith("https://"))
    renderer = Renderer(study)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = N_THREADS
        yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.include_router(static_routes(renderer))
    if admin != "only":
        app.include_router(rater_routes(study, sessions, renderer, clock))
    if admin != "off":
        check_password(study.keys)
        app.include_router(admin_routes(study, sessions, renderer, clock))
    _add_error_pages(app, renderer, study.config.texts)
    names = {*LOOPBACK, *hosts, urlsplit(public_url).hostname or "localhost"}
    app.add_middleware(Guard, hosts=names, per_session=Limiter(*PER_SESSION), per_address=Limiter(*PER_ADDRESS))
    return app


def _add_error_pages(app: FastAPI, renderer: Renderer, texts: Texts) -> None:
    # Coroutines: an error page must not wait for a thread, since all threads may wait for the database.
    @app.exception_handler(StoreError)
    async def unavailable(request: Request, error: Exception) -> Response:
        logging.getLogger("legan.study").error("%s", error)  # for the researcher; raters see no cause
        return error_page(renderer, 503, texts.unavailable)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: Exception) -> Response:
        return error_page(renderer, 400, texts.unreadable)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = texts.no_page if error.detail in ("Not Found", "Method Not Allowed") else error.detail
        return error_page(renderer, error.status_code, message)


# The server.


ADMIN_CHOICES = ("off", "on", "only")
BACKLOG = 128  # connections waiting to be accepted


def serve_study(folder: Path, address: Address, say: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Raises:
        StudyError: an unknown `admin`, a public host without `public_url`, a malformed proxy, a public study without a consent text, or
            a port in use.
    """
    _check(address)
    with open_study(folder) as study:
        faults = consent_faults(study.config.texts)
        if faults and address.public_url and address.admin != "only":
            raise StudyError(f"{faults[0]}; without --public-url you can try the study out alone")
        for name in mark_missing(study):
            say(f"note: '{name}' is left out: an image file of it is missing")
        for fault in text_faults(study.config.texts):
            say(f"note: {fault}")
        app = make_app(study, address.admin, address.public_url, hosts=[address.host])
        page = "/admin" if address.admin == "only" else "/"
        say(f"serving {folder} on http://{address.host}:{address.port}{page} (stop with Ctrl-C; all answers are on the disk)")
        server = make_server(app, address)
        try:
            server.run()
        except SystemExit:  # of uvicorn, which could not start
            raise StudyError(
                f"cannot listen on {address.host}:{address.port}: the port is taken, choose another with --port"
            ) from None


def make_server(app: FastAPI, address: Address, limits: "Limits | None" = None) -> uvicorn.Server:
    """The server of an application, with limits of each connection."""
    limits = limits or Limits()
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # malformed requests of strangers do not concern the researcher
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
            f"--host {address.host} opens the study to the network: give its address for raters with --public-url "
            "(https:// through a proxy, see docs/studies.md)"
        )


# Limits of a connection: bytes of a request, seconds for each part of it, and the number of connections. uvicorn itself waits without limit
# for the rest of a request (slow-loris attack). Behind a proxy, which has limits of its own, they are seldom reached.


IDLE, HEAD, BODY, ANSWER = "idle", "head", "body", "answer"  # the phase of a connection


@dataclass(frozen=True)
class Limits:
    """Limits of a connection.

    Args:
        head_bytes: of a request's first line and headers.
        body_bytes: of all that follows, chunk headers included; `http.MAX_BODY` limits the form itself.
        head_seconds: from the connection, or the first byte of a later request, to the last header.
        body_seconds: from then to the end of the form.
        answer_seconds: from then to the end of the response.
        idle_seconds: without a request, after the first one.
        n_connections: open at once; for each further one, the one is closed that has been without a whole request for the longest time.
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
        """`n_connections`, or fewer where the system allows fewer open files; some are left for images and the database."""
        try:
            import resource
        except ModuleNotFoundError:  # Windows has no such limit
            return self.n_connections
        return max(1, min(self.n_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100))


class LimitedProtocol(HttpToolsProtocol):
    """A connection with `limits`. Methods: those of asyncio's protocols and httptools' parsers."""

    limits = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at, self._since, self._n_bytes = IDLE, 0.0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, and close another connection if there are too many."""
        super().connection_made(transport)
        self._go_to(HEAD)
        others = [one for one in self.connections if isinstance(one, LimitedProtocol) and not one.transport.is_closing()]
        if len(others) > self.limits.n_possible:
            waiting = [one for one in others if one._at != ANSWER and one is not self]
            min(waiting, key=lambda one: one._since, default=self).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes to the parser, and count them."""
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
        """The first byte of a request was read."""
        super().on_message_begin()
        if self._at != HEAD:
            self._go_to(HEAD)

    def on_headers_complete(self) -> None:
        """The last header was read."""
        n_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if n_bytes > self.limits.head_bytes:
            self._refuse(431, "Request Header Fields Too Large")
        else:
            super().on_headers_complete()
            self._go_to(BODY)

    def on_body(self, body: bytes) -> None:
        """A part of the form was read."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request was read."""
        if self._is_refused:
            return
        super().on_message_complete()
        self._go_to(IDLE if self.cycle.response_complete else ANSWER)

    def on_response_complete(self) -> None:
        """The response was written, though perhaps not fetched."""
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
        self._timer = self.loop.call_later(seconds[at], self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self, n_bytes: int, most: int, status: int, reason: str) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > most:
            self._refuse(status, reason)

    def _time_out(self) -> None:
        self._timer = None
        is_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self._at == HEAD and not self._n_bytes:
            self.transport.close()  # no request was begun
        elif self._at in (HEAD, BODY) and not is_answered:
            self._refuse(408, "Request Timeout")
        else:
            self.transport.abort()

    def _refuse(self, status: int, reason: str) -> None:
        """Send an error and close the connection; abort it a second later if the client has not read the error."""
        self._is_refused = True
        if not self.transport.is_closing():
            head = (
                f"HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\nconnection: close"
            )
            self.transport.write(f"{head}\r\n\r\n{reason}".encode())
            self.transport.close()
            self.loop.call_later(1.0, self.transport.abort)


def limited_protocol(limits: Limits) -> type[LimitedProtocol]:
    """The class of connections with these limits, as uvicorn's setting `http` takes it."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})
