"""What a rater, another site or a stranger may try: refused or escaped, and nothing stored."""

import asyncio
import re
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from itsdangerous import URLSafeTimedSerializer
from tests.study.conftest import Clock
from tests.study.studies import Taker, counts_are_true, make_study, records_of, set_up, taker

from legan_study import raters
from legan_study.config import Keys
from legan_study.http import MAX_BODY, RATER, Limiter
from legan_study.results import coverage
from legan_study.serve import make_app
from legan_study.study import Study, open_study


@pytest.fixture
def rater(study: Study) -> Taker:
    return taker(make_app(study))


def nothing_stored(study: Study) -> bool:
    return records_of(study.folder) == []


def test_forged_and_old_sessions(study: Study) -> None:
    app = make_app(study)
    honest = taker(app)
    page = honest.enter()
    own = f"{RATER}-{study.tag}"
    name = honest.client.cookies[own]
    forged = [
        name[:-2] + ("AA" if name[-2:] != "AA" else "BB"),
        URLSafeTimedSerializer("another key of some length", salt=own).dumps("x"),
        URLSafeTimedSerializer(study.keys.session_key, salt=own).dumps(
            "nobody"
        ),  # signed well, but of a rater who is forgotten
        URLSafeTimedSerializer(study.keys.session_key, salt=f"legan-visit-{study.tag}").dumps("x"),
        "e30.e30.e30",
    ]
    for value in forged:
        other = taker(app)
        other.client.cookies.set(own, value)
        assert other.answer(page).status == 403
        assert other.client.get("/picture/" + page.images[0]).status_code == (200 if value == forged[2] else 404)
    assert nothing_stored(study)


def test_two_studies_on_one_host_keep_their_raters(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on one server, whose environment has one secret for all.
    monkeypatch.setenv("LEGAN_STUDY_SECRET", "one secret for both")
    with open_study(make_study(tmp_path / "second", n=3)) as second, open_study(study.folder) as first:
        one, other = taker(make_app(first, admin="on")), taker(make_app(second, admin="on"))
        other.client.cookies = one.client.cookies.jar  # a browser keeps one for all ports
        page, others = one.enter(), other.enter()
        assert one.get().field("assignment") == page.field("assignment")
        assert one.answer(page).status == other.answer(others).status == 200
        form = {"password": first.keys.admin_password}
        assert "Sign out" in one.client.post("/admin/login", data=form, follow_redirects=True).text
        assert "Password" in other.get("/admin").text
        # Not even under the other study's name for it.
        foreign = one.client.cookies[f"legan-admin-{first.tag}"]
        other.client.cookies.set(f"legan-admin-{second.tag}", foreign, domain="127.0.0.1")
        assert "Password" in other.get("/admin").text
    with open_study(study.folder) as again, open_study(tmp_path / "second") as second:
        assert again.tag == first.tag != second.tag, "a study keeps its tag"


def test_sessions_expire(study: Study, rater: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    page, later = rater.enter(), int(time.time() + 3600 * study.config.session_hours)
    monkeypatch.setattr("itsdangerous.timed.TimestampSigner.get_timestamp", lambda self: later - 60)
    assert rater.get().field("assignment") == page.field("assignment"), "each page renews the session"
    monkeypatch.setattr("itsdangerous.timed.TimestampSigner.get_timestamp", lambda self: 2 * later)
    assert rater.answer(page).status == 403
    assert nothing_stored(study)


def test_another_raters_assignment(study: Study) -> None:
    app = make_app(study)
    one, other = taker(app), taker(app)
    page, others = one.enter(), other.enter()
    stolen = one.post("/answer", token=page.field("token"), assignment=others.field("assignment"), rating="1")
    assert stolen.status == 404
    # With the other's form token too: it belongs to the other's session.
    assert one.post("/answer", token=others.field("token"), assignment=others.field("assignment"), rating="1").status == 403
    assert nothing_stored(study)


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 64])
def test_cross_site_posts_without_the_forms_token(study: Study, rater: Taker, token: str) -> None:
    page = rater.enter()
    for path in ("/answer", "/back", "/go-on", "/start"):
        assert rater.post(path, token=token, assignment=page.field("assignment"), rating="1").status in (403, 400)
    assert nothing_stored(study)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)
def test_cross_site_posts_by_their_headers(study: Study, rater: Taker, headers: dict[str, str]) -> None:
    page = rater.enter()
    form = {"token": page.field("token"), "assignment": page.field("assignment"), "rating": "1"}
    assert rater.client.post("/answer", data=form, headers=headers).status_code == 403
    assert nothing_stored(study)
    own = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin", "x-study": "page"}
    assert rater.client.post("/answer", data=form, headers=own).status_code == 200


@pytest.mark.parametrize("item", ["", "x", "1", "' OR 1=1 --", "../../secrets.toml", "%00", "A" * 3000])
def test_tampered_items(study: Study, rater: Taker, item: str) -> None:
    page = rater.enter()
    assert rater.post("/answer", token=page.field("token"), assignment=item, rating="1").status == 404
    assert nothing_stored(study)


