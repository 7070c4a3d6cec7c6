"""The pages of raters: consent, instructions, items, breaks, the end. All state is in the database, so a reload changes nothing.

Each request after the consent is one transaction: it changes the rater's state, assigns the next item, and is on the disk before the next
page is sent.
"""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection, Row, select, update
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from legan.core.table import read_number
from legan_study import raters
from legan_study.assignment import (
    Outcome,
    RaterState,
    Reply,
    answered_shares,
    assign_items,
    assignment_of,
    go_back,
    has_room,
    mark_shown,
    save_answer,
)
from legan_study.http import FOREVER, RATER, VISIT, Renderer, Sessions, Token, error_page
from legan_study.store import INPUT, NONE, PICKED, PRACTICE, RATED, SKIPPED, TIE, answer, assignment, item
from legan_study.store import rater as rater_table
from legan_study.study import Study, StudyImage, is_readable

MAX_SECONDS = 86400.0  # of an answer


@dataclass(frozen=True)
class View:
    """A page: the name of the template, and its values."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)


def next_view(study: Study, connection: Connection, rater: Row[Any], now: float, notice: str = "") -> View:
    """Return the next page of a rater; assigns items, so it runs inside `Store.writing`."""
    if rater.excluded_at is not None:
        return View("full.html") if rater.finished_at is None else _done(study, connection, rater)
    if rater.instructed_at is None:
        return View("instructions.html")
    state = _state(study, connection, rater, now)
    if rater.revising is None:
        if not state.pending:
            return _end(study, connection, rater, state, now)
        every = study.config.break_every
        if every and state.n_done and state.n_done % every == 0 and rater.rested != state.n_done:
            return View("break.html", {"n_done": state.n_done, "n_total": state.n_total})
    return _item_view(study, connection, rater, state, now, notice)


def _state(study: Study, connection: Connection, rater: Row[Any], now: float) -> RaterState:
    """The rater's state, with pending assignments whose images all exist: other items are marked as missing and replaced."""
    while True:
        state = assign_items(connection, study, rater, now)
        gone = [row.item_id for row in state.pending if not all(image.path.is_file() for image in _images(study, row))]
        if not gone:
            return state
        connection.execute(update(item).where(item.c.id.in_(gone)).values(missing=True))


def _images(study: Study, row: Row[Any]) -> list[StudyImage]:
    return [study.images[key] for key in json.loads(row.layout)]


def _end(study: Study, connection: Connection, rater: Row[Any], state: RaterState, now: float) -> View:
    if state.n_done == 0:
        return View("full.html")
    raters.finish(connection, rater.id, now)
    return _done(study, connection, rater)


def _done(study: Study, connection: Connection, rater: Row[Any]) -> View:
    if answered_shares(connection, rater.id).get(rater.id, 1.0) < study.config.min_answered:
        return View("too_few.html", {"name": rater.name})
    code = study.config.completion_code or study.keys.code(rater.name)
    link = study.config.completion_url.replace("{code}", code)
    return View("done.html", {"code": code, "link": link, "name": rater.name})


def _item_view(study: Study, connection: Connection, rater: Row[Any], state: RaterState, now: float, notice: str) -> View:
    row, before = state.pending[0] if state.pending else None, None
    if rater.revising is not None:
        row = connection.execute(select(assignment).where(assignment.c.id == rater.revising)).one()
        before = connection.execute(select(answer).where(answer.c.assignment_id == row.id)).one()
    assert row is not None
    mark_shown(connection, row, now)
    shown = _images(study, row)
    return View(
        f"{study.config.kind}.html",
        {
            "n_done": state.n_done,
            "n_total": state.n_total,
            "assignment": row.code,
            "practice": row.role == PRACTICE,
            "images": [image for image in shown if image.model != INPUT],
            "original": next((image for image in shown if image.model == INPUT), None),
            "preload": [image.code for other in state.pending if other.id != row.id for image in _images(study, other)],
            "can_go_back": rater.revising is None and state.last is not None and state.last.n_revisions == 0,
            "before": before,
            "picked": study.images[before.picture_id].code if before is not None and before.picture_id else "",
            "notice": notice,
        },
    )


