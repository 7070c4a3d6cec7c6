"""Time from a photo that is dropped, and from a control that is moved, to the edit on the screen, in `legan app` with Chromium.

    python benchmarks/app.py [--megapixels 1 12] [--repeats 12] [--cores 2]

The server runs in a process of its own, held to `--cores` cores together with the browser. Each row is one visitor with one photo, a
packaged face enlarged, so that it fills the image as faces rarely do: the hardest case. A move is a key on a slider or on the lamp, timed
in the page from the key to the new image drawn; its CPU time is the server's. On a machine that does other things too, seconds on the clock
are its share of the cores; CPU time is not. Needs the extras `app` and `dev` (Playwright), and Chromium.
"""

import argparse
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from legan.core.weights import asset

# Drawn: two frames after the new image has been decoded.
WATCH = """() => {
  window.drawn = new Promise((done) => {
    const before = document.querySelectorAll('#stage img')[1]?.src, start = performance.now();
    const look = async () => {
      const image = document.querySelectorAll('#stage img')[1];
      if (!image || image.src === before || !image.complete) return requestAnimationFrame(look);
      await image.decode();
      requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - start) / 1000)));
    };
    look();
  });
}"""
MOVES = {
    "expression": ("#smile input[type=range]", "ArrowRight"),
    "lamp": ("#puck .dome", "ArrowRight"),
    "soft lamp": ("#puck .dome", "ArrowLeft"),
    "its colour": ("#kelvin input[type=range]", "ArrowLeft"),
    "strength": ("#strength input[type=range]", "ArrowLeft"),
}


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Visitor:
    """A page on which moves are timed."""

    def __init__(self, page: Any, server: int) -> None:
        self.page, self.server = page, server

    def timed(self, act: Callable[[], None]) -> tuple[float, float]:
        """Seconds until another edit is drawn, and the server's CPU time for it."""
        before = cpu_seconds(self.server)
        self.page.evaluate(WATCH)
        act()
        seconds = self.page.evaluate("() => window.drawn")
        used = cpu_seconds(self.server) - before
        # Readings follow; a visitor who looks at them does not move anything.
        self.page.wait_for_timeout(1000)
        return seconds, used

    def moved(self, selector: str, key: str) -> tuple[float, float]:
        self.page.focus(selector)
        return self.timed(lambda: self.page.keyboard.press(key))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def measure(url: str, server: int, photo: Path, repeats: int) -> list[tuple[str, list[tuple[float, float]]]]:
    """The rows of one photo: what was done, and (seconds, CPU seconds) of each time."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        start = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("#drop input[type=file]", state="attached")
        rows = [("page opened", [(time.perf_counter() - start, 0.0)])]
        page.wait_for_timeout(1000)
        visitor = Visitor(page, server)
        rows.append(("photo dropped", [visitor.timed(lambda: page.set_input_files("#drop input[type=file]", photo))]))
        rows.append(("first edit", [visitor.moved(*MOVES["expression"])]))
        for name, move in MOVES.items():
            if name == "soft lamp":
                page.fill("#softness input[type=number]", "30")
                page.press("#softness input[type=number]", "Enter")
                page.wait_for_timeout(3000)
            visitor.moved(*move)  # another kind of edit: some of it is computed once
            rows.append((name, [visitor.moved(*move) for _ in range(repeats)]))
        browser.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12])
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])  # children inherit it
    face = Image.open(asset("faces") / "london-107.jpg")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "legan", "app", "--port", str(port)]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        server.stderr.readline()
        print(
            f"{platform.processor() or platform.machine()}, {args.cores} cores, load {os.getloadavg()[0]:.1f}, n = {args.repeats} a row\n"
        )
        print("| megapixels | what | median s | longest s | CPU s of the server |")
        print("| --- | --- | --- | --- | --- |")
        for megapixels in args.megapixels:
            side = round((megapixels * 1e6) ** 0.5)
            photo = Path(folder) / f"{side}.jpg"
            face.resize((side, side), Image.Resampling.LANCZOS).save(photo, quality=92)
            for name, times in measure(f"http://127.0.0.1:{port}", server.pid, photo, args.repeats):
                seconds, used = zip(*times, strict=True)
                print(
                    f"| {megapixels:g} | {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | {statistics.median(used):.2f} |",
                    flush=True,
                )
        server.send_signal(signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    main()