@pytest.mark.parametrize(
    "path",
    [
        "/picture/../secrets.toml", "/picture/..%2fsecrets.toml", "/picture/%2e%2e/%2e%2e/etc/passwd", "/static/../keys.py",
        "/static/..%2f..%2fkeys.py", "/picture//etc/passwd", "/static/%2fetc%2fpasswd", "/pictures/", "/study.toml", "/secrets.toml",
        "/picture/..\\secrets.toml", "/study.sqlite", "/docs", "/openapi.json", "/admin", "/admin/download/ratings.csv",
    ],
)  # fmt: skip
def test_traversal(rater: Taker, path: str) -> None:
    rater.enter()
    response = rater.client.get(path)
    assert response.status_code == 404 and "session_key" not in response.text


def test_images_are_for_those_who_take_part(study: Study, rater: Taker) -> None:
    stranger = taker(make_app(study))
    page = rater.enter()
    assert rater.client.get(f"/picture/{page.images[0]}").headers["content-type"] == "image/png"
    assert stranger.client.get(f"/picture/{page.images[0]}").status_code == 404


def test_large_bodies(study: Study, rater: Taker) -> None:
    page = rater.enter()
    form = {"token": page.field("token"), "assignment": page.field("assignment"), "rating": "1"}
    assert rater.client.post("/answer", data={**form, "x": "y" * MAX_BODY}).status_code == 413

    def chunks() -> object:  # no Content-Length to tell from
        for _ in range(MAX_BODY // 10 + 1):
            yield b"x=0123456789&"

    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert rater.client.post("/answer", content=chunks(), headers=headers).status_code in (400, 413)
    files = {"file": ("x.png", b"x" * 100, "image/png")}
    assert rater.client.post("/answer", data=form, files=files).status_code == 400
    assert nothing_stored(study)


def test_html_in_the_texts_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    folder = make_study(tmp_path / "study", n=3, title=evil)
    set_up(folder, texts=(f"original = '''{evil}'''", f"lowest = '''{evil}'''", f"agree = '''{evil}'''"))
    with open_study(folder) as study:
        rater = taker(make_app(study, admin="on"))
        pages = [rater.get(), rater.enter(), rater.get("/admin"), rater.get("/nowhere")]
        pages.append(rater.finish(pages[1]))
    for page in pages:
        assert "<script>alert" not in page.text and "&lt;script&gt;alert" in page.text


def test_headers(study: Study, rater: Taker) -> None:
    page = rater.enter()
    for response in (page.response, rater.get("/nowhere").response, rater.get(f"/picture/{page.images[0]}").response):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in page.response.headers["cache-control"]
    cookie = rater.get().response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert not re.search(r"<[^>]+\s(on\w+|style)=", page.text), "the policy forbids scripts and styles in the page itself"
    secure = taker(make_app(study, public_url="https://127.0.0.1"))
    cookie = secure.get().response.headers["set-cookie"]
    assert "__Host-" in cookie and "Secure" in cookie


def test_other_names_of_the_host(study: Study, rater: Taker) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "evil.example:8000"):
        assert rater.client.get("/", headers={"host": host}).status_code == 421
    assert rater.client.get("/", headers={"host": "[::1"}).status_code == 421, "no address at all"
    assert rater.client.post("/consent", headers={"origin": "http://["}).status_code == 403
    public = taker(make_app(study, public_url="https://study.example.org"))
    assert public.client.get("/", headers={"host": "study.example.org"}).status_code == 200