def read_reply(study: Study, row: Row[Any], form: dict[str, str], is_broken: bool = False) -> Reply | None:
    """Read the form of an answer; None if it holds no valid answer to this item.

    Args:
        study: the opened study.
        row: the assignment.
        form: as it was sent.
        is_broken: whether an image of the item cannot be decoded; it may then be skipped in any study.
    """
    skipped = Reply(
        SKIPPED,
        seconds=_number(form.get("seconds"), 0, MAX_SECONDS) or 0.0,
        slider_start=_number(form.get("slider_start"), 0, 10),
        display_width=_number(form.get("display_width"), 0, 20_000),
        display_height=_number(form.get("display_height"), 0, 20_000),
        pixel_ratio=_number(form.get("pixel_ratio"), 0, 20),
    )
    if form.get("skip"):
        return skipped if study.config.allow_skip or is_broken else None
    if study.config.kind == "rating":
        rating = _number(form.get("rating"), 0, 10)
        is_on_grid = rating is not None and abs(rating / study.config.step - round(rating / study.config.step)) < 1e-6
        return replace(skipped, verdict=RATED, rating=rating) if is_on_grid else None
    choice = form.get("choice", "")
    if choice in (TIE, NONE):
        return replace(skipped, verdict=choice)
    key = study.by_code.get(choice)
    if key is None or study.images[key].item_id != row.item_id or study.images[key].model == INPUT:
        return None
    return replace(skipped, verdict=PICKED, picture_id=key)


def _number(text: str | None, low: float, high: float) -> float | None:
    value = read_number(text)
    return value if value is not None and low <= value <= high else None


def take_answer(
    study: Study, connection: Connection, rater: Row[Any], code: str, form: dict[str, str], now: float
) -> Outcome | None:
    """Save the answer of a form; None if the form holds no valid answer."""
    row = assignment_of(connection, rater.id, code)
    if row is None:
        return Outcome.UNKNOWN
    # The browser may report a broken image, but a form can be forged: the file decides.
    is_broken = form.get("skip") == "broken" and not all(is_readable(image) for image in _images(study, row))
    reply = read_reply(study, row, form, is_broken)
    if reply is None or rater.excluded_at is not None:
        return None
    if is_broken:
        connection.execute(update(item).where(item.c.id == row.item_id).values(missing=True))
    return save_answer(connection, study.config, rater, row, reply, now)


# Routes.


PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"  # MTurk's parameter before a task is accepted
N_FILE_THREADS = 4
_FILE_THREADS: RunVar[CapacityLimiter] = RunVar("legan threads that read images")  # a limit for each event loop


