"""What `legan app` needs and refuses, and that uploads do not stay."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.responses import FileResponse, Response
from starlette.testclient import TestClient
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError
from legan.editing.editor import Editor
from legan_app.serve import _Guarded, sweep_uploads

ROOT = Path(__file__).parent.parent.parent

WITHOUT = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] == "gradio" else found(name, *rest)
from legan.cli import main
sys.argv = ["legan", "app"]
main()
"""


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert (result.returncode, result.stderr) == (2, 'error: the app needs gradio: run `pip install "legan[app]"`\n')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "0"], "--port 0 is out of range: give a number from 1 to 65535"),
        (["--max-megapixels", "0"], "--max-megapixels 0 is out of range: give more than 0"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:7860"),
    ],
)
def test_limits_and_addresses_that_cannot_be(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["app", *options])
    assert result.exit_code == 2 and words in result.output


def test_the_fitted_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="only an editor made of networks"):
        Editor(object()).cached()  # type: ignore[arg-type]


def test_the_dockerfile_copies_what_is_there_and_starts_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1])
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert set(kept) == {name for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for name in line.split()[:-1]}
    (extras,) = re.findall(r'"\.\[(.*?)\]"', text)
    assert set(extras.split(",")) <= set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )
    command = typer.main.get_command(app)
    (words,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    (study,) = re.findall(r"^#     (study serve .*)$", text, re.MULTILINE)
    for given in (json.loads(words), study.split()):
        found = command
        while hasattr(found, "commands"):
            found, given = found.commands[given[0]], given[1:]
        assert found.make_context(found.name, list(given)).params["host"] == "0.0.0.0"


@pytest.mark.parametrize("gone", [None, "before it is found", "before it is opened", "before it is asked for"])
def test_a_file_that_is_deleted_while_it_is_asked_for_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str | None
) -> None:
    file = tmp_path / "shown.jpg"
    file.write_bytes(b"an image")

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if not file.exists():
            await Response("never there", 404)(scope, receive, send)
            return
        if gone == "before it is found":
            file.unlink()
        if gone == "before it is opened":
            find = os.stat
            monkeypatch.setattr(os, "stat", lambda path, *rest, **more: (find(path, *rest, **more), file.unlink())[0])
        await FileResponse(file)(scope, receive, send)

    if gone == "before it is asked for":
        file.unlink()
    answered = TestClient(_Guarded(answer)).get("/")
    monkeypatch.undo()
    assert (answered.status_code, answered.content) == {
        None: (200, b"an image"),
        "before it is asked for": (404, b"never there"),
    }.get(gone, (404, b""))
    assert answered.headers["referrer-policy"] == "no-referrer"


def test_other_faults_are_not_hidden() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        TestClient(_Guarded(fail)).get("/")


def test_uploads_are_swept_when_they_are_old_and_pages_are_not(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("pages/one/photo.jpg", "old/a.jpg", "fresh/b.jpg", "loose")}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    past = time.time() - 500
    for path in (files["pages/one/photo.jpg"], files["old/a.jpg"], files["old/a.jpg"].parent, files["loose"]):
        os.utime(path, (past, past))
    sweep_uploads(tmp_path, 300)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        "pages/one/photo.jpg",
        "fresh/b.jpg",
    }
