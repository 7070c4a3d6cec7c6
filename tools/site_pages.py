"""What the site has beside docs/: MkDocs calls the functions below (`hooks` in mkdocs.yml).

The changelog, the architecture, how to contribute, the experiments, the model cards and the notebooks stand elsewhere in the
repository, and are shown from there. Links between files of the repository are turned into links of the site. The gallery is made
by the packaged editor at each build.
"""

import io
import json
import os
import posixpath
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
CARDS = "src/legan/assets/weights/README.md"
# Repository path -> path in the site's sources.
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    CARDS: "models.md",
}
GALLERY_FACES = (
    "r000009",
    "r000049",
    "r000089",
    "r000119",
    "r000069",
)  # rendered, of nobody who exists; the first for the grid
GALLERY_EDITS = (("smile", "front"), ("surprise", "front"), ("neutral", -60), ("neutral", 60), ("neutral", "top"))
CELL = 200  # pixels
# Lets the search work from file://. Material loads it from elsewhere, docs/assets has the same file.
SHIM, OWN_SHIM = "https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add what stands outside docs/ and what is made here."""
    for source, place in (*PAGES.items(), *_experiments()):
        files.append(_added(config, place, abs_src_path=str(ROOT / source)))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        files.append(_added(config, f"notebooks/{path.stem}.md", content=notebook_page(path)))
    for name, image in gallery().items():
        files.append(_added(config, f"gallery/{name}.webp", content=image))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Turn links between files of the repository into links of the site; a link to what the site does not have becomes plain text."""
    places = {**PAGES, **dict(_experiments())}
    source = next((one for one, place in places.items() if place == page.file.src_uri), f"docs/{page.file.src_uri}")

    def linked(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        if ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = places.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place and place.endswith(".ipynb") and not source.startswith("docs/notebooks/"):
            place = place.removesuffix("ipynb") + "md"  # its page; the page links the file
        if place is None:
            return text if text.startswith("`") else f"`{text}`"
        return f"{mark}[{text}]({os.path.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{anchor or ''})"

    markdown = LINK.sub(linked, markdown)
    if source != CARDS:
        return markdown
    cards = re.sub(r"^\*\*(\S+)\.safetensors\*\* — ", r"## \1.safetensors\n\n", markdown, flags=re.MULTILINE)
    return f"{cards}\n{sizes_of_weights()}"


def on_post_page(output: str, page: Any, **kwargs: Any) -> str:
    """Load the search's helper from the site itself, and say to a screen reader what the search is."""
    named = output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
    return named.replace(SHIM, "../" * page.url.count("/") + OWN_SHIM)


def on_post_template(output_content: str, **kwargs: Any) -> str:
    """The same for the page of a wrong address."""
    return output_content.replace(SHIM, OWN_SHIM)


def _added(config: Any, place: str, **content: Any) -> File:
    return File.generated(config, place, **content)


def _experiments() -> list[tuple[str, str]]:
    """Pages and charts of experiments, at the path that they have in the repository."""
    found = [path for path in sorted((ROOT / "experiments").rglob("*")) if path.suffix in (".md", ".png", ".svg", ".webp")]
    return [(path.relative_to(ROOT).as_posix(),) * 2 for path in found]


def notebook_page(path: Path) -> str:
    """Return a notebook's cells as Markdown, with a link to the file below the heading."""
    cells = json.loads(path.read_text())["cells"]
    parts = [
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    ]
    heading, _, text = parts[0].partition("\n")
    link = f"A notebook: [{path.name}]({path.name}), to run with `jupyter lab` (`pip install jupyterlab`)."
    return "\n\n".join([heading, link, text.strip(), *parts[1:]])


@lru_cache(maxsize=1)
def gallery() -> dict[str, bytes]:
    """Return WebP images by name: `grid`, all expressions under six lights, and `people`, several people with a few edits each."""
    from PIL import Image

    from legan.core.weights import asset
    from legan.editing.grid import edit_cells, make_grid
    from legan.editing.loader import load_editor

    editor = load_editor()
    first, *others = (Image.open(asset(f"faces/{name}.png")).convert("RGB") for name in GALLERY_FACES)
    rows = [[crop, *edit_cells(editor, crop, GALLERY_EDITS)] for crop in others]
    people = Image.new("RGB", (CELL * len(rows[0]), CELL * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            people.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (CELL * x, CELL * y))
    images = {"grid": make_grid(editor, editor.prepare(first, face="aligned")), "people": people}
    return {name: _webp(image) for name, image in images.items()}


def _webp(image: Any) -> bytes:
    image.save(file := io.BytesIO(), "WEBP", quality=85)
    return file.getvalue()


def sizes_of_weights() -> str:
    """Return a table of the packaged weights files."""
    from legan.commands.models import packaged_weights

    rows = [f"| {one['name']} | {one['n_bytes'] / 1e6:.1f} | {_licence(one['licence'])} |" for one in packaged_weights()]
    head = ["## Sizes", "", "| weights | MB | licences |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, "", "`legan models` also counts the parameters and the operations of each preset.", ""])


def _licence(licence: Any) -> str:
    return ", ".join(licence) if isinstance(licence, list) else str(licence)
