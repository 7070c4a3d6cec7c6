"""The demo: one page that opens from disk and shows what the packaged editor does on the packaged photographs and rendered faces."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, product
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from legan import __version__
from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ImageError, LeganError
from legan.core.files import make_folder, write_atomic
from legan.core.images import encode_photo, load_photo, photo_of
from legan.core.metadata import Metadata
from legan.core.weights import asset
from legan.core.workers import shown_progress
from legan.editing.editor import Editor, Subject, load_editor
from legan.editing.grid import edit_cells, lighting_label
from legan.editing.marks import Mark, marked_metadata
from legan.models.editors import LightingSpec, Networks

ANGLES = [-90 + 7.5 * i for i in range(25)]  # degrees, of the slider's frames
PHOTO_ANGLES = [-90 + 15 * i for i in range(13)]  # the classes' own: whole photographs take longer
LIGHTS: tuple[LightingSpec, ...] = ("room", -75, -45, "front", 45, 75, "top")
GRID_LIGHTS: tuple[LightingSpec, ...] = ("room", -60, -30, 30, 60, "top")
OWN_EXPRESSION, OWN_LIGHT = "neutral", "front"  # of the packaged faces: known, so that nothing has to be guessed
N_LAMP_FACES, N_LIGHT_FACES, N_OPEN_FACES = 2, 4, 2
STRIP_SIDE, CELL_SIDE, PAIR_SIDE = 320, 256, 448  # pixels of photographs: in the slider, in tables, before and after
# One edit for each photograph, in turn.
PAIRS: tuple[tuple[str | None, float | None], ...] = (("smile", None), (None, -60), ("disgust", 45), (None, 60))
QUALITY = 88
MADE_BY = "Made by legan"  # in every such page, by which it is known again
LEAD = (
    "An editor in the manner of LEGAN (Banerjee et al., CVPR Workshops 2021) changes the lighting and the expression of a face photo. "
    "The editor was trained on nobody on this page: first four people of the Face Research Lab London Set, then rendered faces of people "
    "who do not exist."
)
ATTRIBUTION = (
    "DeBruine, L. and Jones, B. (2017), Face Research Lab London Set, figshare, doi:10.6084/m9.figshare.5047666.v5, CC BY 4.0, "
    "cropped and resized"
)
CREDIT = (
    f"Photographs: {ATTRIBUTION}; edited where the page says so. The people agreed that their images be used, also altered, in studies and "
    "to illustrate research."
)


@dataclass(frozen=True)
class Face:
    """One packaged face: its crop, and how the page speaks of it."""

    crop: Image.Image
    name: str


@dataclass(frozen=True)
class PackagedPhoto:
    """One packaged photograph with its face, and how the page speaks of it."""

    subject: Subject
    name: str

    @property
    def image(self) -> Image.Image:
        """The photograph as it is."""
        return self.subject.photo.image


def make_demo(
    out: Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    faces: Sequence[Path] | None = None,
    photos: Sequence[Path] | None = None,
) -> Path:
    """Write the page and return its path, `out/index.html`.

    Args:
        out: a folder; made when missing.
        weights, device: as for `load_editor`.
        faces: aligned crops of neutral, frontally lit faces instead of the packaged ones.
        photos: square photographs of one person each, at rest, instead of the packaged ones.

    Raises:
        WeightsError, ImageError: the weights or an image cannot be read, or there is none.
        FaceError: no face in a photograph.
        LeganError: the page cannot be written, or another page is there.
    """
    path = Path(out) / "index.html"
    if path.exists() and MADE_BY not in path.read_text(encoding="utf-8", errors="replace"):
        raise LeganError(f"{path} is there already and is no page of this demo: choose another folder")
    editor = load_editor(weights, device)
    paths = sorted(asset("faces").glob("*.png")) if faces is None else list(faces)
    photo_paths = sorted(asset("faces").glob("*.jpg")) if photos is None else list(photos)
    if not paths or not photo_paths:
        raise ImageError("the package holds no faces: install legan again, or name some")
    people = [PackagedPhoto(editor.prepare(path), f"Person {number}") for number, path in enumerate(photo_paths, start=1)]
    shown = [_face(path, number, editor.networks.size) for number, path in enumerate(paths, start=1)]
    images = EmbeddedImages(editor)
    n_faces = 4 * len(people) + min(N_LAMP_FACES, len(shown)) + len(shown) + min(N_LIGHT_FACES, len(shown)) + 2
    with shown_progress("faces", n_faces) as advance:
        page = Template(asset("demo.html").read_text(encoding="utf-8")).substitute(
            _lamp(images, people, shown[:N_LAMP_FACES], advance),
            lead=LEAD,
            credit=escape(CREDIT),
            pairs=_pairs(images, people, advance),
            photo_expressions=_photo_expressions(images, people, advance),
            photo_lights=_photo_lights(images, people, advance),
            expressions=_expressions(images, shown, advance),
            lights=_lights(images, shown[:N_LIGHT_FACES], advance),
            both=_both(images, shown[0], advance),
            masks=_masks(images, shown[0], advance),
            weights=_weights_note(editor),
            size=editor.networks.size,
            footer=f"{MADE_BY} {__version__}. {escape(CREDIT)} Rendered faces: CC0 1.0. The LEGAN architecture is the subject of a US "
            "patent application (US 2022/0067519 A1).",
        )
    make_folder(out)
    write_atomic(path, page.encode())
    return path


class EmbeddedImages:
    """Edits faces and turns images into HTML; edited ones bear the mark."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.metadata = marked_metadata(Mark(editor.networks.checksum, "demo page"))

    def edit(self, face: Face, conditions: Sequence[tuple[str, LightingSpec]]) -> list[Image.Image]:
        """Edit one face to several conditions."""
        return edit_cells(self.editor, face.crop, conditions)

    def edit_photo(
        self, person: PackagedPhoto, conditions: Sequence[tuple[str | None, LightingSpec | None]], side: int
    ) -> list[Image.Image]:
        """Edit one photograph to several conditions at its own pixels; None keeps its own. Then shrink to `side` pixels."""
        edits = (next(self.editor.edit_subjects([person.subject], *condition)) for condition in conditions)
        return [_shrunk(edit.image, side) for edit in edits]

    def uri(self, image: Image.Image, edited: bool = True) -> str:
        """An image as a data URI."""
        data = encode_photo(image, "WEBP", quality=QUALITY, metadata=self.metadata if edited else Metadata())
        return f"data:image/webp;base64,{base64.b64encode(data).decode()}"

    def html(self, image: Image.Image, alt: str, edited: bool = True) -> str:
        """An image as an `img` element."""
        size = f'width="{image.width}" height="{image.height}"'
        mark = "" if edited else ' class="own"'
        return f'<img src="{self.uri(image, edited)}" {size} alt="{escape(alt)}" loading="lazy"{mark}>'


