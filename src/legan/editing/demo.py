"""The demo: one page that opens from disk and shows what the packaged editor does on the packaged photographs and rendered faces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import ImageError, LeganError
from legan.core.files import make_folder
from legan.core.images import load_photo, photo_of
from legan.core.pages import data_uri, write_page
from legan.core.weights import asset
from legan.core.workers import shown_progress
from legan.editing.editor import Editor, Subject
from legan.editing.grid import edit_cells, lighting_label
from legan.editing.loader import load_editor
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
        ConditionError: an editor with classes of its own.
        FaceError: no face in a photograph.
        LeganError: the page cannot be written, or another page is there.
    """
    path = Path(out) / "index.html"
    if path.exists() and MADE_BY not in path.read_text(encoding="utf-8", errors="replace"):
        raise LeganError(f"{path} is there already and is no page of this demo: choose another folder")
    editor = load_editor(weights, device)
    editor.networks.classes.check_standard("the demo page")
    paths = sorted(asset("faces").glob("*.png")) if faces is None else list(faces)
    photo_paths = sorted(asset("faces").glob("*.jpg")) if photos is None else list(photos)
    if not paths or not photo_paths:
        raise ImageError("the package holds no faces: install legan again, or name some")
    people = [PackagedPhoto(editor.prepare(path), f"Person {number}") for number, path in enumerate(photo_paths, start=1)]
    shown = [_face(path, number, editor.networks.size) for number, path in enumerate(paths, start=1)]
    images = EmbeddedImages(editor)
    n_faces = 4 * len(people) + min(N_LAMP_FACES, len(shown)) + len(shown) + min(N_LIGHT_FACES, len(shown)) + 2
    with shown_progress("faces", n_faces) as advance:
        values = {
            "lamp": _lamp(images, people, shown[:N_LAMP_FACES], advance),
            "pairs": _pairs(images, people, advance),
            "photo_expressions": _photo_expressions(images, people, advance),
            "photo_lights": _photo_lights(images, people, advance),
            "expressions": _expressions(images, shown, advance),
            "lights": _lights(images, shown[:N_LIGHT_FACES], advance),
            "both": _both(images, shown[0], advance),
            "masks": _masks(images, shown[0], advance),
        }
    make_folder(out)
    faults = editor.metadata.get("known_faults") or []
    write_page(
        path,
        "demo.html",
        lead=LEAD,
        credit=CREDIT,
        facts=_weights_facts(editor),
        known_faults=[faults] if isinstance(faults, str) else faults,
        size=editor.networks.size,
        **values,
    )
    return path


class EmbeddedImages:
    """Edits faces and turns images into values for the templates; edited images are marked in their metadata."""

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
        return data_uri(image, QUALITY, self.metadata if edited else None)

    def shown(self, image: Image.Image, alt: str, edited: bool = True) -> dict[str, Any]:
        """An image as the macro `img` of the template takes it."""
        uri = self.uri(image, edited)
        return {"uri": uri, "width": image.width, "height": image.height, "alt": alt, "is_own": not edited}


def _face(path: Path, number: int, size: int) -> Face:
    crop = load_photo(path).image
    return Face(crop if crop.size == (size, size) else crop.resize((size, size), Image.Resampling.LANCZOS), f"Face {number}")


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _lamp(
    images: EmbeddedImages, people: Sequence[PackagedPhoto], faces: Sequence[Face], advance: Callable[[], None]
) -> dict[str, Any]:
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
    angles = entries[0]["angles"]
    return {"entries": entries, "first_frame": angles.index(-45), "last_frame": len(angles) - 1}


def _lamp_entry(
    images: EmbeddedImages, name: str, given: Image.Image, frames: Sequence[Image.Image], angles: Sequence[float]
) -> dict[str, Any]:
    strip = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames], axis=1))
    return {"image": images.uri(given, edited=False), "strip": images.uri(strip), "alt": name, "angles": list(angles)}


