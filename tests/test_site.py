"""The documentation site: it builds without a warning, needs nothing from elsewhere, and has every public name."""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import legan

config_module = pytest.importorskip("mkdocs.config", reason='the site needs MkDocs: pip install "legan[docs]"')
ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The built site; a warning, such as of a link that leads nowhere, is an error."""
    from mkdocs.commands.build import build

    out = tmp_path_factory.mktemp("site")
    config = config_module.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True)
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        config.plugins.run_event("startup", command="build", dirty=False)
        build(config)
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert warnings == []
    yield out


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    assert {page.name: loads.findall(page.read_text()) for page in pages if loads.search(page.read_text())} == {}
    assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", "".join(path.read_text() for path in site.rglob("*.css")))


def test_the_reference_has_every_public_name_with_its_example(site: Path) -> None:
    text = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    constants = {"EXPRESSIONS", "LIGHTINGS"}  # in the words of docs/edit.md
    assert [name for name in legan.__all__ if f'id="legan.{name}"' not in text and name not in constants] == []
    assert '<span class="gp">&gt;&gt;&gt; </span><span class="n">edited</span>' in text  # a prompt, not a quotation
    assert "<blockquote>" not in text


def test_pages_from_the_repository_are_linked(site: Path) -> None:
    benchmarks = (site / "benchmarks.html").read_text()
    assert 'href="experiments/quality/index.html"' in benchmarks and "<td>legan-noqual</td>" in benchmarks
    assert "editor.safetensors" in (site / "models.html").read_text() and "0.1.0" in (site / "changelog.html").read_text()
    assert 'href="commands.html"' in (site / "contributing.html").read_text()


def test_notebooks_are_pages_and_files(site: Path) -> None:
    page = (site / "notebooks" / "edit.html").read_text()
    assert 'href="edit.ipynb"' in page and (site / "notebooks" / "edit.ipynb").is_file() and "load_editor" in page


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="the browser test needs Chromium: apt-get install chromium")
def test_the_search_works_from_disk_and_pages_can_be_read_by_all(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("min-match")
        page.wait_for_selector(".md-search-result__link[href*='commands.html']", timeout=20_000)
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []

        # Nothing serious for people who need contrast or a screen reader, and nothing wider than a telephone.
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
        for name in ("index", "reference/editing", "benchmarks"):
            page = context.new_page()
            page.goto((site / f"{name}.html").as_uri())
            faults = [one for one in axe.run(page).response["violations"] if one["impact"] in ("serious", "critical")]
            assert [(one["id"], one["nodes"][0]["html"]) for one in faults] == []
            page.set_viewport_size({"width": 390, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == 390
        browser.close()