def rater_routes(study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes of raters."""
    router = APIRouter()
    pages = _RaterPages(study, sessions, renderer, clock)
    router.get("/")(pages.home)
    router.get("/declined")(pages.declined)
    router.get("/picture/{code}")(pages.image)
    router.post("/consent")(pages.consent)
    router.post("/start")(pages.start)
    router.post("/go-on")(pages.go_on)
    router.post("/back")(pages.back)
    router.post("/answer")(pages.answer)
    return router


class _RaterPages:
    def __init__(self, study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float]) -> None:
        self.study, self.sessions, self.renderer, self.clock = study, sessions, renderer, clock
        self.texts = study.config.texts

    def home(self, request: Request) -> Response:
        """The study's only address for raters: entry by a link, or the rater's next page."""
        config, query = self.study.config, request.query_params
        if config.entry == "panel" and query.get("assignmentId") == PREVIEW:
            return error_page(self.renderer, 200, self.texts.preview)
        if config.entry == "invitation" and query.get("invitation"):
            return self._arrive_invited(request, query["invitation"][:100])
        if config.entry == "panel" and query.get(config.panel_parameter):
            return self._arrive_from_panel(query[config.panel_parameter][:200])
        session = self.sessions.get(request, RATER)
        if session is not None:
            with self.study.store.writing() as connection:
                row = raters.by_session(connection, session)
                if row is not None:
                    view = next_view(self.study, connection, row, self.clock())
                    return self._show(view, session)
        return self._welcome(request)

    def _arrive_from_panel(self, name: str) -> Response:
        if not raters.is_name(name, self.study.config.panel_parameter):
            return error_page(self.renderer, 403, self.texts.unfilled_link)
        return self._arrive({"panel": self.study.keys.digest("panel", name)})

    def _arrive_invited(self, request: Request, token: str) -> Response:
        session = self.sessions.get(request, RATER)
        if session is not None:
            with self.study.store.reading() as connection:
                if raters.came_by(connection, self.study.keys, session, token):
                    return RedirectResponse("/", 303)  # the link is used up, but its own rater may see the code again
        return self._arrive({"invitation": token})

    def _arrive(self, claim: dict[str, str]) -> Response:
        """Move the parameters of the link into a signed cookie, so that neither address bar nor history keep them."""
        response = RedirectResponse("/", 303)
        self.sessions.set(response, VISIT, {**claim, "nonce": secrets.token_urlsafe(16)})
        # A new link replaces the rater of this browser.
        self.sessions.drop(response, RATER)
        return response

    def _welcome(self, request: Request) -> Response:
        visit, entry = self.sessions.get(request, VISIT), self.study.config.entry
        if visit is None and entry == "open":
            visit = {"nonce": secrets.token_urlsafe(16)}
        if visit is None:
            return error_page(self.renderer, 403, self.texts.needs_link)
        with self.study.store.writing() as connection:
            known = self._known(connection, visit)
            if (
                "invitation" in visit
                and raters.invitation_of(connection, self.study.keys, visit["invitation"], self.clock()) is None
            ):
                return error_page(self.renderer, 403, self.texts.invalid_invitation)
            if known is not None:
                return self._enter(known)
            if not has_room(connection, self.study.config, self.clock()):
                return self.renderer.page("full.html")
        response = self.renderer.page("consent.html", token=self.sessions.form_token(visit["nonce"]))
        self.sessions.set(response, VISIT, visit)
        return response

    def _known(self, connection: Connection, visit: dict[str, str]) -> Row[Any] | None:
        if "panel" in visit:
            return raters.returning(connection, rater_table.c.panel_hash, visit["panel"])
        if "invitation" in visit:
            number = raters.invitation_of(connection, self.study.keys, visit["invitation"], self.clock())
            return None if number is None else raters.returning(connection, rater_table.c.invitation_id, number)
        return raters.by_session(connection, self._session_of(visit))

    def _session_of(self, visit: dict[str, str]) -> str:
        """The session of the rater who consents in this visit: the same form sent again belongs to the same rater."""
        return self.study.keys.digest("session", visit["nonce"])[:32]

    def _enter(self, row: Row[Any]) -> Response:
        response = RedirectResponse("/", 303)
        self.sessions.set(response, RATER, row.session)
        self.sessions.drop(response, VISIT)
        return response

    def consent(self, request: Request, token: Token, agree: Annotated[str, Form(max_length=10)] = "") -> Response:
        """Add the rater, who has given consent."""
        visit = self.sessions.get(request, VISIT)
        if visit is None or not self.sessions.is_form_token(token, visit["nonce"]):
            raise HTTPException(403, self.texts.outdated)
        if agree != "yes":
            return RedirectResponse("/", 303)
        now = self.clock()
        with self.study.store.writing() as connection:
            number = None
            if "invitation" in visit:
                number = raters.invitation_of(connection, self.study.keys, visit["invitation"], now)
                if number is None:
                    return error_page(self.renderer, 403, self.texts.invalid_invitation)
            row = self._known(connection, visit)
            if row is None and not has_room(connection, self.study.config, now):
                return self.renderer.page("full.html")
            if row is None:
                row = raters.join(connection, self.study.config, now, self._session_of(visit), visit.get("panel"), number)
        return self._enter(row)

    async def declined(self) -> Response:
        """The page for those who decline: nothing is stored."""
        response = self.renderer.page("declined.html")
        self.sessions.drop(response, VISIT)
        return response

    def start(self, request: Request, token: Token) -> Response:
        """Go on after the instructions."""
        return self._step(request, token, lambda connection, row: _set(connection, row, instructed_at=self.clock()))

    def go_on(self, request: Request, token: Token) -> Response:
        """Go on after a break."""

        def rested(connection: Connection, row: Row[Any]) -> None:
            if row.excluded_at is None:  # excluded raters get no more items
                _set(connection, row, rested=assign_items(connection, self.study, row, self.clock()).n_done)

        return self._step(request, token, rested)

    def back(self, request: Request, token: Token) -> Response:
        """Go back to the item before."""
        return self._step(request, token, go_back)

    async def answer(self, request: Request) -> Response:
        """Save an answer and return the next page, after the answer is on the disk."""
        fields = (await request.form(max_files=0, max_fields=20)).items()
        # Lone surrogates, which some form encodings allow, fit in no database, and NUL not in PostgreSQL.
        form = {name: str(value).encode(errors="replace").decode().replace("\0", "") for name, value in fields}
        return await run_in_threadpool(self._answer, request, form)

    def _answer(self, request: Request, form: dict[str, str]) -> Response:
        def save(connection: Connection, row: Row[Any]) -> str:
            outcome = take_answer(self.study, connection, row, form.get("assignment", ""), form, self.clock())
            if outcome is Outcome.UNKNOWN:
                raise HTTPException(404, self.texts.unreadable)
            if outcome is None:
                raise HTTPException(400, self.texts.unreadable)
            return self.texts.left_over if outcome is Outcome.PASSED_ON else ""

        return self._step(request, form.get("token", ""), save)

    def _step(self, request: Request, token: str, change: Callable[[Connection, Row[Any]], str | None]) -> Response:
        """Change the rater's state and show the next page with the notice that `change` returns; nothing is stored if it raises."""
        session = self.sessions.get(request, RATER)
        if session is None or not self.sessions.is_form_token(token, session):
            raise HTTPException(403, self.texts.outdated)
        with self.study.store.writing() as connection:
            row = raters.by_session(connection, session)
            if row is None:
                raise HTTPException(403, self.texts.outdated)
            notice = change(connection, row) or ""
            if request.headers.get("x-study") != "page":
                return RedirectResponse("/", 303)
            row = raters.by_session(connection, session)
            assert row is not None
            view = next_view(self.study, connection, row, self.clock(), notice)
        return self._show(view, session)

    def _show(self, view: View, session: str) -> HTMLResponse:
        response = self.renderer.page(view.template, token=self.sessions.form_token(session), **view.values)
        self.sessions.set(response, RATER, session)
        return response

    async def image(self, request: Request, code: str) -> Response:
        """An image of the study, for raters only; read in threads of its own, which never wait for the database."""
        key = self.study.by_code.get(code)
        if key is None or self.sessions.get(request, RATER) is None:
            raise HTTPException(404, "There is no such image.")
        try:
            data = await to_thread.run_sync(self.study.images[key].path.read_bytes, limiter=_file_threads())
            return Response(data, media_type="image/png", headers=FOREVER)
        except OSError:
            raise HTTPException(404, "This image is missing.") from None


def _file_threads() -> CapacityLimiter:
    try:
        return _FILE_THREADS.get()
    except LookupError:
        limiter = CapacityLimiter(N_FILE_THREADS)
        _FILE_THREADS.set(limiter)
        return limiter


def _set(connection: Connection, row: Row[Any], **values: object) -> None:
    connection.execute(update(rater_table).where(rater_table.c.id == row.id).values(**values))
