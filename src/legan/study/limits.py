"""Limits of what one connection may take: bytes of a request, seconds for each part of it, and connections at once.

uvicorn itself waits for ever for a request that somebody has begun, or that nobody ever begins on an open connection. Behind a proxy,
which has limits of its own, these are seldom met.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
        """Connections at once that the system allows too, with files left over for pictures and the database."""
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
