"""The web application: raters' pages, and the admin pages where they are asked for."""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from legan_study.config import Texts, check_password
from legan_study.http import Guard, Limiter, Sessions
from legan_study.pages import Renderer, error_page, rater_routes, static_routes
from legan_study.store import StoreError
from legan_study.study import Study

LOOPBACK = ("localhost", "127.0.0.1", "::1")
N_THREADS = 8  # more only take turns at the interpreter and the database
PER_SESSION, PER_ADDRESS = (20.0, 60.0), (300.0, 600.0)  # requests a second, and at once; a classroom shares one address


def make_app(
    study: Study,
    admin: str = "off",
    public_url: str = "",
    hosts: Iterable[str] = (),
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Build the application.

    Args:
        study: the opened study.
        admin: off (no admin pages), on (beside the raters' pages), or only (nothing but admin pages).
        public_url: where raters reach it, behind a proxy; with https:// cookies are sent over TLS only.
        hosts: further names under which it may be asked for.
        clock: seconds since 1970; tests turn it.

    Raises:
        StudyError: an admin password that could be guessed.
    """
    sessions = Sessions(study.keys, study.tag, study.config.session_hours, secure=public_url.startswith("https://"))
    renderer = Renderer(study)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = N_THREADS
        yield

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.include_router(static_routes(renderer))
    if admin != "only":
        app.include_router(rater_routes(study, sessions, renderer, clock))
    if admin != "off":
        check_password(study.keys)
        from legan_study.admin import admin_routes

        app.include_router(admin_routes(study, sessions, renderer, clock))
    _explain_errors(app, renderer, study.config.texts)
    known = {*LOOPBACK, *hosts, urlsplit(public_url).hostname or "localhost"}
    app.add_middleware(Guard, hosts=known, per_session=Limiter(*PER_SESSION), per_address=Limiter(*PER_ADDRESS))
    return app


def _explain_errors(app: FastAPI, renderer: Renderer, texts: Texts) -> None:
    # Coroutines: an error must not wait for a thread, all of which may wait for the database.
    @app.exception_handler(StoreError)
    async def unavailable(request: Request, error: Exception) -> Response:
        import logging

        logging.getLogger("legan.study").error("%s", error)  # for the researcher; raters need not know the cause
        return error_page(renderer, 503, texts.unavailable)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: Exception) -> Response:
        return error_page(renderer, 400, texts.unreadable)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = texts.no_page if error.detail in ("Not Found", "Method Not Allowed") else error.detail
        return error_page(renderer, error.status_code, words)
