"""The pages that raters see."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection, Row, select, update
from starlette.exceptions import HTTPException

from legan.core.table import read_number
from legan_study import answers, raters
from legan_study.answers import Outcome, Reply
from legan_study.assignment import Turn, assign_items, has_room
from legan_study.config import TEMPLATES
from legan_study.http import RATER, VISIT, Sessions
from legan_study.sources import INPUT
from legan_study.store import NONE, PICKED, PRACTICE, RATED, SKIPPED, TIE, answer, assignment, item
from legan_study.store import rater as rater_table
from legan_study.study import Picture, Study, is_whole

# What a rater sees next: instructions, an item, a break, or the end. All state is in the database, so a reload changes nothing.


MAX_SECONDS = 86400.0


@dataclass(frozen=True)
class View:
    """A page: the template's name, and what it shows."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)


def next_view(study: Study, connection: Connection, rater: Row[Any], now: float, notice: str = "") -> View:
    """Return the page for a rater; hands out items, so it runs inside `Store.writing`."""
    if rater.excluded_at is not None:
        return View("full.html") if rater.finished_at is None else _done(study, connection, rater)
    if rater.instructed_at is None:
        return View("instructions.html")
    turn = _turn(study, connection, rater, now)
    if rater.revising is None:
        if not turn.given:
            return _end(study, connection, rater, turn, now)
        every = study.config.break_every
        if every and turn.n_done and turn.n_done % every == 0 and rater.rested != turn.n_done:
            return View("break.html", {"n_done": turn.n_done, "n_total": turn.n_total})
    return _item_view(study, connection, rater, turn, now, notice)


def _turn(study: Study, connection: Connection, rater: Row[Any], now: float) -> Turn:
    """Where the rater stands, with assignments whose images are all there: an item without its file is marked, and another given."""
    while True:
        turn = assign_items(connection, study, rater, now)
        gone = [row.item_id for row in turn.given if not all(one.path.is_file() for one in _pictures(study, row))]
        if not gone:
            return turn
        connection.execute(update(item).where(item.c.id.in_(gone)).values(missing=True))


def _pictures(study: Study, row: Row[Any]) -> list[Picture]:
    return [study.pictures[key] for key in json.loads(row.layout)]


def _end(study: Study, connection: Connection, rater: Row[Any], turn: Turn, now: float) -> View:
    if turn.n_done == 0:
        return View("full.html")
    raters.finish(connection, rater.id, now)
    return _done(study, connection, rater)


def _done(study: Study, connection: Connection, rater: Row[Any]) -> View:
    if answers.answered_shares(connection, rater.id).get(rater.id, 1.0) < study.config.min_answered:
        return View("too_few.html", {"name": rater.name})
    code = study.config.completion_code or study.keys.code(rater.name)
    link = study.config.completion_url.replace("{code}", code)
    return View("done.html", {"code": code, "link": link, "name": rater.name})


def _item_view(study: Study, connection: Connection, rater: Row[Any], turn: Turn, now: float, notice: str) -> View:
    row, before = turn.given[0] if turn.given else None, None
    if rater.revising is not None:
        row = connection.execute(select(assignment).where(assignment.c.id == rater.revising)).one()
        before = connection.execute(select(answer).where(answer.c.assignment_id == row.id)).one()
    assert row is not None
    answers.mark_shown(connection, row, now)
    shown = _pictures(study, row)
    judged = [one for one in shown if one.model != INPUT]
    return View(
        f"{study.config.kind}.html",
        {
            "n_done": turn.n_done,
            "n_total": turn.n_total,
            "assignment": row.code,
            "practice": row.role == PRACTICE,
            "pictures": judged,
            "original": next((one for one in shown if one.model == INPUT), None),
            "preload": [one.code for other in turn.given if other.id != row.id for one in _pictures(study, other)],
            "can_go_back": rater.revising is None and turn.last is not None and turn.last.n_revisions == 0,
            "before": before,
            "picked": study.pictures[before.picture_id].code if before is not None and before.picture_id else "",
            "notice": notice,
        },
    )


