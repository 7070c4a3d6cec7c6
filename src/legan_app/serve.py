"""The server of `legan app`: a temporary folder that goes with it, a page that asks nobody else for anything, and its end."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from legan.core.errors import ConfigError
from legan.core.weights import PACKAGED, asset
from legan.editing.editor import Editor
from legan.editing.loader import load_editor
from legan.requests import AppRequest
from legan_app import check_extra
from legan_app.controls import ROOM, Controls
from legan_app.visits import EXAMPLE, Page, Pages

# Nothing but this server, whatever a page's scripts may ask for.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; media-src 'self' blob:; object-src 'none'"
)
# After these an uploaded file, long read by then, is deleted: while pages are open, whose edits may wait, and while none is.
_UPLOAD_SECONDS, _LONELY_SECONDS = 300.0, 30.0
_SWEEP_SECONDS = 10.0


def serve_app(
    request: AppRequest, weights: str | Path | None = None, device: str = "cpu", say: Callable[[str], None] = print
) -> None:
    """Serve the page until interrupted or terminated; then nothing of it is left on the disk.

    Args:
        request: where, and limits.
        weights, device: of the editor, as for `legan.load_editor`.
        say: gets a line when the page can be opened.

    Raises:
        LeganError: the extra `app` is not installed, or the port is taken.
        ConfigError: a number out of range, or an editor that is not made of networks.
        ConditionError: an editor with classes of its own.
        WeightsError: as `legan.load_editor`.
    """
    is_over = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: is_over.set())
        signal.signal(signal.SIGINT, lambda *_: is_over.set())
    with serving(request, weights, device) as url:
        say(f"open {url} in a browser (stop with Ctrl-C; photos stay on this computer, and nothing is kept)")
        is_over.wait()


@contextlib.contextmanager
def serving(request: AppRequest, weights: str | Path | None = None, device: str = "cpu") -> Iterator[str]:
    """Serve the page while the block runs; gives its address. Arguments and errors as for `serve_app`."""
    check_extra()
    request.check()
    _check_port(request)
    folder = Path(tempfile.mkdtemp(prefix="legan-app-"))
    try:
        _prepare_gradio(folder)
        from legan_app.page import STATIC, make_page, make_theme

        editor = load_editor(weights, device)
        editor.networks.classes.check_standard("the page of `legan app`")
        pages = Pages(folder / "pages", request.max_visitors)
        _warm_up(editor, folder / "pages")
        blocks = make_page(editor, pages, request, None if str(weights or PACKAGED) == PACKAGED else str(weights))
        blocks.queue(max_size=request.max_queue, default_concurrency_limit=1, api_open=False)
        style = (STATIC / "page.css").read_text()
        blocks.launch(
            server_name=request.host, server_port=request.port, prevent_thread_lock=True, quiet=True, share=False, ssr_mode=False,
            footer_links=[], run_history=False, pwa=False, mcp_server=False, enable_monitoring=False, show_error=False,
            max_file_size=round(request.max_megabytes * 1e6), theme=make_theme(), head=f"<style>{style}</style>",
            app_kwargs={"middleware": [_middleware()]},
        )  # fmt: skip
        with _swept(folder, pages):
            try:
                yield f"http://{request.host}:{request.port}"
            finally:
                blocks.close(verbose=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_gradio(folder: Path) -> None:
    """Tell Gradio, which reads it when it is imported, to keep uploads in `folder` and to ask and tell nobody."""
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _warm_up(editor: Editor, folder: Path) -> None:
    """Edit the packaged photo once, so that the first visitor does not wait for networks to be loaded."""
    page = Page(folder / "warm-up")
    try:
        shown = page.open(asset("faces") / EXAMPLE, EXAMPLE, 1).show(editor, Controls(neutral=True, light=ROOM))
        assert shown.edit is not None and shown.edit.readings
    finally:
        page.close()


def _check_port(request: AppRequest) -> None:
    """Check that nobody listens there already.

    Raises:
        ConfigError: the port is taken, or the address is not of this computer.
    """
    family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((request.host, request.port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {request.host}:{request.port} ({error.strerror}): choose another port with --port"
            ) from None


def _middleware() -> Any:
    from starlette.middleware import Middleware

    return Middleware(_Guarded)


class _Guarded:
    """Adds the headers that keep a page to this server to each answer, and answers 404 for a file that is being deleted.

    A browser may still ask for an image whose page was left. Starlette looks whether it is there, sends the head of its answer and opens
    the file, in that order; so the head waits here until the file is open.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import Response

        waiting: list[Any] = []  # the head of the answer, until there is more of it
        has_begun = False

        async def sent(message: Any) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                headers = {
                    "content-security-policy": _POLICY,
                    "referrer-policy": "no-referrer",
                    "x-content-type-options": "nosniff",
                }
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in headers.items())]
                # A stream of events has no length, and its head is awaited.
                if any(key == b"content-length" for key, _ in message["headers"]):
                    waiting.append(message)
                    return
            has_begun = True
            if waiting:
                await send(waiting.pop())
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except (FileNotFoundError, RuntimeError) as error:
            reason = error.__context__ if isinstance(error, RuntimeError) else error  # Starlette says it by the first
            if has_begun or not isinstance(reason, FileNotFoundError):
                raise
            waiting.clear()
            await Response(status_code=404)(scope, receive, sent)


@contextlib.contextmanager
def _swept(folder: Path, pages: Pages) -> Iterator[None]:
    """Delete uploads while the block runs.

    A file stands in the folder of its checksum, so that two visitors may have given it: neither may delete it at once.
    """
    is_over = threading.Event()

    def sweep() -> None:
        while not is_over.wait(_SWEEP_SECONDS):
            sweep_uploads(folder, _UPLOAD_SECONDS if len(pages) else _LONELY_SECONDS)

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def sweep_uploads(folder: Path, seconds: float) -> None:
    """Delete what was uploaded more than `seconds` ago, all but the folder `pages`."""
    for place in folder.iterdir():
        if place.name == "pages":
            continue
        with contextlib.suppress(OSError):  # somebody deletes or fills it right now
            newest = max((path.stat().st_mtime for path in (place, *place.glob("*"))), default=0)
            if time.time() - newest >= seconds:
                shutil.rmtree(place) if place.is_dir() else place.unlink()
