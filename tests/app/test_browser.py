"""The page of `legan app` in a real browser. Skipped where Chromium is not installed."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from tests.browser import NEEDS_CHROMIUM, axe_faults, new_page

import legan
from legan.core.weights import asset

pytestmark = NEEDS_CHROMIUM
pytest.importorskip("gradio", reason='the page needs gradio: pip install "legan[app]"')

PATIENCE = 60_000  # milliseconds, on a machine that does other things too
HARMLESS = "Method not implemented."  # what Gradio says by itself


@dataclass
class Server:
    """`legan app` in a process of its own, and the folder in which it makes its own."""

    url: str
    process: subprocess.Popen[str]
    folder: Path

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def start(folder: Path, *options: str, script: Path | None = None, **environment: str) -> Server:
    """Start `legan app`, or a script that does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    own = {"TMPDIR": str(folder), "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), **environment}
    words = ["-m", "legan", "app", "--port", str(port), *options] if script is None else ["-u", str(script)]
    process = subprocess.Popen(
        [sys.executable, *words], env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("open http://127.0.0.1:"):
            break
    else:
        pytest.fail("".join(lines))
    if script is None:
        assert len(lines) == 1, lines
    return Server(f"http://127.0.0.1:{port}", process, folder)


def stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == ""
    assert list(server.folder.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With limits that are easily passed; nothing of it may be left, and it may not have complained."""
    limits = ("--max-megabytes", "0.6", "--max-megapixels", "2", "--max-photos", "3")
    running = start(tmp_path_factory.mktemp("app"), *limits)
    yield running
    stop(running)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packaged people side by side, the one on the right larger."""
    photo = Image.new("RGB", (900, 480), (120, 120, 120))
    for name, side, left in (("london-137.jpg", 320, 30), ("london-117.jpg", 470, 420)):
        photo.paste(Image.open(asset("faces") / name).resize((side, side)), (left, 5))
    path = tmp_path_factory.mktemp("people") / "people.jpg"
    photo.save(path, quality=95)
    return path


@dataclass
class Visitor:
    """A page, and how a visitor works on it."""

    page: Any
    faults: list[str]
    elsewhere: list[str]

    @property
    def images(self) -> list[str]:
        return self.page.locator("#stage img").evaluate_all("images => images.map((image) => image.src)")

    @property
    def message(self) -> str:
        return self.page.locator("#messages .message").first.inner_text(timeout=PATIENCE)

    def drop(self, *photos: Path, into: str = "#drop") -> None:
        self.page.set_input_files(f"{into} input[type=file]", photos)

    def show(self, photo: Path) -> None:
        self.drop(photo)
        self.page.wait_for_function(
            "() => document.querySelectorAll('#stage img').length === 2 && !document.querySelector('#drop .file-preview')"
        )

    def changed(self, before: list[str]) -> Image.Image:
        """The edit, once another than in `before` is shown."""
        self.page.wait_for_function(
            "(src) => document.querySelectorAll('#stage img')[1]?.src !== src && document.querySelectorAll('#stage img')[1].complete",
            arg=before[1],
        )
        return self.fetched(self.images[1])

    def fetched(self, url: str) -> Image.Image:
        return Image.open(io.BytesIO(self.page.request.get(url).body()))

    def set(self, name: str, value: float) -> None:
        self.page.fill(f"#{name} input[type=number]", f"{value:g}")
        self.page.press(f"#{name} input[type=number]", "Enter")

    def download(self, selector: str, folder: Path) -> Path:
        with self.page.expect_download(timeout=PATIENCE) as download:
            self.page.click(selector)
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def lines(self) -> tuple[str, str]:
        if not self.page.locator("#shell textarea").is_visible():
            self.page.click("#lines button")
        return tuple(self.page.locator(f"#{name} textarea").input_value() for name in ("shell", "python"))  # type: ignore[return-value]


def visit(browser: Any, server: Server, phone: bool = False, scheme: str = "light") -> Visitor:
    page, faults = new_page(browser, phone, scheme)
    page.set_default_timeout(PATIENCE)
    elsewhere: list[str] = []

    def note(request: Any) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and urlsplit(request.url).hostname != "127.0.0.1":
            elsewhere.append(request.url)

    page.on("request", note)
    page.goto(server.url)
    page.wait_for_selector("#drop input[type=file]", state="attached")
    return Visitor(page, faults, elsewhere)


def leave(visitor: Visitor, server: Server | None = None) -> None:
    """Close the page; it asked nobody else for anything, and complained of nothing."""
    assert visitor.elsewhere == []
    assert [fault for fault in visitor.faults if fault != HARMLESS] == []
    visitor.page.context.close()


def differs(image: Image.Image, other: Image.Image) -> np.ndarray:
    """Where two images differ (width,), by columns."""
    a, b = (np.asarray(one.convert("RGB"), int) for one in (image, other))
    return np.abs(a - b).max(axis=(0, 2)) > 12


def test_sliders_puck_readings_lines_and_download(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = asset("faces") / "london-107.jpg"
    visitor = visit(browser, server)
    page = visitor.page
    assert axe_faults(page) == []
    visitor.set("smile", 0.5)
    assert "Drop a photo first" in visitor.message
    visitor.set("smile", 0)
    visitor.show(photo)
    assert visitor.images[0] == visitor.images[1]

    # A slider by the keyboard.
    before = visitor.images
    page.focus("#smile input[type=range]")
    page.keyboard.press("End")
    edit = visitor.changed(before)
    assert differs(edit, visitor.fetched(before[0])).any()
    page.wait_for_selector("#readings table")
    (tmp_path / "shown.jpg").write_bytes(page.request.get(visitor.images[1]).body())
    mark = legan.read_mark(tmp_path / "shown.jpg")
    assert mark is not None and mark.edit == "expression=smile lighting=kept strength=1"

    # The puck by the mouse, which switches the lamp on, and by the keyboard.
    before = visitor.images
    page.locator("#puck .dome").scroll_into_view_if_needed()
    box = page.locator("#puck .dome").bounding_box()
    x, y = (box["x"] + box["width"] * (120 + 110 * 0.5) / 240, box["y"] + box["height"] * (120 - 110 * 0.5) / 132)
    page.mouse.move(x - 30, y)
    page.mouse.down()
    page.mouse.move(x, y, steps=3)
    page.mouse.up()
    visitor.changed(before)
    # x = sin(azimuth) cos(elevation), y = sin(elevation), both 0.5.
    assert page.get_attribute("#puck .dome", "aria-valuetext") == "35 degrees from the right, 30 degrees up"
    page.wait_for_selector("#light input[value='a lamp']:checked")
    before = visitor.images
    page.focus("#puck .dome")
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    visitor.changed(before)
    assert page.get_attribute("#puck .dome", "aria-valuetext") == "31 degrees from the right, 35 degrees up"
    page.keyboard.press("Home")
    assert page.get_attribute("#puck .dome", "aria-valuenow") == "0"
    for _ in range(20):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
    assert page.get_attribute("#puck .dome", "aria-valuetext") == "90 degrees from the right, 62 degrees up"

    # The lamp's other controls; the lines say them, and do what is downloaded.
    for name, value in (("ambient", 0.3), ("softness", 40), ("kelvin", 3000), ("strength", 0.9)):
        visitor.set(name, value)
    page.wait_for_function("() => document.querySelector('#shell textarea')?.value.includes('--strength 0.9') ?? true")
    shell, python = visitor.lines()
    page.wait_for_function("() => document.querySelector('#shell textarea').value.includes('--strength 0.9')")
    shell, python = visitor.lines()
    assert shell == (
        "legan edit london-107.jpg --expression smile --lighting 90,62 --ambient 0.3 --softness 40 --light-color 3000K "
        "--strength 0.9 -o london-107-edited.jpg"
    )
    downloaded = visitor.download("#save", tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("london-107.jpg").write_bytes(photo.read_bytes())
    exec(python.replace("-edited", "-again"), {})
    assert downloaded.name == "london-107-edited.jpg"
    assert legan.read_mark(downloaded) == legan.read_mark("london-107-again.jpg")
    ours, theirs = (np.asarray(Image.open(name), int) for name in (downloaded, "london-107-again.jpg"))
    assert np.abs(ours - theirs).max() <= 4  # of 255: the page edits what its cache holds, and both are JPEG
    assert axe_faults(page) == []
    page.wait_for_function("() => /Match with the photo/.test(document.querySelector('#readings').innerText)")
    # The divider by the keyboard.
    page.focus("#divider input[type=range]")
    page.keyboard.press("Home")
    page.wait_for_function(
        "() => /inset\\(0px 0px 0px [0-9](\\.|%)/.test(document.querySelectorAll('#stage img')[1].style.clipPath)"
    )
    leave(visitor)


def test_several_faces(browser: Any, server: Server, people: Path) -> None:
    visitor = visit(browser, server)
    page = visitor.page
    visitor.show(people)
    page.wait_for_function("() => document.querySelectorAll('#faces img').length === 2")
    before = visitor.images
    page.click("#light label:has-text('a lamp')")
    edit, photo = visitor.changed(before), visitor.fetched(before[0])
    half = int(photo.width * 370 / 900)
    columns = differs(edit, photo)
    assert columns[half:].any() and not columns[: half // 2].any(), "the largest is edited"
    before = visitor.images
    page.check("#faces input[value='2']")
    columns = differs(visitor.changed(before), photo)
    assert columns[:half].any() and not columns[-half // 2 :].any()
    assert visitor.lines()[0].endswith("--face 2 -o people-edited.jpg")
    before = visitor.images
    page.focus("#faces input[value='2']")
    page.keyboard.press("ArrowDown")
    columns = differs(visitor.changed(before), photo)
    assert columns[: half // 2 + 60].any() and columns[half + 100 :].any(), "all"
    page.wait_for_function("() => /^Face\\s+1\\s+2/.test(document.querySelector('#readings').innerText)")
    assert page.is_checked("#faces input[value='all']")
    assert axe_faults(page) == []
    leave(visitor)


def test_bad_files_leave_the_photo_as_it_was(browser: Any, server: Server, tmp_path: Path) -> None:
    good = asset("faces") / "london-107.jpg"
    visitor = visit(browser, server)
    page = visitor.page
    visitor.show(good)
    shown = visitor.images
    damaged, empty, wide, heavy = (tmp_path / name for name in ("damaged.jpg", "empty.jpg", "wide.png", "heavy.png"))
    damaged.write_bytes(good.read_bytes()[:9000])
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(empty)
    Image.new("RGB", (2000, 1200)).save(wide)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)).save(heavy)
    for path, words in (
        (damaged, "damaged.jpg is damaged"),
        (empty, "no face found in empty.jpg: give a photo with a face seen from the front"),
        (wide, "wide.png is 2000x1200 pixels: too large, at most 2 megapixels are read"),
    ):
        visitor.drop(path)
        page.wait_for_function("(words) => document.querySelector('#messages').innerText.includes(words)", arg=words)
        assert page.get_attribute("#messages .message", "role") == "alert"
    visitor.drop(heavy)
    page.wait_for_selector(".toast-body:has-text('maximum allowed size')")
    assert visitor.images == shown
    page.reload()
    visitor.faults.clear()  # the browser's own words on the refused upload
    page.wait_for_selector("#drop input[type=file]", state="attached")
    visitor.show(good)
    leave(visitor)


def test_two_visitors_at_once(browser: Any, server: Server) -> None:
    photo = asset("faces") / "london-107.jpg"
    first, second = visit(browser, server), visit(browser, server)
    for visitor in (first, second):
        visitor.drop(photo)
    for visitor in (first, second):
        visitor.page.wait_for_function("() => document.querySelectorAll('#stage img').length === 2")
    before = first.images, second.images
    first.set("smile", 1)
    second.page.click("#light label:has-text('a lamp')")
    edits = [visitor.changed(own) for visitor, own in zip((first, second), before, strict=True)]
    assert "smile" in first.lines()[0] and "lighting" not in first.lines()[0]
    assert "lighting" in second.lines()[0] and "smile" not in second.lines()[0]
    assert differs(*edits).any()
    # Who leaves takes the files along, and the other one goes on.
    gone, kept = (server.folder.rglob(urlsplit(visitor.images[1]).path.rsplit("/", 1)[1]) for visitor in (first, second))
    gone, kept = next(gone), next(kept)
    leave(first)
    wait_for(lambda: not gone.exists() and not gone.parent.parent.exists())
    assert kept.exists()
    before = second.images
    second.set("scream", 1)
    second.changed(before)
    leave(second)
    wait_for(lambda: not kept.exists())


def wait_for(is_done: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_batch_as_a_zip(browser: Any, server: Server, people: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    visitor = visit(browser, server)
    page = visitor.page
    page.click("#light label:has-text('even room light')")
    page.click("button[role=tab]:has-text('Many photos')")
    page.wait_for_selector("#run")
    visitor.drop(asset("faces") / "london-107.jpg", broken, people, asset("faces") / "london-137.jpg", into="#many")
    page.wait_for_selector("#batch-messages:has-text('3 photos are ready. 1 more were left out: 3 are the most at once.')")
    assert axe_faults(page) == []
    page.click("#run")
    page.wait_for_selector("#batch-messages:has-text('2 of 3 photos were edited.')")
    assert "broken.jpg is a text file" in page.inner_text("#batch-messages")
    assert "legan edit photos/ --lighting room -o edited/" in page.inner_text("#batch-messages")
    packed = visitor.download("#packed", tmp_path)
    with zipfile.ZipFile(packed) as files:
        assert sorted(files.namelist()) == ["edits.csv", "london-107-edited.jpg", "people-edited.jpg"]
        files.extractall(tmp_path)
        assert 'broken.jpg,,"broken.jpg is a text file' in files.read("edits.csv").decode()
    mark = legan.read_mark(tmp_path / "people-edited.jpg")
    assert mark is not None and mark.edit == "expression=kept lighting=room strength=1"
    leave(visitor)


def many_photos(visitor: Visitor, photos: Sequence[Path] | Path, n: int) -> None:
    """Give photos, or a folder, for a batch in room light."""
    page = visitor.page
    page.click("#light label:has-text('even room light')")
    page.click("button[role=tab]:has-text('Many photos')")
    page.wait_for_selector("#run")
    if isinstance(photos, Path):
        page.set_input_files("input[type=file][webkitdirectory]", photos)
    else:
        visitor.drop(*photos, into="#many")
    page.wait_for_selector(f"#batch-messages:has-text('{n} photos are ready.')")


def copies(folder: Path, n: int) -> list[Path]:
    """Copies of a packaged photo."""
    folder.mkdir(parents=True)
    return [Path(shutil.copy(asset("faces") / "london-107.jpg", folder / f"{k:02d}.jpg")) for k in range(n)]


def test_a_folder_as_a_zip(browser: Any, server: Server, tmp_path: Path) -> None:
    copies(tmp_path / "photos", 1)
    copies(tmp_path / "photos" / "inner", 1)[0].rename(tmp_path / "photos" / "inner" / "deep.jpg")
    visitor = visit(browser, server)
    many_photos(visitor, tmp_path / "photos", 2)
    visitor.page.click("#run")
    visitor.page.wait_for_selector("#batch-messages:has-text('2 of 2 photos were edited.')")
    with zipfile.ZipFile(visitor.download("#packed", tmp_path)) as files:
        assert sorted(files.namelist()) == ["00-edited.jpg", "deep-edited.jpg", "edits.csv"]
        files.extractall(tmp_path)
    mark = legan.read_mark(tmp_path / "deep-edited.jpg")
    assert mark is not None and mark.edit == "expression=kept lighting=room strength=1"
    leave(visitor)


def test_a_full_queue_says_so_and_a_batch_can_be_stopped(browser: Any, tmp_path: Path) -> None:
    """One batch runs and one waits, for which there is room; a third visitor is asked to try again, and is served later."""
    crowded = start(tmp_path / "app", "--max-queue", "1")
    photos = copies(tmp_path / "photos", 60)
    first, second, third = (visit(browser, crowded) for _ in range(3))
    many_photos(first, photos, 60)
    many_photos(second, photos[:2], 2)
    first.page.click("#run")
    first.page.wait_for_selector("#batch-messages:has-text('of 60 photos')")
    second.page.click("#run")
    wait_for(lambda: _refused(third))
    assert third.page.locator("[data-testid=toast-text]").first.inner_text().strip() == (
        "This application is currently busy. Please try again."
    )

    # Stop is heard though the queue is full: the next batch begins.
    wait_for(lambda: _stopped(first))
    second.page.wait_for_selector("#batch-messages:has-text('2 of 2 photos were edited.')")
    # What follows another visitor's edit may fill the queue for a moment: who is refused asks again.
    wait_for(lambda: _served(third))
    assert "of 60" not in first.page.inner_text("#batch-messages")
    wait_for(lambda: _told_to_give_photos(first))
    assert not first.page.locator("#packed").is_visible()
    for visitor in (first, third):
        visitor.faults[:] = [fault for fault in visitor.faults if "503" not in fault]
    for visitor in (first, second, third):
        leave(visitor)
    wait_for(lambda: not [path for path in crowded.files if path.suffix == ".jpg"])
    stop(crowded)


def _stopped(visitor: Visitor) -> bool:
    """Click Stop; whether it is heard within some seconds. Once, on a busy machine, its answer was never seen: people click again."""
    visitor.page.click("#stop")
    visitor.page.wait_for_timeout(5000)
    told: str = visitor.page.inner_text("#batch-messages")
    print("after Stop:", told)
    return "Stopped. Give the photos again to start anew." in told


def _refused(visitor: Visitor) -> bool:
    """Ask for an edit; whether the page says that it is busy."""
    visitor.page.click("#example")
    visitor.page.wait_for_timeout(1000)
    return visitor.page.locator("[data-testid=toast-text]").count() > 0


def _served(visitor: Visitor) -> bool:
    """Ask for an edit; whether it is shown within some seconds."""
    visitor.page.click("#example")
    visitor.page.wait_for_timeout(5000)
    return visitor.page.locator("#stage img").count() == 2


def _told_to_give_photos(visitor: Visitor) -> bool:
    """Ask for an edit of the photos that are not there any more; whether the page says so."""
    visitor.page.click("#run")
    visitor.page.wait_for_timeout(1000)
    return "Give photos first." in visitor.page.inner_text("#batch-messages")


def test_on_a_phone(browser: Any, server: Server, tmp_path: Path) -> None:
    visitor = visit(browser, server, phone=True, scheme="dark")
    page = visitor.page
    page.tap("#example")
    page.wait_for_function("() => document.querySelectorAll('#stage img').length === 2")
    before = visitor.images
    page.locator("#puck .dome").scroll_into_view_if_needed()
    page.tap("#puck .dome", position={"x": 60, "y": 80})
    visitor.changed(before)
    assert re.match(r"\d+ degrees from the left", str(page.get_attribute("#puck .dome", "aria-valuetext")))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    page.locator("#strength").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    assert -2 <= box["y"] < 5 and box["height"] < 500, "the photo stays in sight"
    assert axe_faults(page) == []
    page.tap("#grid")
    page.wait_for_selector("#grid-image img")
    (tmp_path / "grid.png").write_bytes(page.request.get(page.get_attribute("#grid-image img", "src")).body())
    mark = legan.read_mark(tmp_path / "grid.png")
    assert mark is not None and mark.edit.startswith("grid of all expressions")
    leave(visitor)


def test_as_a_space_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    """`examples/app/app.py` where the environment is that of a Hugging Face Space."""
    script = Path(__file__).parent.parent.parent / "examples" / "app" / "app.py"
    server = start(tmp_path / "app", script=script, SYSTEM="spaces", SPACE_ID="owner/legan")
    answer = urllib.request.urlopen(server.url)
    assert "default-src 'self'" in answer.headers["content-security-policy"] and b"legan" in answer.read()
    assert list((tmp_path / "app").iterdir())
    taken = [sys.executable, "-m", "legan", "app", "--port", server.url.rsplit(":", 1)[1]]
    second = subprocess.run(taken, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert second.returncode == 2 and "choose another port with --port" in second.stderr
    stop(server)