def _face(path: Path, number: int, size: int) -> Face:
    crop = load_photo(path).image
    return Face(crop if crop.size == (size, size) else crop.resize((size, size), Image.Resampling.LANCZOS), f"Face {number}")


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _lamp(
    images: EmbeddedImages, people: Sequence[PackagedPhoto], faces: Sequence[Face], advance: Callable[[], None]
) -> dict[str, str]:
    """The slider: for each photograph and face one long image of all frames side by side."""
    entries = []
    for person in people:
        frames = images.edit_photo(person, [(None, angle) for angle in PHOTO_ANGLES], STRIP_SIDE)
        entries.append(_lamp_entry(images, person.name, _shrunk(person.image, STRIP_SIDE), frames, PHOTO_ANGLES))
        advance()
    for face in faces:
        frames = images.edit(face, [(OWN_EXPRESSION, angle) for angle in ANGLES])
        entries.append(_lamp_entry(images, face.name, face.crop, frames, ANGLES))
        advance()
    choices = "".join(
        f'<label><input type="radio" name="face" value="{i}"{" checked" if i == 0 else ""} aria-label="{entry["alt"]}">'
        f'<img src="{entry["picture"]}" width="58" height="58" alt=""></label>'
        for i, entry in enumerate(entries)
    )
    angles = entries[0]["angles"]
    first = angles.index(-45)
    return {
        "first_face": entries[0]["picture"],
        "first_alt": entries[0]["alt"],
        "first_strip": entries[0]["strip"],
        "first_frame": str(first),
        "first_angle": f"{angles[first]:g}",
        "last_frame": str(len(angles) - 1),
        "choices": choices,
        "faces_json": json.dumps(entries),
    }