def _pairs(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> list[dict[str, Any]]:
    """Each photograph beside one edit of it."""
    figures = []
    for person, (expression, lighting) in zip(people, cycle(PAIRS)):
        light = None if lighting is None else f"light from {abs(lighting):g}° {'left' if lighting < 0 else 'right'}"
        words = ", ".join(part for part in (expression, light) if part)
        before = images.shown(_shrunk(person.image, PAIR_SIDE), f"{person.name}, as given", edited=False)
        after = images.shown(
            images.edit_photo(person, [(expression, lighting)], PAIR_SIDE)[0], f"{person.name}, edited: {words}"
        )
        figures.append({"images": [before, after], "words": words})
        advance()
    return figures


def _photo_expressions(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> dict[str, Any]:
    return _photo_table(images, people, "Expressions", [(e, None) for e in EXPRESSIONS], [(e, e) for e in EXPRESSIONS], advance)


def _photo_lights(images: EmbeddedImages, people: Sequence[PackagedPhoto], advance: Callable[[], None]) -> dict[str, Any]:
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
) -> dict[str, Any]:
    """A row of edits for each photograph; `labels` are the columns' heads and what the images' descriptions say."""
    rows = []
    for person in people:
        edited = images.edit_photo(person, conditions, CELL_SIDE)
        cells = [images.shown(_shrunk(person.image, CELL_SIDE), f"{person.name}, as given", edited=False)]
        cells += [images.shown(image, f"{person.name}, {words}") for image, (_, words) in zip(edited, labels, strict=True)]
        rows.append(("", cells))
        advance()
    return _table(caption, ["given", *(head for head, _ in labels)], rows)


def _expressions(images: EmbeddedImages, faces: Sequence[Face], advance: Callable[[], None]) -> list[dict[str, Any]]:
    """A table of the first faces, and one of the others if there are any."""
    rows = []
    for face in faces:
        edited = images.edit(face, [(expression, OWN_LIGHT) for expression in EXPRESSIONS])
        cells = [images.shown(face.crop, f"{face.name}, as given", edited=False)]
        cells += [images.shown(p, f"{face.name}, {e}") for p, e in zip(edited, EXPRESSIONS, strict=True)]
        rows.append(("", cells))
        advance()
    columns = ["given", *EXPRESSIONS]
    tables = [_table("Expressions", columns, rows[:N_OPEN_FACES])]
    if len(rows) > N_OPEN_FACES:
        tables.append(_table("Expressions of the other packaged faces", columns, rows[N_OPEN_FACES:]))
    return tables


def _lights(images: EmbeddedImages, faces: Sequence[Face], advance: Callable[[], None]) -> dict[str, Any]:
    labels = [lighting_label(light) for light in LIGHTS]
    rows = []
    for face in faces:
        edited = images.edit(face, [(OWN_EXPRESSION, light) for light in LIGHTS])
        cells = [images.shown(face.crop, f"{face.name}, as given", edited=False)]
        cells += [images.shown(p, f"{face.name}, light {label}") for p, label in zip(edited, labels, strict=True)]
        rows.append(("", cells))
        advance()
    return _table("Degrees of azimuth; negative is the image's left", ["given", *labels], rows)


def _both(images: EmbeddedImages, face: Face, advance: Callable[[], None]) -> dict[str, Any]:
    edited = iter(images.edit(face, list(product(EXPRESSIONS, GRID_LIGHTS))))
    labels = [lighting_label(light) for light in GRID_LIGHTS]
    rows = [(e, [images.shown(next(edited), f"{face.name}, {e}, light {label}") for label in labels]) for e in EXPRESSIONS]
    advance()
    return _table("Expressions down, lights across", labels, rows)


def _masks(images: EmbeddedImages, face: Face, advance: Callable[[], None]) -> dict[str, Any] | None:
    """A table of edits with their masks; None for an editor without masks."""
    if not images.editor.networks.has_masks:
        advance()
        return None
    subject = Subject(photo_of(face.crop), ())
    rows = []
    for expression, lighting in (("smile", -60), ("surprise", "front"), ("scream", 60)):
        edit = next(images.editor.edit_subjects([subject], expression, lighting))
        words = f"{expression}, {lighting_label(lighting)}"
        names = ("edited", "expression mask", "lighting mask")
        parts = (edit.image, *edit.mask_images())
        rows.append((words, [images.shown(p, f"{face.name}, {words}: {n}") for p, n in zip(parts, names, strict=True)]))
    advance()
    return _table("Masks of three edits", ["edited", "expression mask", "lighting mask"], rows)


def _table(caption: str, columns: Sequence[str], rows: Sequence[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """A table of images for the template; `rows` are headings, which may all be empty, and cells."""
    return {"caption": caption, "columns": columns, "rows": rows, "has_headings": any(heading for heading, _ in rows)}


def _weights_facts(editor: Editor) -> dict[str, Any]:
    """What the metadata of the weights say, and nothing that they do not say."""
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
    return {name: value for name, value in facts.items() if value is not None}