def read_reply(study: Study, row: Row[Any], form: dict[str, str], is_broken: bool = False) -> Reply | None:
    """Read an answer's form; None where it says nothing that this item can be answered with.

    Args:
        study: that it belongs to.
        row: the assignment.
        form: as it was sent.
        is_broken: whether an image of the item cannot be shown; then it may be skipped in any study.
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
        on_grid = rating is not None and abs(rating / study.config.step - round(rating / study.config.step)) < 1e-6
        return replace(skipped, verdict=RATED, rating=rating) if on_grid else None
    choice = form.get("choice", "")
    if choice in (TIE, NONE):
        return replace(skipped, verdict=choice)
    key = study.by_code.get(choice)
    if key is None or study.pictures[key].item_id != row.item_id or study.pictures[key].model == INPUT:
        return None
    return replace(skipped, verdict=PICKED, picture_id=key)


def _number(text: str | None, low: float, high: float) -> float | None:
    value = read_number(text)
    return value if value is not None and low <= value <= high else None


def take_answer(
    study: Study, connection: Connection, rater: Row[Any], code: str, form: dict[str, str], now: float
) -> Outcome | None:
    """Store what a form says; None where it cannot be read."""
    row = answers.assignment_of(connection, rater.id, code)
    if row is None:
        return Outcome.UNKNOWN
    # The browser may have found an image broken, but who sends the form may say anything.
    is_broken = form.get("skip") == "broken" and not all(is_whole(one) for one in _pictures(study, row))
    reply = read_reply(study, row, form, is_broken)
    if reply is None or rater.excluded_at is not None:
        return None
    if is_broken:
        connection.execute(update(item).where(item.c.id == row.item_id).values(missing=True))
    return answers.save_answer(connection, study.config, rater, row, reply, now)


# Names that panels give to people, told from the placeholder that stands in a link where the panel did not fill it in.
#
# Panels write placeholders in many ways: `{{%PROLIFIC_PID%}}`, `${workerId}`, `[%RID%]`, `%%id%%`, `<id>`, `#{id}`, `$id`. All of them hold
# a character that no panel's names hold, or are the bare name of a parameter. Taken for a name, a placeholder would let everybody in as one
# and the same rater.


_NAME_MARKS = frozenset("-_.@+=/:~ ")  # beside letters and digits: of e-mail addresses, base64 and namespaced names
_NOT_NAMES = frozenset((
    "assignmentid", "assignmentidnotavailable", "empty", "externalid", "hitid", "id", "insertidhere", "memberid", "na",
    "nan", "none", "notavailable", "null", "panelid", "panelistid", "participant", "participantid", "person", "personid",
    "pid", "placeholder", "prolificid", "prolificpid", "psid", "respondent", "respondentid", "responseid", "rid", "session",
    "sessionid", "sid", "studyid", "subject", "subjectid", "surveycode", "tid", "transactionid", "transid", "undefined",
    "unknown", "user", "userid", "uid", "worker", "workerid", "xxx", "yourid",
))  # fmt: skip


def is_name(text: str, parameter: str) -> bool:
    """Whether a link's value can be a person's name in a panel: it is no placeholder, and no program's word for nothing.

    Args:
        text: the value, as the browser sent it.
        parameter: of the link that holds it, such as PROLIFIC_PID.
    """
    if not all(letter.isalnum() or letter in _NAME_MARKS for letter in text):
        return False
    bare = _bare(text)
    return bool(bare) and bare != _bare(parameter) and bare not in _NOT_NAMES


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


# The raters' pages.


STATIC = TEMPLATES.parent / "static"
STATIC_TYPES = {
    "study.css": "text/css; charset=utf-8",
    "study.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FOREVER = {"Cache-Control": "private, max-age=86400, immutable"}
N_FILE_THREADS = 4
_FILE_THREADS: RunVar[CapacityLimiter] = RunVar("legan threads that read images")  # one limit for each running loop
PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"  # MTurk shows a task so before it is accepted
Token = Annotated[str, Form(max_length=100)]


class Renderer:
    """Fills templates; everything is escaped, whoever wrote it."""

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


def error_page(renderer: Renderer, status: int, words: str) -> HTMLResponse:
    """A page that says what is wrong."""
    response = renderer.page("error.html", status, words=words)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def rater_routes(study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes that raters use."""
    router = APIRouter()
    pages = _RaterPages(study, sessions, renderer, clock)
    router.get("/")(pages.home)
    router.get("/declined")(pages.declined)
    router.get("/picture/{code}")(pages.picture)
    router.post("/consent")(pages.consent)
    router.post("/start")(pages.start)
    router.post("/go-on")(pages.go_on)
    router.post("/back")(pages.back)
    router.post("/answer")(pages.answer)
    return router


def static_routes(renderer: Renderer) -> APIRouter:
    """Style and script, read once; they need no thread, so they come even while all of these wait for the database."""
    router = APIRouter()

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in renderer.files:
            raise HTTPException(404)
        return Response(renderer.files[name], media_type=STATIC_TYPES[name], headers=FOREVER)

    return router


