"""What strangers may do to the server without taking part: hold connections, send endlessly or slowly, and wait for a held database."""

import select
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest
from tests.study.studies import Taker, counts_are_true, make_study, records_of, serving_here, taker

from legan_study.serve import Limits, make_app
from legan_study.study import Study, open_study

SHORT = Limits(head_seconds=0.5, body_seconds=0.5, answer_seconds=1.5, idle_seconds=1.0, n_connections=20)
LONG = (
    20.0  # seconds, that nothing takes even on a busy machine, and that strangers would have held a connection for longer than
)
HEAD = b"POST /answer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def port(study: Study) -> Iterator[int]:
    with serving_here(make_app(study), SHORT) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LONG)


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def is_served(port: int) -> bool:
    return httpx2.get(f"http://127.0.0.1:{port}/", timeout=LONG).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"\r\n", b"HTTP/1.1 408"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"HTTP/1.1 408"),
        (HEAD + b"Content-Length: 90\r\n\r\ntoken=", b"HTTP/1.1 408"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\ntok", b"HTTP/1.1 408"),
    ],
)
def test_requests_that_never_end(port: int, sent: bytes, status: bytes) -> None:
    with connect(port) as connection:
        start = time.monotonic()
        connection.sendall(sent)
        answer = answer_of(connection)
        assert answer.startswith(status) and bool(answer) == bool(status)
        assert time.monotonic() - start < LONG
    assert is_served(port)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", HEAD + b"Content-Length: 4000\r\n\r\n"])
def test_slow_senders(port: int, head: bytes) -> None:
    with connect(port) as connection:
        start = time.monotonic()
        with suppress(ConnectionError):
            connection.sendall(head)
            while time.monotonic() - start < LONG:  # a byte now and then is no reason to wait longer
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - start < LONG


@pytest.mark.parametrize(
    ("head", "part", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"X-Endless: " + b"y" * 100 + b"\r\n", b"HTTP/1.1 431"),
        (b"GET / HTTP/1.1\r\nX-Endless: ", b"y" * 100, b"HTTP/1.1 431"),
        (b"GET /", b"y" * 100, b"HTTP/1.1 431"),
        (b"", b"\r\n" * 50, b"HTTP/1.1 431"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"64\r\n" + b"y" * 100 + b"\r\n", b"HTTP/1.1 413"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: " + b"y" * 100 + b"\r\n", b"HTTP/1.1 413"),
    ],
)
def test_requests_without_an_end(port: int, head: bytes, part: bytes, status: bytes) -> None:
    n_sent = 0
    with connect(port) as connection:
        with suppress(ConnectionError):
            connection.sendall(head)
            while n_sent < 10_000_000:
                connection.sendall(10 * part)
                n_sent += 10 * len(part)
                time.sleep(0.0005)
        with suppress(ConnectionError):
            first = connection.recv(64)
            assert first.startswith(status) or not first
    assert n_sent < 2_000_000
    assert is_served(port)


def test_a_large_head_in_one_piece(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Large: " + b"y" * 20_000 + b"\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 431")
    usual = {"cookie": "x" * 8000}
    assert httpx2.get(f"http://127.0.0.1:{port}/", headers=usual).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", HEAD + b"Content-Length: 90\r\n\r\ntoken="])
def test_connections_that_wait_make_room(study: Study, sent: bytes) -> None:
    patient = Limits(head_seconds=600, body_seconds=600, n_connections=20)
    with serving_here(make_app(study), patient) as port, ExitStack() as open_ones:
        waiting = [open_ones.enter_context(connect(port)) for _ in range(60)]
        for connection in waiting:
            with suppress(ConnectionError):
                connection.sendall(sent)
        assert is_served(port), "nobody waits until the others' time is up"
        end, n_closed = time.monotonic() + LONG, 0
        while n_closed < 40 and time.monotonic() < end:
            n_closed = len(select.select(waiting, [], [], 0.1)[0])  # what can be read is the end
        assert 40 <= n_closed <= 42


def test_a_connection_is_used_again_and_closed_when_idle(port: int) -> None:
    get = b"GET /static/icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connect(port) as connection:
        for _ in range(3):
            connection.sendall(get)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        assert answer_of(connection) == b"" and time.monotonic() - start < LONG


def test_answers_that_nobody_fetches(port: int, study: Study) -> None:
    with connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        start, get = time.monotonic(), b"GET /static/study.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with suppress(ConnectionError):
            while time.monotonic() - start < LONG:
                connection.sendall(get)
                time.sleep(0.001)
        assert time.monotonic() - start < LONG, "closed, although something is sent all the time"
    assert is_served(port)


def test_forwarded_addresses_are_believed_from_the_proxy_alone(study: Study) -> None:
    guess = {"data": {"password": "guess"}}
    for proxy, is_limited in (("", True), ("10.0.0.0/8", True), ("127.0.0.1", False)):
        with serving_here(make_app(study, admin="on"), proxy=proxy) as port:
            url = f"http://127.0.0.1:{port}/admin/login"
            codes = [httpx2.post(url, headers={"x-forwarded-for": f"192.0.2.{i}"}, **guess).status_code for i in range(8)]  # type: ignore[arg-type]
        assert (429 in codes) is is_limited, "each forwarded address has its own limit, if it is believed"


def test_nobody_waits_long_for_a_database_that_another_program_holds(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", n=40)
    with open_study(folder, busy_seconds=4.0) as study, serving_here(make_app(study)) as port:
        takers = [Taker(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)) for _ in range(20)]
        pages = [one.enter() for one in takers]
        other = sqlite3.connect(folder / "study.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits: list[tuple[int, float]] = []

        def answer(i: int) -> None:
            start = time.monotonic()
            waits.append((takers[i].answer(pages[i]).status, time.monotonic() - start))

        threads = [threading.Thread(target=answer, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        for path in ("/static/study.css", "/static/none", f"/picture/{pages[0].images[0]}"):
            start = time.monotonic()
            assert takers[0].client.get(path).status_code == (404 if "none" in path else 200)
            assert time.monotonic() - start < 3, f"{path} needs no database"
        for thread in threads:
            thread.join()
        assert {status for status, _ in waits} == {503} and max(seconds for _, seconds in waits) < 3 * 4
        assert records_of(folder) == []
        other.execute("ROLLBACK")
        other.close()
        assert {one.answer(page).status for one, page in zip(takers, pages, strict=True)} == {200}
        assert len(records_of(folder)) == 20 and counts_are_true(study)


def test_a_thread_of_this_process_that_holds_the_database(study: Study) -> None:
    with open_study(study.folder, busy_seconds=0.2) as impatient:
        rater = taker(make_app(impatient))
        page = rater.enter()
        with impatient.store.writing():
            start = time.monotonic()
            assert rater.answer(page).status == 503 and time.monotonic() - start < LONG
        assert rater.answer(page).status == 200
