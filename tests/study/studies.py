"""What the tests of studies share: small studies of drawn faces, a client that takes part, and a server in a process of its own."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from tests.face_sets import draw_face

from legan.requests import Address, StudyRequest
from legan_study.create import create_study
from legan_study.serve import Limits, make_server
from legan_study.study import Study, open_study

CONSENT = 'consent = "We ask how natural faces look.\\n\\nTaking part is voluntary."'


def write_images(folder: Path, n: int, size: int = 64, spoil: float = 0.0) -> Path:
    """Drawn faces `f00.png`, ..., with noise of strength `spoil` (0..1) on them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(n)
    for i in range(n):
        face = draw_face(i, i % 6, (0, 1, 7, 13)[i % 4], size)
        noisy = face + spoil * random.normal(0, 120, face.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"f{i:02d}.png")
    return folder


def write_compared(folder: Path, n: int, models: tuple[str, ...] = ("legan", "stargan"), size: int = 64) -> Path:
    """Images of several models, the first the best, and the originals."""
    for index, model in enumerate(models):
        write_images(folder / model, n, size, 0.5 * index)
    write_images(folder / "input", n, size)
    return folder


def set_up(folder: Path, *settings: str, texts: tuple[str, ...] = ()) -> None:
    """Change settings in study.toml, and write a consent text."""
    path = folder / "study.toml"
    text = re.sub(r'consent = """.*?"""', lambda _: CONSENT, path.read_text(), flags=re.DOTALL)
    for setting in settings:
        text, n = re.subn(rf"(?m)^{setting.split(' =')[0]} = .*$", setting.replace("\\", r"\\"), text)
        assert n == 1, setting
    path.write_text(text + "\n".join(texts) + "\n")


def make_study(folder: Path, *settings: str, n: int = 12, n_practice: int = 2, **options: object) -> Path:
    """A rating study of `n` items that count, without breaks, gold and repeats unless a setting says otherwise."""
    source = write_images(folder.parent / f"{folder.name}-pictures", n + n_practice)
    create_study(StudyRequest(source, folder, "rating", n_practice=n_practice, **options))  # type: ignore[arg-type]
    set_up(folder, "repeats_per_rater = 0", "break_every = 0", *settings)
    return folder


@dataclass
class Page:
    """A page that a client got, with what its forms hold."""

    response: httpx2.Response

    @property
    def text(self) -> str:
        return self.response.text

    @property
    def status(self) -> int:
        return self.response.status_code

    def field(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, f"no {name} in: {self.text[:2000]}"
        return found[1]

    @property
    def is_item(self) -> bool:
        return 'id="answer"' in self.text

    @property
    def code(self) -> str | None:
        found = re.search(r'id="code">([^<]+)<', self.text)
        return found[1] if found else None

    @property
    def images(self) -> list[str]:
        return re.findall(r'src="/picture/([^"]+)"', self.text)

    @property
    def preloaded(self) -> list[str]:
        found = re.search(r'data-images="([^"]*)"', self.text)
        return found[1].split() if found else []


@dataclass
class Taker:
    """Somebody who takes part by HTTP, as the page's script does."""

    client: httpx2.Client
    link: str = "/"
    token: str = ""
    saved: dict[str, str] = field(default_factory=dict)  # assignment: the answer that the server acknowledged

    def get(self, path: str = "/") -> Page:
        return Page(self.client.get(path, follow_redirects=True))

    def post(self, path: str, **form: str) -> Page:
        return Page(self.client.post(path, data=form, headers={"x-study": "page"}, follow_redirects=True))

    def enter(self) -> Page:
        """Agree, read the instructions, and return the first item's page."""
        page = self.get(self.link)
        page = self.post("/consent", token=page.field("token"), agree="yes")
        if "/start" not in page.text:
            return page
        self.token = page.field("token")
        return self.post("/start", token=self.token)

    def answer(self, page: Page, **form: str) -> Page:
        """Answer the item on a page; without a form, rate it 5."""
        assignment = page.field("assignment")
        sent = form or {"rating": "5"}
        after = self.post("/answer", token=page.field("token"), assignment=assignment, seconds="2.5", **sent)
        if after.status == 200:
            self.saved[assignment] = next(iter(sent.values()))
        return after

    def finish(self, page: Page, **form: str) -> Page:
        """Answer everything that comes, alike."""
        while page.is_item or 'action="/go-on"' in page.text:
            page = self.answer(page, **form) if page.is_item else self.post("/go-on", token=page.field("token"))
        return page


def taker(app: object, link: str = "/") -> Taker:
    """Somebody in a browser of their own, at an application in this process."""
    return Taker(TestClient(app, base_url="http://127.0.0.1"), link)  # type: ignore[arg-type]


def records_of(folder: Path) -> list[dict[str, object]]:
    """All answers of a study."""
    from legan_study.results import read_records

    with open_study(folder) as study, study.store.reading() as connection:
        return read_records(study, connection)


def counts_are_true(study: Study) -> bool:
    """Whether every item's count is what its answers and assignments add up to, and none is above what was asked for."""
    from legan_study.raters import true_counts

    with study.store.reading() as connection:
        counts = true_counts(connection).values()
    return all(told == true <= study.config.raters_per_item for told, true in counts)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving_here(app: FastAPI, limits: Limits | None = None, **address: str) -> Iterator[int]:
    """An application behind the server that `legan study serve` starts, in a thread of this process; gives its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
        server = make_server(app, Address(port=port, **address), limits)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server ended"
                time.sleep(0.01)
            yield port
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def serving(folder: Path, *words: str, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`legan study serve` in a process of its own; gives its address and the process, and ends it."""
    port = port or free_port()
    command = [sys.executable, "-m", "legan", "study", "serve", str(folder), "--port", str(port), *words]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, "the server ended"
            try:
                httpx2.get(url + "/static/study.css", timeout=2)
                break
            except httpx2.TransportError:
                time.sleep(0.05)
        yield url, process
    finally:
        process.terminate()
        process.wait(30)
