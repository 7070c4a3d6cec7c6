"""The verbs of `legan study`, and what they need: no torch, the extra, and under two seconds to start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.study.studies import CONSENT, make_study, set_up, taker, write_images
from typer.testing import CliRunner, Result

from legan.cli import app
from legan_study.serve import make_app
from legan_study.study import open_study


def legan(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_create_check_serve_settings(tmp_path: Path) -> None:
    source = write_images(tmp_path / "pictures", 5)
    words = ["--from", source, "--out", tmp_path / "study", "--n-practice", 1, "--title", "Faces", "--json"]
    found = json.loads(legan("study", "create", *words).stdout)
    assert found["n_main"] == 4 and found["n_practice"] == 1
    result = legan("study", "check", tmp_path / "study")
    assert result.exit_code == 1 and "consent text is not written" in result.stdout
    assert "consent = " in legan("study", "check", tmp_path / "study", "--texts").stdout
    set_up(tmp_path / "study")
    text = (tmp_path / "study" / "study.toml").read_text().replace('contact = ""', 'contact = "study@example.org"')
    (tmp_path / "study" / "study.toml").write_text(text)
    result = legan("study", "check", tmp_path / "study")
    assert result.exit_code == 0 and "ready" in result.stdout, result.stdout
    next((tmp_path / "study" / "pictures").iterdir()).unlink()
    result = legan("study", "check", tmp_path / "study", "--json")
    assert result.exit_code == 1 and "an image file of it is missing" in json.loads(result.stdout)[0]


def test_rater_verbs(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", 'entry = "invitation"', n=3, n_practice=0)
    links = legan("study", "invite", folder, "-n", 2, "--url", "https://study.example.org").stdout.split()
    assert len(set(links)) == 2 and all(link.startswith("https://study.example.org/?invitation=") for link in links)
    with open_study(folder) as study:
        rater = taker(make_app(study), links[0].removeprefix("https://study.example.org"))
        code = rater.finish(rater.enter()).code
    told = json.loads(legan("study", "check", folder, "--rater", code, "--json").stdout)
    assert told["n_answers"] == 3 and told["finished"]
    assert "3 answers erased" in legan("study", "forget", folder, told["rater"]).stdout
    result = legan("study", "forget", folder, told["rater"])
    assert result.exit_code == 2 and "no rater '" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "nowhere"], "holds no study"),
        (["status", "nowhere"], "holds no study"),
        (["serve", "study", "--admin", "yes"], "unknown --admin"),
        (["serve", "study", "--host", "0.0.0.0"], "--public-url"),
        (["serve", "study", "--public-url", "example.org"], "cannot read --public-url"),
        (["serve", "study", "--public-url", "https://[x"], "cannot read --public-url"),
        (["serve", "study", "--public-url", "https:///study"], "cannot read --public-url"),
        (["serve", "study", "--proxy", "*"], "cannot read --proxy"),
        (["serve", "study", "--proxy", "127.0.0.1,proxy.example"], "cannot read --proxy"),
        (["create", "--from", "nowhere", "--out", "x"], "is not a folder"),
    ],
)
def test_invalid_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    make_study(tmp_path / "study", n=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("uvicorn.Server.run", lambda server: None)  # an option that is accepted ends too
    result = legan("study", *words)
    assert result.exit_code == 2 and message in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize("consent", ["REPLACE THIS TEXT by yours", "  ", ""])
def test_raters_are_not_let_in_without_a_consent_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consent: str) -> None:
    folder = make_study(tmp_path / "study", n=3)
    path = folder / "study.toml"
    path.write_text(path.read_text().replace(CONSENT, f'consent = "{consent}"'))
    monkeypatch.setattr("uvicorn.Server.run", lambda server: None)
    public = ["--public-url", "https://study.example.org"]
    result = legan("study", "serve", folder, *public)
    assert result.exit_code == 2 and "consent text is not written" in result.stderr and len(result.stderr.splitlines()) == 1
    result = legan("study", "serve", folder)  # to be tried out by its maker, whom alone it lets in
    assert result.exit_code == 0 and "note: the consent text is not written" in result.stderr
    assert legan("study", "serve", folder, *public, "--admin", "only").exit_code == 0
    path.write_text(path.read_text().replace(f'consent = "{consent}"', CONSENT))
    assert legan("study", "serve", folder, *public).exit_code == 0


def test_port_that_is_taken(tmp_path: Path) -> None:
    import socket

    folder = make_study(tmp_path / "study", n=3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "legan", "study", "serve", str(folder), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "the port is taken" in done.stderr.splitlines()[-1]


def test_serving_needs_no_torch_and_starts_quickly(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=3)
    code = f"""
import sys, time
start = time.process_time()
import legan.cli
assert not [m for m in ("fastapi", "sqlalchemy", "torch") if m in sys.modules], "the command line alone needs none of these"
from pathlib import Path
from legan_study import admin, check, export, results, serve
from legan_study.study import open_study
from legan_study.serve import make_app
with open_study(Path({str(folder)!r})) as study:
    make_app(study, admin="on")
print(time.process_time() - start, *[m for m in ("torch", "cv2", "dlib", "pandas", "scipy") if m in sys.modules])
"""
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert words[1:] == [] and float(words[0]) < 2


def test_export_and_status_need_no_torch(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=6, n_practice=0, raters_per_item=2)
    with open_study(folder) as study:
        for rating in (2, 8):
            rater = taker(make_app(study))
            rater.finish(rater.enter(), rating=str(rating))
    code = f"""
import sys
from pathlib import Path
from legan_study.export import export_study
from legan_study.results import status
from legan_study.study import open_study
with open_study(Path({str(folder)!r})) as study:
    export_study(study, Path({str(tmp_path / "out")!r}))
    assert "icc" in status(study)["agreement"]
print([m for m in sys.modules if m.split(".")[0] in ("torch", "cv2", "dlib")])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_missing_extra_is_named() -> None:
    code = """
import sys
sys.modules["fastapi"] = None
sys.modules["sqlalchemy"] = None
from legan.cli import main
sys.argv = ["legan", "study", "serve", "x"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and 'pip install "legan[study]"' in done.stderr and len(done.stderr.splitlines()) == 1