class _RaterPages:
    def __init__(self, study: Study, sessions: Sessions, renderer: Renderer, clock: Callable[[], float]) -> None:
        self.study, self.sessions, self.renderer, self.clock = study, sessions, renderer, clock
        self.texts = study.config.texts

    def home(self, request: Request) -> Response:
        """Where the link leads to, and where every later page is."""
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
        if not is_name(name, self.study.config.panel_parameter):
            return error_page(self.renderer, 403, self.texts.unfilled_link)
        return self._arrive({"panel": self.study.keys.digest("panel", name)})

    def _arrive_invited(self, request: Request, token: str) -> Response:
        session = self.sessions.get(request, RATER)
        if session is not None:
            with self.study.store.reading() as connection:
                if raters.came_by(connection, self.study.keys, session, token):
                    return RedirectResponse("/", 303)  # the link is used up, yet here its rater may see the code again
        return self._arrive({"invitation": token})

    def _arrive(self, claim: dict[str, str]) -> Response:
        """Move what the link says into a signed cookie, so that the address bar and the history do not keep it."""
        response = RedirectResponse("/", 303)
        self.sessions.set(response, VISIT, {**claim, "nonce": raters.secrets.token_urlsafe(16)})
        # The new link goes before whoever took part in this browser until now.
        self.sessions.drop(response, RATER)
        return response

    def _welcome(self, request: Request) -> Response:
        visit, entry = self.sessions.get(request, VISIT), self.study.config.entry
        if visit is None and entry == "open":
            visit = {"nonce": raters.secrets.token_urlsafe(16)}
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
        """The session of whoever agrees on a visit: the same form sent again finds the same rater."""
        return self.study.keys.digest("session", visit["nonce"])[:32]

    def _enter(self, row: Row[Any]) -> Response:
        response = RedirectResponse("/", 303)
        self.sessions.set(response, RATER, row.session)
        self.sessions.drop(response, VISIT)
        return response

    def consent(self, request: Request, token: Token, agree: Annotated[str, Form(max_length=10)] = "") -> Response:
        """Enter the rater, who has agreed."""
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
        """For those who do not agree: nothing is stored."""
        response = self.renderer.page("declined.html")
        self.sessions.drop(response, VISIT)
        return response

    def start(self, request: Request, token: Token) -> Response:
        """The instructions were read."""
        return self._step(request, token, lambda connection, row: _set(connection, row, instructed_at=self.clock()))

    def go_on(self, request: Request, token: Token) -> Response:
        """The break is over."""

        def rested(connection: Connection, row: Row[Any]) -> None:
            if row.excluded_at is None:  # who is left out takes no more places
                _set(connection, row, rested=assign_items(connection, self.study, row, self.clock()).n_done)

        return self._step(request, token, rested)

    def back(self, request: Request, token: Token) -> Response:
        """One item back."""
        return self._step(request, token, answers.go_back)

    async def answer(self, request: Request) -> Response:
        """Store an answer; the response, which is the next page, comes when it is on the disk."""
        from starlette.concurrency import run_in_threadpool

        fields = (await request.form(max_files=0, max_fields=20)).items()
        # No database takes half a character, which some encodings of a form can bring, and PostgreSQL takes no NUL.
        form = {name: str(value).encode(errors="replace").decode().replace("\0", "") for name, value in fields}
        return await run_in_threadpool(self._answer, request, form)

    def _answer(self, request: Request, form: dict[str, str]) -> Response:
        outcome: list[Outcome | None] = []

        def store(connection: Connection, row: Row[Any]) -> str:
            outcome.append(take_answer(self.study, connection, row, form.get("assignment", ""), form, self.clock()))
            return self.texts.left_over if outcome[0] is Outcome.PASSED_ON else ""

        def check() -> None:
            if outcome[0] is Outcome.UNKNOWN:
                raise HTTPException(404, self.texts.unreadable)
            if outcome[0] is None:
                raise HTTPException(400, self.texts.unreadable)

        return self._step(request, form.get("token", ""), store, check)

    def _step(
        self,
        request: Request,
        token: str,
        change: Callable[[Connection, Row[Any]], object],
        check: Callable[[], None] | None = None,
    ) -> Response:
        """Change the rater's state and show the next page, in one transaction that is on the disk before the response leaves."""
        session = self.sessions.get(request, RATER)
        if session is None or not self.sessions.is_form_token(token, session):
            raise HTTPException(403, self.texts.outdated)
        with self.study.store.writing() as connection:
            row = raters.by_session(connection, session)
            if row is None:
                raise HTTPException(403, self.texts.outdated)
            notice = change(connection, row)
            if check is not None:
                check()
            if request.headers.get("x-study") != "page":
                return RedirectResponse("/", 303)
            row = raters.by_session(connection, session)
            assert row is not None
            view = next_view(self.study, connection, row, self.clock(), notice if isinstance(notice, str) else "")
        return self._show(view, session)

    def _show(self, view: View, session: str) -> HTMLResponse:
        response = self.renderer.page(view.template, token=self.sessions.form_token(session), **view.values)
        self.sessions.set(response, RATER, session)
        return response

    async def picture(self, request: Request, code: str) -> Response:
        """An image of the study, to those who take part; read by threads of its own, which never wait for the database."""
        key = self.study.by_code.get(code)
        if key is None or self.sessions.get(request, RATER) is None:
            raise HTTPException(404, "There is no such image.")
        try:
            data = await to_thread.run_sync(self.study.pictures[key].path.read_bytes, limiter=_file_threads())
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
