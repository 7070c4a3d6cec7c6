"""The demo page: one file that needs nothing beside it, and says what it shows."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ImageError, LeganError
from legan.core.weights import asset
from legan.editing import demo
from legan.editing.loader import load_editor
from legan.editing.marks import SOURCE_TYPE


class Page(HTMLParser):
    """Collects elements with their attributes, and checks that they are closed."""

    VOID = ("img", "input", "meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("faces")
    y, x = np.mgrid[:128, :128]
    for i in range(2):
        Image.fromarray(np.stack([x + y, 90 + 60 * np.sin(x / 9 + i), 60 + y], -1).clip(0, 255).astype(np.uint8)).save(
            folder / f"{i}.png"
        )
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, tiny_editor: Path, faces: list[Path]) -> str:
    photos = [asset("faces/london-117.jpg")]
    path = demo.make_demo(tmp_path_factory.mktemp("out") / "demo", tiny_editor, faces=faces, photos=photos)
    assert path.name == "index.html" and [p.name for p in path.parent.iterdir()] == ["index.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained_and_well_formed(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert "$" not in re.sub(r"data:[^\"]*", "", text), "a placeholder was left"
    references = [a.get("src") or a.get("href") for _, a in page.elements if a.get("src") or a.get("href")]
    assert len(references) > 40 and all(r.startswith("data:image/webp;base64,") for r in references)
    assert not page.all("link") and "url(" not in text and "@import" not in text


def test_images_are_described(text: str) -> None:
    page = Page(text)
    alts = [image["alt"] for image in page.all("img") if image["alt"]]
    assert all("alt" in image for image in page.all("img"))
    for expression in EXPRESSIONS:
        assert f"Face 2, {expression}" in alts
        assert alts.index(f"Person 1, {expression}") < alts.index(f"Face 1, {expression}"), "real people come first"
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("section"):
        assert attributes["aria-labelledby"] in ids
    assert all(radio["aria-label"] for radio in page.all("input") if radio["type"] == "radio")
    assert [label["for"] for label in page.all("label") if "for" in label] == ["angle"]
    assert page.all("html")[0]["lang"] == "en"


def test_cells_are_edits_that_bear_the_mark(text: str, tiny_editor: Path, faces: list[Path]) -> None:
    images = {image["alt"]: image["src"] for image in Page(text).all("img") if image["alt"]}
    picture = Image.open(BytesIO(base64.b64decode((images["Face 1, scream"] or "").partition(",")[2])))
    assert SOURCE_TYPE.encode() in picture.info["xmp"]
    expected = load_editor(tiny_editor)(faces[0], "scream", face="aligned").image
    # Brightness: WebP keeps colours at half the resolution.
    assert np.abs(np.asarray(picture.convert("L")).astype(int) - np.asarray(expected.convert("L"))).mean() < 4
    given = Image.open(BytesIO(base64.b64decode((images["Face 1, as given"] or "").partition(",")[2])))
    assert "xmp" not in given.info


def test_photographs_are_edited_whole_and_attributed(text: str, tiny_editor: Path) -> None:
    images = [(image["alt"], image["src"]) for image in Page(text).all("img")]
    _, source = next(image for image in images if image[0] == "Person 1, edited: smile")
    edited = Image.open(BytesIO(base64.b64decode((source or "").partition(",")[2])))
    assert edited.size == (demo.PAIR_SIDE, demo.PAIR_SIDE) and SOURCE_TYPE.encode() in edited.info["xmp"]
    expected = load_editor(tiny_editor)(asset("faces/london-117.jpg"), "smile").image.resize(edited.size)
    assert np.abs(np.asarray(edited.convert("L")).astype(int) - np.asarray(expected.convert("L"))).mean() < 4
    assert text.count("CC BY 4.0") >= 2 and "10.6084/m9.figshare.5047666.v5" in text


def test_packaged_photographs_name_their_source() -> None:
    paths = sorted(asset("faces").glob("*.jpg"))
    assert len(paths) == 4
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (512, 512)
            assert "CC BY 4.0" in image.getexif()[ExifTags.Base.Copyright]
            assert b"creativecommons.org/licenses/by/4.0" in image.info["xmp"]


def test_lamp_moves_only_where_motion_is_welcome(text: str) -> None:
    assert 'if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) start();' in text
    assert [button["id"] for button in Page(text).all("button")] == ["play"]


def test_slider_has_a_frame_for_each_angle(text: str) -> None:
    entries = json.loads(re.search(r"var faces = (\[.*?\]);", text).group(1))  # type: ignore[union-attr]
    assert [entry["alt"] for entry in entries] == ["Person 1", "Face 1", "Face 2"]
    for entry, angles, side in ((entries[0], demo.PHOTO_ANGLES, demo.STRIP_SIDE), (entries[2], demo.ANGLES, 128)):
        strip = Image.open(BytesIO(base64.b64decode(entry["strip"].partition(",")[2])))
        assert strip.size == (side * len(angles), side)
        assert entry["angles"] == angles and (angles[0], angles[-1]) == (-90, 90)
    slider = next(a for a in Page(text).all("input") if a["type"] == "range")
    assert slider["max"] == str(len(demo.PHOTO_ANGLES) - 1)
    assert demo.PHOTO_ANGLES[int(slider["value"] or 0)] == -45


def test_page_says_what_the_weights_say(text: str, tiny_editor: Path) -> None:
    assert "<dt>Steps</dt><dd>7</dd>" in text and "<dt>Trained on</dt><dd>noise</dd>" in text
    assert load_editor(tiny_editor).networks.checksum in text
    assert "<dt>Seed</dt>" not in text, "the file does not say it"


def test_no_faces(tmp_path: Path, tiny_editor: Path) -> None:
    with pytest.raises(ImageError, match="holds no faces"):
        demo.make_demo(tmp_path / "demo", tiny_editor, faces=[])
    with pytest.raises(ImageError, match="holds no faces"):
        demo.make_demo(tmp_path / "demo", tiny_editor, photos=[])
    assert not (tmp_path / "demo").exists()


def test_another_page_is_left_alone(tmp_path: Path, tiny_editor: Path, faces: list[Path]) -> None:
    (tmp_path / "index.html").write_text("theirs")
    with pytest.raises(LeganError, match="is there already and is no page of this demo"):
        demo.make_demo(tmp_path, tiny_editor)
    assert (tmp_path / "index.html").read_text() == "theirs"
    (tmp_path / "index.html").write_text("<p>Made by legan 0.0.1.</p>")
    photos = [asset("faces/london-117.jpg")]
    assert demo.make_demo(tmp_path, tiny_editor, faces=faces, photos=photos).stat().st_size > 10_000, (
        "an earlier one is made anew"
    )
