"""The admin pages, of the researcher: login, live figures, exclusion of raters and its undoing, downloads. Off without `serve --admin`."""

import secrets
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, select
from starlette.exceptions import HTTPException

from legan_study import raters
from legan_study.export import files_of
from legan_study.http import ADMIN, Limiter, Renderer, Sessions, Token, error_page
from legan_study.results import agreement_in_words, read_records, status
from legan_study.store import rater
from legan_study.study import Study

GUESSES = (0.1, 5.0)  # wrong passwords of an address that get a plain answer: a second, and in a burst
N_SIGNED_IN = 100  # browsers; the oldest is signed out first
RaterId = Annotated[int, Form(ge=1, le=2**31 - 1)]  # what the database's integers hold
FILES = {"answers.csv": "text/csv", "ratings.csv": "text/csv", "gold.csv": "text/csv", "preference.json": "application/json"}


def admin_routes(study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes below /admin."""
    pages = _AdminPages(study, sessions, renderer, clock)
    router = APIRouter(prefix="/admin")
    router.get("")(pages.overview)
    router.post("/login")(pages.login)
    router.post("/logout")(pages.logout)
    router.post("/exclude")(pages.exclude)
    router.post("/include")(pages.include)
    router.get("/download/{name}")(pages.download)
    return router


class _AdminPages:
    def __init__(self, study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float]) -> None:
        self.study, self.sessions, self.renderer, self.clock = study, sessions, renderer, clock
        self.guesses = Limiter(*GUESSES)
        self._signed_in: dict[str, None] = {}  # sessions, oldest first; a restart of the server ends them
        self._status: tuple[float, float, dict[str, Any]] | None = (
            None  # time.monotonic(), seconds of the computation, the figures
        )

    def _session(self, request: Request) -> str | None:
        """The session of a signed-in browser; None after signing out, even with a kept cookie."""
        session = self.sessions.get(request, ADMIN)
        return session if isinstance(session, str) and session in self._signed_in else None

    def _require_session(self, request: Request) -> str:
        session = self._session(request)
        if session is None:
            raise HTTPException(403, "Sign in first: open /admin.")
        return session

    def overview(self, request: Request) -> Response:
        """The figures, or the login."""
        session = self._session(request)
        if session is None:
            return self.renderer.page("login.html", wrong=False)
        figures = self._figures()
        token, words = self.sessions.form_token(session), agreement_in_words(figures["agreement"])
        files = [
            "answers.csv",
            *(["preference.json"] if figures["models"] else ["ratings.csv"]),
            *(["gold.csv"] if figures["n_gold"] else []),
        ]
        return self.renderer.page("admin.html", figures=figures, agreement=words, token=token, files=files)

    def _figures(self) -> dict[str, Any]:
        """The status, recomputed at most so often that this takes a tenth of the time."""
        start = time.monotonic()
        if self._status is None or start - self._status[0] > 10 * self._status[1]:
            figures = status(self.study)
            end = time.monotonic()
            self._status = (end, end - start, figures)
        return self._status[2]

    def login(self, request: Request, password: Annotated[str, Form(max_length=200)]) -> Response:
        """Check the password. The right one is always accepted: wrong guesses of others do not lock the owner out.

        Against guessing stand the password's length (`config.MIN_LENGTH`) and the limit of requests (`http.Guard`).
        """
        if not self.study.keys.are_equal(password, self.study.keys.admin_password):
            if not self.guesses.allows(request.client.host if request.client else ""):
                return error_page(self.renderer, 429, "Too many wrong passwords: wait a minute.")
            return self.renderer.page("login.html", 403, wrong=True)
        session = "admin-" + secrets.token_urlsafe(16)
        self._signed_in[session] = None
        while len(self._signed_in) > N_SIGNED_IN:
            del self._signed_in[next(iter(self._signed_in))]
        response = RedirectResponse("/admin", 303)
        self.sessions.set(response, ADMIN, session)
        return response

    def logout(self, request: Request, token: Token) -> Response:
        """End the session; its cookie is worthless from then on."""
        self._check(request, token)
        self._signed_in.pop(self._require_session(request), None)
        response = RedirectResponse("/admin", 303)
        self.sessions.drop(response, ADMIN)
        return response

    def _check(self, request: Request, token: str) -> None:
        if not self.sessions.is_form_token(token, self._require_session(request)):
            raise HTTPException(403, "This page is out of date: load it again.")

    def exclude(self, request: Request, token: Token, rater_id: RaterId) -> Response:
        """Exclude a rater."""
        return self._change(request, token, rater_id, lambda connection: raters.exclude(connection, rater_id, self.clock()))

    def include(self, request: Request, token: Token, rater_id: RaterId) -> Response:
        """Undo the exclusion of a rater."""
        return self._change(request, token, rater_id, lambda connection: raters.include(connection, rater_id))

    def _change(self, request: Request, token: str, rater_id: int, change: Callable[[Connection], None]) -> Response:
        self._check(request, token)
        with self.study.store.writing() as connection:
            if connection.execute(select(rater.c.id).where(rater.c.id == rater_id)).first() is None:
                raise HTTPException(404, "There is no such rater.")
            change(connection)
        self._status = None
        return RedirectResponse("/admin", 303)

    def download(self, request: Request, name: str) -> Response:
        """One file of the export."""
        self._require_session(request)
        with self.study.store.reading() as connection:
            files = files_of(self.study, read_records(self.study, connection))
        if name not in files:
            raise HTTPException(404, "There is no such file yet.")
        return Response(files[name], media_type=FILES[name], headers={"Content-Disposition": f'attachment; filename="{name}"'})