def test_too_many_requests(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legan_study.serve.PER_SESSION", (0.001, 5.0))
    rater = taker(make_app(study))
    rater.get()
    codes = [rater.client.get("/static/study.css").status_code for _ in range(6)]
    assert codes[0] == 200 and codes[-1] == 429
    limiter = Limiter(rate=1, burst=2)
    assert [limiter.allows("a", now) for now in (0, 0, 0, 0.5, 1.5, 1.6)] == [True, True, False, False, True, False]
    assert limiter.allows("b", 0)


def test_nothing_on_the_page_tells_the_file_or_the_model(tmp_path: Path) -> None:
    from tests.study.studies import write_compared

    from legan.requests import StudyRequest
    from legan_study.create import create_study

    create_study(StudyRequest(write_compared(tmp_path / "compared", 4), tmp_path / "study", "preference", n_practice=1))
    with open_study(tmp_path / "study") as study:
        rater = taker(make_app(study))
        page, firsts = rater.enter(), set()
        while page.code is None:
            rater.client.cookies.set("seen", "x")
            # Random tokens may hold any short word by chance.
            random_words = re.compile(r'(?<=value=")[\w-]{20,}|[\w-]{22}(?=["? ])|legan-rater-\w+=[^;]+')
            text = random_words.sub("", page.text + str(page.response.headers))
            for word in ("legan/", "stargan", "f00", "f01", "f02", "f03", "pictures/", ".png", "compared", "gold", 'main"'):
                assert word not in text.replace('id="main"', ""), word
            for code in page.images:
                response = rater.client.get(f"/picture/{code}")
                assert response.headers["content-type"] == "image/png" and b"tEXt" not in response.content
                assert "last-modified" not in response.headers and "etag" not in response.headers
            firsts.add(study.images[study.by_code[page.images[-1]]].model)
            page = rater.answer(page, choice=page.images[-1])
        assert firsts <= {"legan", "stargan"}


def test_the_original_and_other_items_cannot_be_picked(tmp_path: Path) -> None:
    from tests.study.studies import write_compared

    from legan.requests import StudyRequest
    from legan_study.create import create_study

    create_study(StudyRequest(write_compared(tmp_path / "compared", 4), tmp_path / "study", "preference", n_practice=1))
    with open_study(tmp_path / "study") as study:
        rater = taker(make_app(study))
        page = rater.enter()
        original = next(code for code in page.images if study.images[study.by_code[code]].model == "input")
        for choice in (original, page.preloaded[0], "legan", "", "1"):
            assert rater.answer(page, choice=choice).status == 400
        assert nothing_stored(study)


def n_raters(study: Study) -> int:
    with study.store.reading() as connection:
        return int(coverage(study, connection)["n_raters"])


def test_one_visit_s_consent_makes_one_rater(study: Study) -> None:
    app = make_app(study)
    first = taker(app)
    form = {"token": first.get().field("token"), "agree": "yes"}
    visit = dict(first.client.cookies)
    pages = []
    for _ in range(20):
        again = taker(app)
        again.client.cookies.update(visit)
        pages.append(again.post("/consent", **form))
    assert {page.status for page in pages} == {200} and n_raters(study) == 1
    # Whoever was left out does not come back in by the same form.
    with study.store.writing() as connection:
        raters.exclude(connection, 1, 0.0)
    again = taker(app)
    again.client.cookies.update(visit)
    assert "No images are left" in again.post("/consent", **form).text and n_raters(study) == 1
    other = taker(app)
    other.enter()
    assert n_raters(study) == 2, "another visit is another rater"


@pytest.mark.parametrize("back", [1.0, 86400 * 30.0])
def test_a_clock_set_back(study: Study, clock: Clock, back: float) -> None:
    rater = taker(make_app(study, clock=clock))
    page = rater.enter()
    clock.now -= back
    page = rater.answer(page, rating="3")
    clock.now -= back
    page = rater.answer(rater.post("/back", token=page.field("token")), rating="4")
    assert [(record["server_seconds"], record["rating"]) for record in records_of(study.folder)] == [(0, 4)]
    # Items that were assigned in what is now the future do not stay open until then.
    clock.now -= 86400 * 30
    for _ in range(study.config.raters_per_item):
        other = taker(make_app(study, clock=clock))
        assert other.finish(other.enter()).code and len(other.saved) == 14
    assert rater.answer(page).status == 200 and counts_are_true(study)


@pytest.mark.parametrize("rating", ["1_0", "١٠", "５", "nan", "inf", "-1", "11", "0x1", "1,5", "", "\ud800"])
def test_ratings_that_are_no_plain_numbers(study: Study, rater: Taker, rating: str) -> None:
    page = rater.enter()
    body = urlencode(
        {"token": page.field("token"), "assignment": page.field("assignment"), "rating": rating}, errors="surrogatepass"
    )
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert rater.client.post("/answer", content=body.encode(), headers=headers).status_code == 400
    assert nothing_stored(study)


@pytest.mark.parametrize("name", ["token", "assignment", "rating"])
def test_half_a_character(study: Study, rater: Taker, name: str) -> None:
    page = rater.enter()
    form = {"token": page.field("token"), "assignment": page.field("assignment"), "rating": "5", name: "+2AA-"}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in form.items()]
    headers = {"content-type": "multipart/form-data; charset=utf-7; boundary=x"}
    body = "".join([*parts, "--x--\r\n"])
    codes = [rater.client.post(path, content=body, headers=headers).status_code for path in ("/answer", "/back", "/consent")]
    assert codes[0] in (400, 403, 404) and max(codes) < 500
    assert nothing_stored(study)


@pytest.mark.parametrize("length", ["²", "1_0", "-1", "9" * 5000, "1e1", "8193"])
def test_lengths_that_are_none(study: Study, rater: Taker, length: str) -> None:
    page = rater.enter()
    headers = {b"content-type": b"application/x-www-form-urlencoded", b"content-length": length.encode("latin-1")}
    assert rater.client.post("/answer", content=b"x=1", headers=headers).status_code == 413, page


@pytest.mark.parametrize("path", ["/answer", "/consent", "/back"])
def test_a_body_that_breaks_off(study: Study, path: str) -> None:
    app, sent = make_app(study), []
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"90")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    scope |= {"http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": ""}
    messages = iter([{"type": "http.request", "body": b"token=x&", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert not sent or sent[0]["status"] == 400, "no traceback, and no fault of the server's"


def test_keys_say_nothing_of_themselves() -> None:
    keys = Keys("k" * 32, "password", "sqlite:///x")
    assert "kkk" not in repr(keys) and "password" not in repr(keys)
    assert keys.digest("a", "x") != keys.digest("b", "x") and len(keys.code("r-1")) == 8