def _lamp_entry(
    images: EmbeddedImages, name: str, given: Image.Image, frames: Sequence[Image.Image], angles: Sequence[float]
) -> dict[str, Any]:
    strip = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames], axis=1))
    return {"picture": images.uri(given, edited=False), "strip": images.uri(strip), "alt": name, "angles": list(angles)}


def _pairs(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> str:
    """Each photograph beside one edit of it."""
    figures = ""
    for person, (expression, lighting) in zip(people, cycle(PAIRS)):
        light = None if lighting is None else f"light from {abs(lighting):g}° {'left' if lighting < 0 else 'right'}"
        words = ", ".join(part for part in (expression, light) if part)
        before = images.html(_shrunk(person.image, PAIR_SIDE), f"{person.name}, as given", edited=False)
        after = images.html(
            images.edit_photo(person, [(expression, lighting)], PAIR_SIDE)[0], f"{person.name}, edited: {words}"
        )
        figures += f"<figure><div>{before}{after}</div><figcaption>given, and edited: {escape(words)}</figcaption></figure>\n"
        advance()
    return f'<div class="pairs">{figures}</div>'


def _photo_expressions(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> str:
    return _photo_table(images, people, "Expressions", [(e, None) for e in EXPRESSIONS], [(e, e) for e in EXPRESSIONS], advance)


def _photo_lights(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> str:
    labels = [(label := lighting_label(light), f"light {label}") for light in LIGHTS]
    caption = "Degrees of azimuth; negative is the image's left"
    return _photo_table(images, people, caption, [(None, light) for light in LIGHTS], labels, advance)


def _photo_table(
    images: EmbeddedImages,
    people: Sequence[PackagedPhoto],
    caption: str,
    conditions: Sequence[tuple[str | None, LightingSpec | None]],
    labels: Sequence[tuple[str, str]],
    advance: Callable[[], None],
) -> str:
    """A row of edits for each photograph; `labels` are the columns' heads and what the images' descriptions say."""
    rows = []
    for person in people:
        edited = images.edit_photo(person, conditions, CELL_SIDE)
        cells = [images.html(_shrunk(person.image, CELL_SIDE), f"{person.name}, as given", edited=False)]
        cells += [images.html(image, f"{person.name}, {words}") for image, (_, words) in zip(edited, labels, strict=True)]
        rows.append(("", cells))
        advance()
    return _table(caption, ["given", *(head for head, _ in labels)], rows)


def _expressions(images: EmbeddedImages, faces: Sequence[Face], advance: Callable[[], None]) -> str:
    rows = []
    for face in faces:
        edited = images.edit(face, [(expression, OWN_LIGHT) for expression in EXPRESSIONS])
        cells = [images.html(face.crop, f"{face.name}, as given", edited=False)]
        cells += [images.html(p, f"{face.name}, {e}") for p, e in zip(edited, EXPRESSIONS, strict=True)]
        rows.append(("", cells))
        advance()
    columns = ["given", *EXPRESSIONS]
    page = _table("Expressions", columns, rows[:N_OPEN_FACES])
    if len(rows) > N_OPEN_FACES:
        others = _table("Expressions of the other packaged faces", columns, rows[N_OPEN_FACES:])
        page += f"<details><summary>{len(rows) - N_OPEN_FACES} more faces</summary>{others}</details>"
    return page


def _lights(images: EmbeddedImages, faces: Sequence[Face], advance: Callable[[], None]) -> str:
    labels = [lighting_label(light) for light in LIGHTS]
    rows = []
    for face in faces:
        edited = images.edit(face, [(OWN_EXPRESSION, light) for light in LIGHTS])
        cells = [images.html(face.crop, f"{face.name}, as given", edited=False)]
        cells += [images.html(p, f"{face.name}, light {label}") for p, label in zip(edited, labels, strict=True)]
        rows.append(("", cells))
        advance()
    return _table("Degrees of azimuth; negative is the image's left", ["given", *labels], rows)


def _both(images: EmbeddedImages, face: Face, advance: Callable[[], None]) -> str:
    edited = iter(images.edit(face, list(product(EXPRESSIONS, GRID_LIGHTS))))
    labels = [lighting_label(light) for light in GRID_LIGHTS]
    rows = [(e, [images.html(next(edited), f"{face.name}, {e}, light {label}") for label in labels]) for e in EXPRESSIONS]
    advance()
    return _table("Expressions down, lights across", labels, rows)


def _masks(pictures: EmbeddedImages, face: Face, advance: Callable[[], None]) -> str:
    if not pictures.editor.networks.has_masks:
        advance()
        return "<p>These weights make no masks.</p>"
    subject = Subject(photo_of(face.crop), ())
    rows = []
    for expression, lighting in (("smile", -60), ("surprise", "front"), ("scream", 60)):
        edit = next(pictures.editor.edit_subjects([subject], expression, lighting))
        words = f"{expression}, {lighting_label(lighting)}"
        names = ("edited", "expression mask", "lighting mask")
        images = (edit.image, *edit.mask_images())
        rows.append((words, [pictures.html(p, f"{face.name}, {words}: {n}") for p, n in zip(images, names, strict=True)]))
    advance()
    return _table("Masks of three edits", ["edited", "expression mask", "lighting mask"], rows)


def _table(caption: str, columns: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    """A table of images in a box that scrolls sideways; rows with a heading get one."""
    with_headings = any(heading for heading, _ in rows)
    head = ("<td></td>" if with_headings else "") + "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = ""
    for heading, cells in rows:
        start = f'<th scope="row">{escape(heading)}</th>' if with_headings else ""
        body += f"<tr>{start}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
    table = f"<table><caption>{escape(caption)}</caption>\n<tr>{head}</tr>\n{body}</table>"
    return f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">{table}</div>'


def _weights_note(editor: Editor) -> str:
    """What the weights file says about itself, and nothing that it does not say."""
    metadata = editor.metadata
    if isinstance(editor.networks, Networks):
        n_parameters = sum(p.numel() for p in editor.networks.generator.parameters())
        network = f"generator {n_parameters / 1e6:.1f} million parameters"
    else:
        network = "none: the fitted head"
    facts: dict[str, Any] = {
        "Trained on": metadata.get("data"),
        "Steps": metadata.get("steps"),
        "Seed": metadata.get("seed"),
        "Network": f"{network}, {editor.networks.size}×{editor.networks.size} pixels",
        "Licence": metadata.get("licence"),
        "Commit": metadata.get("commit"),
        "SHA-256": editor.networks.checksum,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value is not None)
    return f"<dl>{rows}</dl>{_faults_note(metadata.get('known_faults') or [])}"


def _faults_note(faults: Sequence[str] | str) -> str:
    listed = [faults] if isinstance(faults, str) else list(faults)
    items = "".join(f"<li>{escape(fault)}</li>" for fault in listed)
    known = f"<p>Known faults:</p><ul>{items}</ul>" if items else ""
    return (
        '<div class="note"><p>Look closely: no edit on this page was touched up. The four people were chosen by eye, for good '
        f"edits, from 16 photographs that the editor was not trained on; the rendered faces were not chosen.</p>{known}</div>"
    )
