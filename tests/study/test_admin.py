"""The admin pages: absent unless asked for, behind a login, and what they show and do."""

import csv
import io

import pytest
from tests.study.studies import Taker, counts_are_true, taker

from legan.core.errors import StudyError
from legan_study.serve import make_app
from legan_study.study import Study, open_study


@pytest.fixture
def admin(study: Study) -> Taker:
    """Signed in, on a server that raters use as well."""
    person = taker(make_app(study, admin="on"))
    form = {"password": study.keys.admin_password}
    assert person.client.post("/admin/login", data=form, follow_redirects=False).status_code == 303
    return person


def test_off_by_default(study: Study) -> None:
    public = taker(make_app(study))
    for path in ("/admin", "/admin/download/ratings.csv"):
        assert public.get(path).status == 404
    assert public.client.post("/admin/login", data={"password": study.keys.admin_password}).status_code in (404, 405)


def test_only_admin(study: Study) -> None:
    private = taker(make_app(study, admin="only"))
    assert private.get("/").status == 404 and "Password" in private.get("/admin").text


def test_nothing_without_the_password(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = taker(make_app(study, admin="on"))
    stranger.enter()  # a rater's session opens nothing
    assert "Password" in stranger.get("/admin").text
    assert stranger.get("/admin/download/ratings.csv").status == 403
    for path in ("/admin/exclude", "/admin/include", "/admin/logout"):
        assert stranger.client.post(path, data={"token": "x", "rater_id": "1"}).status_code == 403
    answers = [stranger.client.post("/admin/login", data={"password": "guess"}).status_code for _ in range(8)]
    assert answers[:5] == [403] * 5 and 429 in answers, "guesses are limited"


def test_figures_downloads_and_excluding(study: Study, admin: Taker) -> None:
    rater = taker(admin.client.app)  # type: ignore[attr-defined]
    rater.finish(rater.enter())
    page = admin.get("/admin")
    assert "12 / 36" in page.text and "1 / 1" in page.text
    download = admin.client.get("/admin/download/ratings.csv")
    assert "attachment" in download.headers["content-disposition"]
    assert len(list(csv.DictReader(io.StringIO(download.text)))) == 12
    assert admin.get("/admin/download/secrets.toml").status == 404
    form = {"token": page.field("token"), "rater_id": page.field("rater_id")}
    assert admin.client.post("/admin/exclude", data={**form, "token": "x"}).status_code == 403
    assert admin.client.post("/admin/exclude", data={**form, "rater_id": "99"}).status_code == 404
    after = admin.client.post("/admin/exclude", data=form, follow_redirects=True)
    assert "excluded" in after.text and "0 / 36" in after.text and counts_are_true(study)
    assert len(admin.client.get("/admin/download/ratings.csv").text.splitlines()) == 1
    assert 'action="/admin/include"' in after.text and 'action="/admin/exclude"' not in after.text
    assert admin.client.post("/admin/include", data={**form, "token": "x"}).status_code == 403
    assert admin.client.post("/admin/include", data={**form, "rater_id": "99"}).status_code == 404
    back = admin.client.post("/admin/include", data=form, follow_redirects=True)
    assert "excluded" not in back.text and "12 / 36" in back.text and counts_are_true(study)
    assert admin.client.get("/admin/download/ratings.csv").text == download.text
    for number in ("0", "-1", str(2**31), str(2**70), "1_0", "x"):
        for change in ("exclude", "include"):
            assert admin.client.post(f"/admin/{change}", data={**form, "rater_id": number}).status_code in (400, 404), number
    admin.client.post("/admin/logout", data={"token": page.field("token")})
    assert "Password" in admin.get("/admin").text


def test_a_cookie_that_was_kept_after_signing_out(admin: Taker) -> None:
    kept = dict(admin.client.cookies)
    other = taker(admin.client.app)  # type: ignore[attr-defined]
    other.client.cookies.update(kept)
    token = other.get("/admin").field("token")
    admin.client.post("/admin/logout", data={"token": token})
    assert "Password" in other.get("/admin").text and other.get("/admin/download/answers.csv").status == 403
    assert other.client.post("/admin/exclude", data={"token": token, "rater_id": "1"}).status_code == 403
    assert other.client.post("/admin/logout", data={"token": token}).status_code == 403


def test_wrong_guesses_do_not_lock_the_owner_out(study: Study) -> None:
    app = make_app(study, admin="on")
    guesser, owner = taker(app), taker(app)
    codes = [guesser.client.post("/admin/login", data={"password": f"guess {i}"}).status_code for i in range(60)]
    assert set(codes) == {403, 429}
    form = {"password": study.keys.admin_password}
    assert "Sign out" in owner.client.post("/admin/login", data=form, follow_redirects=True).text
    assert guesser.get("/admin/download/answers.csv").status == 403


def test_a_password_that_could_be_guessed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGAN_STUDY_ADMIN_PASSWORD", "short")
    with open_study(study.folder) as opened:
        make_app(opened)
        with pytest.raises(StudyError, match="admin password is too short"):
            make_app(opened, admin="only")
