"""Many SIMULATED raters at once over HTTP: how long the next item takes, and whether every acknowledged answer is in the database.

    python benchmarks/study.py [--raters 50] [--answers 2000] [--think 1.0] [--kills 0] [--database postgresql://...] [--seed 0]

A server runs in a process of its own; raters think for a random time (exponential, mean `--think` seconds), load the image, and
answer. The reference in the same run is a bare file of the same server (`/static/icon.svg`: no database), requested by one more
client all the time, to distinguish a busy machine from a slow server. `--kills` kills the server with
SIGKILL so many times under load and starts it again; raters send again until they are answered, as the page's script does.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from legan.requests import StudyRequest
from legan_study.create import create_study
from legan_study.results import read_records
from legan_study.study import open_study


@dataclass
class Load:
    """The load."""

    n_raters: int = 50
    n_answers: int = 2000
    raters_per_item: int = 4
    think: float = 1.0
    n_kills: int = 0
    database: str | None = None
    seed: int = 0


@dataclass
class Result:
    """Seconds of each request, and acknowledged answers by assignment."""

    next_item: list[float] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    saved: dict[str, float] = field(default_factory=dict)
    n_repeated: int = 0
    n_kills: int = 0
    n_entered: int = 0
    server_cpu: float = 0.0  # seconds of the server's processor time since it was last started
    seconds: float = 0.0


@dataclass
class Outcome:
    """What the database holds afterwards."""

    n_answers: int
    n_lost: int  # acknowledged, but not there or with another rating
    n_double: int  # a rater has answered an item twice
    n_unheard: int  # there, though the acknowledgement never reached the rater
    per_item: dict[int, int]


def make(folder: Path, load: Load) -> Path:
    """A study of noise images that takes exactly `n_answers` answers."""
    random_ = np.random.default_rng(load.seed)
    n_items = load.n_answers // load.raters_per_item
    (folder / "source").mkdir()
    for i in range(n_items):
        Image.fromarray(random_.integers(0, 255, (128, 128, 3), np.uint8)).save(folder / "source" / f"{i:04d}.png")
    request = StudyRequest(
        folder / "source",
        folder / "study",
        "rating",
        n_practice=0,
        raters_per_item=load.raters_per_item,
        database=load.database,
    )
    create_study(request)
    settings = folder / "study" / "study.toml"
    text = settings.read_text().replace("simulated = false", "simulated = true")
    n_each = -(-load.n_answers // load.n_raters)
    for name, value in (("items_per_rater", n_each), ("repeats_per_rater", 0), ("break_every", 0)):
        text = re.sub(rf"(?m)^{name} = \d+", f"{name} = {value}", text)
    settings.write_text(text)
    return folder / "study"


class Server:
    """`legan study serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "legan", "study", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        async with httpx2.AsyncClient(base_url=self.url) as client:
            while self.process.poll() is None:  # without a limit: it answers, or it ends
                try:
                    await client.get("/static/icon.svg")
                    return
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        raise SystemExit("the server did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Processor time so far (Linux)."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


async def persistently(
    client: httpx2.AsyncClient, result: Result, method: str, path: str, **form: str
) -> tuple[httpx2.Response, float]:
    """Send until the server answers, and return the response and the seconds that the last try took."""
    while True:
        start = time.perf_counter()
        try:
            response = await client.request(method, path, data=form or None, headers={"x-study": "page"}, follow_redirects=True)
            if response.status_code == 500:
                raise RuntimeError(f"{method} {path} gave an internal error: run `legan study serve` by hand to see it")
            if response.status_code < 500:
                return response, time.perf_counter() - start
        except httpx2.TransportError:
            pass
        result.n_repeated += 1
        await asyncio.sleep(0.2)


def _field(text: str, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]*)"', text)
    if not match:
        raise RuntimeError(f"no {name} in the page: {text[:500]}")
    return match[1]


async def take_part(url: str, load: Load, result: Result, draw: random.Random) -> int:
    """One simulated rater, from consent to the end; returns how many answers were acknowledged."""
    n_saved = 0
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        await asyncio.sleep(draw.uniform(0, load.think))
        page, _ = await persistently(client, result, "GET", "/")
        if "/consent" not in page.text:
            return 0
        page, _ = await persistently(client, result, "POST", "/consent", token=_field(page.text, "token"), agree="yes")
        if "/start" not in page.text:
            return 0
        result.n_entered += 1
        page, _ = await persistently(client, result, "POST", "/start", token=_field(page.text, "token"))
        loaded: set[str] = set()
        while 'id="answer"' in page.text:
            wanted = set(re.findall(r'src="(/picture/[^"]+)"', page.text)) | {
                f"/picture/{code}" for code in re.findall(r'data-images="([^"]*)"', page.text)[0].split()
            }
            for path in wanted - loaded:
                _, seconds = await persistently(client, result, "GET", path)
                result.image.append(seconds)
            loaded |= wanted
            await asyncio.sleep(draw.expovariate(1 / load.think) if load.think else 0)
            assignment, rating = _field(page.text, "assignment"), draw.randint(0, 20) / 2
            form = {"token": _field(page.text, "token"), "assignment": assignment, "rating": str(rating), "seconds": "1.5"}
            page, seconds = await persistently(client, result, "POST", "/answer", **form)
            if page.status_code != 200:
                raise RuntimeError(f"an answer was refused ({page.status_code}): {page.text[:500]}")
            result.next_item.append(seconds)
            if "went to someone else" not in page.text:
                result.saved[assignment] = rating
                n_saved += 1
    return n_saved


async def _reference(url: str, result: Result, done: asyncio.Event) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        while not done.is_set():
            _, seconds = await persistently(client, Result(), "GET", "/static/icon.svg")
            result.reference.append(seconds)
            await asyncio.sleep(0.1)


async def _kill_repeatedly(server: Server, load: Load, result: Result, done: asyncio.Event) -> None:
    # By answers and not by seconds: a slow machine is killed as often, and a fast one is not done before.
    for number in range(load.n_kills):
        share = (number + random.Random(load.seed + number).uniform(0.3, 0.9)) / load.n_kills
        while len(result.saved) < share * load.n_answers:
            if done.is_set():
                return
            await asyncio.sleep(0.01)
        server.kill()
        result.n_kills += 1
        await server.start()


async def run(folder: Path, load: Load) -> Result:
    """Let all raters take part at once; more come, one after another, while items are left."""
    server, result, done, draw = Server(folder), Result(), asyncio.Event(), random.Random(load.seed)
    await server.start()
    try:
        others = [asyncio.create_task(_reference(server.url, result, done))]
        others.append(asyncio.create_task(_kill_repeatedly(server, load, result, done)))
        start = time.perf_counter()
        seeds = [random.Random(draw.random()) for _ in range(load.n_raters)]
        await asyncio.gather(*(take_part(server.url, load, result, seed) for seed in seeds))
        # A rater cannot have an item twice, so the last items may need another rater.
        while await take_part(server.url, load, result, random.Random(draw.random())):
            pass
        result.seconds = time.perf_counter() - start
        done.set()
        await asyncio.gather(*others)
        result.server_cpu = server.cpu_seconds()
    finally:
        server.stop()
    return result


def compare(folder: Path, result: Result) -> Outcome:
    """Compare the acknowledged answers with those in the database."""
    with open_study(folder) as study, study.store.reading() as connection:
        from sqlalchemy import select

        from legan_study.store import assignment

        records = read_records(study, connection)
        codes = {row.id: row.code for row in connection.execute(select(assignment.c.id, assignment.c.code))}
    there = {codes[int(record["assignment_id"])]: record["rating"] for record in records}
    pairs = Counter((record["rater"], record["item"]) for record in records)
    per_item = Counter(Counter(record["item"] for record in records if record["counts"]).values())
    return Outcome(
        n_answers=len(records),
        n_lost=sum(there.get(code) != rating for code, rating in result.saved.items()),
        n_double=sum(n > 1 for n in pairs.values()) + len(records) - len(there),
        n_unheard=len(set(there) - set(result.saved)),
        per_item=dict(per_item),
    )


def summary(load: Load, result: Result, outcome: Outcome) -> str:
    """The figures as lines."""

    def line(name: str, seconds: list[float]) -> str:
        p50, p95, p99 = (1000 * np.percentile(seconds, q) for q in (50, 95, 99))
        return f"  {name:28s} n {len(seconds):5d}   p50 {p50:6.1f}   p95 {p95:6.1f}   p99 {p99:6.1f}   max {1000 * max(seconds):6.1f} ms"

    return "\n".join(
        [
            f"{load.n_raters} simulated raters at once ({result.n_entered} in all), {outcome.n_answers} answers in {result.seconds:.1f} s",
            line("next item (POST /answer)", result.next_item),
            line("image", result.image),
            line("reference (bare file)", result.reference),
            f"  acknowledged {len(result.saved)}, lost {outcome.n_lost}, double {outcome.n_double}, unheard {outcome.n_unheard}; "
            f"items by answers {outcome.per_item}",
            f"  server killed {result.n_kills} times, {result.n_repeated} requests sent again",
            f"  processor time of the server since its last start {result.server_cpu:.1f} s",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--per-item", type=int, default=4)
    parser.add_argument("--think", type=float, default=1.0, help="mean seconds between page and answer")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--database", help="PostgreSQL URL of an empty database")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    load = Load(args.raters, args.answers, args.per_item, args.think, args.kills, args.database, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        study = make(Path(folder), load)
        result = asyncio.run(run(study, load))
        print(summary(load, result, compare(study, result)))


if __name__ == "__main__":
    main()
