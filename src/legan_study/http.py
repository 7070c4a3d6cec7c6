"""What all pages share: limits of requests and headers, signed cookies and form tokens, templates and static files."""

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import APIRouter, Form
from itsdangerous import BadData, URLSafeTimedSerializer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from legan_study.config import TEMPLATES, Keys
from legan_study.store import ARRIVED
from legan_study.study import Study

# Checks of every request: its host, size, rate and origin; and the headers of every response. Starlette's TrustedHostMiddleware checks the
# host alone, and answers with a text that no rater can act on.


MAX_BODY = 8192  # bytes; an answer has about 300
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex",
}


@dataclass
class Limiter:
    """Token buckets in memory: `rate` requests a second for each key, `burst` at once.

    Kept in memory only; a key without recent requests is dropped.
    """

    rate: float
    burst: float
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allows(self, key: str, now: float | None = None) -> bool:
        """Whether one more request of `key` is within the limit."""
        now = time.monotonic() if now is None else now
        if len(self._buckets) > 10_000:
            full = self.burst / self.rate
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < full}
        tokens, since = self._buckets.get(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1


class _TooLargeError(Exception):
    pass


class Guard:
    """ASGI middleware.

    Args:
        app: the application that it protects.
        hosts: accepted names of the `Host` header; keeps out other names that point here (DNS rebinding).
        per_session, per_address: limits by cookie and by network address (kept in memory only).
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], per_session: Limiter, per_address: Limiter) -> None:
        self.app, self.hosts = app, frozenset(host.lower() for host in hosts)
        self.per_session, self.per_address = per_session, per_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ARRIVED.set(time.monotonic())
        headers, started = Headers(scope=scope), False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own[name] = value
                own.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        try:
            await self.app(scope, _limited(receive), guarded_send)
        except ClientDisconnect:
            return  # the client has gone in the middle of a form
        except _TooLargeError:
            if not started:
                await _refuse(413, "This is more than a form of this page can hold.")(scope, receive, guarded_send)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "").lower()
        if _split(f"//{host}").hostname not in self.hosts:
            return _refuse(421, "This address does not belong to the study: use the link that you were given.")
        address = (scope.get("client") or ("", 0))[0]
        cookie = headers.get("cookie", "")
        if not self.per_address.allows(address) or (cookie and not self.per_session.allows(cookie)):
            return _refuse(429, "Too many requests: wait a moment, then go on.", {"Retry-After": "2"})
        if scope["method"] in ("GET", "HEAD"):
            return None
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"0*[0-9]{1,9}", length) or int(length[-9:]) > MAX_BODY:
            return _refuse(413, "This is more than a form of this page can hold.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if (site not in (None, "same-origin")) or (origin is not None and _split(origin).netloc.lower() != host):
            return _refuse(403, "This form was sent from another site: open the study's own page.")
        return None


def _split(address: str) -> SplitResult:
    """The parts of an address; all empty if it is malformed, such as `//[`."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _refuse(status: int, message: str, headers: dict[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(message, status, headers)


def _limited(receive: Receive) -> Receive:
    n_bytes = 0

    async def limited() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > MAX_BODY:
            raise _TooLargeError
        return message

    return limited


# Signed cookies and form tokens (itsdangerous). A cookie holds a random session, nothing about the person. Its name ends in the study's
# tag, since browsers keep one set of cookies for all ports of a host. Starlette's SessionMiddleware keeps one cookie of one age for all
# purposes; here rater, visit and admin have their own ages and salts, so that none can stand in for another.


RATER, VISIT, ADMIN = "legan-rater", "legan-visit", "legan-admin"
ADMIN_HOURS, VISIT_HOURS = 8.0, 2.0
Token = Annotated[str, Form(max_length=100)]  # a field of every form


@dataclass(frozen=True)
class Sessions:
    """Signs and reads cookies.

    Args:
        keys: of the study.
        tag: of the study.
        hours: that a rater's session lasts.
        secure: whether pages are served over HTTPS; cookies are then sent over HTTPS only.
    """

    keys: Keys
    tag: str
    hours: float
    secure: bool

    def set(self, response: Response, name: str, value: Any) -> None:
        """Set a signed cookie."""
        age = int(3600 * self._hours(name))
        response.set_cookie(
            self._full(self._own(name)),
            self._signer(self._own(name)).dumps(value),
            max_age=age,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def get(self, request: Request, name: str) -> Any:
        """Value of a cookie; None if it is absent, forged, or expired."""
        own = self._own(name)
        try:
            return self._signer(own).loads(request.cookies.get(self._full(own), ""), int(3600 * self._hours(name)))
        except BadData:
            return None

    def drop(self, response: Response, name: str) -> None:
        """Remove a cookie."""
        response.delete_cookie(self._full(self._own(name)), path="/", secure=self.secure, httponly=True, samesite="lax")

    def form_token(self, session: str) -> str:
        """The token that each form of a session carries, so that no other site can send it (CSRF)."""
        return self.keys.digest("form", session)

    def is_form_token(self, token: str, session: str) -> bool:
        """Whether a form's token belongs to the session."""
        return self.keys.are_equal(token, self.form_token(session))

    def _own(self, name: str) -> str:
        return f"{name}-{self.tag}"

    def _full(self, name: str) -> str:
        return f"__Host-{name}" if self.secure else name  # browsers accept it only from this host, over TLS

    def _hours(self, name: str) -> float:
        return {RATER: self.hours, VISIT: VISIT_HOURS, ADMIN: ADMIN_HOURS}[name]

    def _signer(self, name: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.keys.session_key, salt=name)


# Templates and static files.


STATIC = TEMPLATES.parent / "static"
STATIC_TYPES = {
    "study.css": "text/css; charset=utf-8",
    "study.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}


class Renderer:
    """Fills the templates; all values are escaped."""

    def __init__(self, study: Study) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.filters["paragraphs"] = lambda text: [
            part.strip() for part in text.strip().split("\n\n") if part.strip()
        ]
        self.files = {name: (STATIC / name).read_bytes() for name in STATIC_TYPES}
        versions = {name: hashlib.sha256(data).hexdigest()[:8] for name, data in self.files.items()}
        self._environment.globals.update(config=study.config, texts=study.config.texts, versions=versions)

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page as a response."""
        return HTMLResponse(self._environment.get_template(template).render(values), status)


def error_page(renderer: Renderer, status: int, message: str) -> HTMLResponse:
    """A page with an error message."""
    response = renderer.page("error.html", status, message=message)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def static_routes(renderer: Renderer) -> APIRouter:
    """Style and script, kept in memory: served without a thread, so also while all threads wait for the database."""
    router = APIRouter()

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in renderer.files:
            raise HTTPException(404)
        return Response(renderer.files[name], media_type=STATIC_TYPES[name], headers=FOREVER)

    return router
