"""What open pages hold: a photo with its faces in memory, and a folder for the files that the browser fetches."""

import contextlib
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.errors import FaceError, LeganError
from legan.core.files import sha256_of
from legan.core.geometry import scale_of
from legan.core.images import WRITE_FORMATS, Photo, decoded, encode_photo, photo_of, save_photo
from legan.editing.editor import Edit, Editor, Subject
from legan.editing.folders import light_setups
from legan.editing.grid import GRID_LIGHTINGS, grid_mark, make_grid
from legan.editing.marks import marked_metadata
from legan.faces.align import AlignedCrop, align, alignment
from legan.faces.detect import MIN_FACE_SIDE, Face, detect
from legan.models.editors import LightingSpec
from legan.requests import EditRequest
from legan_app.controls import Controls

# The image that is shown: a slider's move must be on the screen in 0.4 s, and an edit takes the longer the more pixels the face has.
SHOWN_SIDE = 1024  # pixels of its long side, at most
SHOWN_FACE = 576  # pixels of a face crop's side in it, at most
_QUALITY = 90  # of its JPEG
_THOROUGH_PIXELS = 4_000_000  # up to here small faces are looked for too: 0.5 s a megapixel
EXAMPLE = "london-107.jpg"  # the packaged photo to try it out
_N_STALE = 20  # files of former edits that are left for a slow browser to fetch
THUMBNAIL = 72  # pixels


def read_photo(path: Path, name: str, max_megapixels: float) -> tuple[Photo, str]:
    """Read a visitor's file; also the SHA-256 of it. `name` is what the visitor calls it.

    Raises:
        ImageError: as `core.images.load_photo`, or more pixels than the limit.
    """
    with decoded(path, name, int(max_megapixels * 1e6)) as image:
        photo = photo_of(image, Path(name))
    # Without a path: a file of this name here would be somebody else's.
    return replace(photo, path=None), sha256_of(path)


def edited_name(name: str, tag: str = "edited", ending: str = "") -> str:
    """Return the name of the edit of a visitor's photo, with an ending under which images are written."""
    stem = "".join(c if c.isalnum() or c in "-_. " else "_" for c in Path(name).stem).strip(". ") or "photo"
    suffix = Path(name).suffix
    return f"{stem[:80]}-{tag}{ending or (suffix if suffix.lower() in WRITE_FORMATS else '.png')}"


@dataclass(frozen=True)
class Shown:
    """What the page shows: two files, the edit behind them, and what it was asked for (None: the photo as it is)."""

    before: Path
    after: Path
    edit: Edit | None
    request: EditRequest | None


class Visit:
    """One photo.

    Args:
        photo, checksum: as `read_photo` returns them.
        name: what the visitor calls it.
        folder: for its files, made here; nobody can guess its name.

    Raises:
        FaceError: no face in the photo.
    """

    def __init__(self, photo: Photo, checksum: str, name: str, folder: Path) -> None:
        self.photo, self.checksum, self.name, self.folder = photo, checksum, name, folder
        self.faces: list[Face] = detect(photo.image, thorough=False)
        if not self.faces:
            raise FaceError(
                f"no face found in {name}: give a photo with a face seen from the front, at least {MIN_FACE_SIDE} pixels wide"
            )
        self.controls: Controls | None = None
        self.shown: Shown | None = None
        self._subjects: dict[tuple[str, bool, bool], tuple[Subject, Subject]] = {}
        self._lock = threading.RLock()
        self._stale: list[Path] = []
        self._is_closed = False
        folder.mkdir(parents=True)

    def look_closer(self, editor: Editor) -> None:
        """Prepare the first edit while the visitor looks at the photo, and look for smaller faces where it is small enough for that."""
        for request in (EditRequest(), EditRequest("smile")):
            with self._lock, contextlib.suppress(FaceError):  # a face that is refused is said to be when it is edited
                _ = self._subject(editor, request)[1].people  # computed once
        width, height = self.photo.image.size
        if width * height <= _THOROUGH_PIXELS:
            found = detect(self.photo.image)
            with self._lock:
                if len(found) > len(self.faces):
                    self.faces = found
                    self._subjects.clear()

    def thumbnails(self) -> list[bytes]:
        """The faces, the largest first, as JPEG files."""
        return [encode_photo(align(self.photo.image, face.landmarks, THUMBNAIL).image, "JPEG") for face in self.faces]

    @cached_property
    def small(self) -> Photo:
        """The photo as it is shown."""
        width, height = self.photo.image.size
        side = 1 / scale_of(alignment(self.faces[0].landmarks, 1))  # pixels of the largest face's crop
        scale = min(1.0, SHOWN_SIDE / max(width, height), SHOWN_FACE / side)
        if scale == 1:
            return Photo(self.photo.image)
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        return Photo(self.photo.image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))

    @cached_property
    def _before(self) -> Path:
        return self._write(encode_photo(self.small.image, "JPEG", quality=_QUALITY), ".jpg")

    def show(self, editor: Editor, controls: Controls) -> Shown:
        """Edit the shown image; its files stand in the folder until the next one.

        Raises:
            LeganError: an edit that is refused, or a page that was left.
        """
        with self._lock:
            self._check_open()
            former = self.shown
            if controls.changes_nothing:
                self.shown = Shown(self._before, self._before, None, None)
            else:
                request = controls.request()
                edit = self._edit(editor, request, full=False)
                metadata = marked_metadata(edit.mark)
                after = self._write(encode_photo(edit.image, "JPEG", quality=_QUALITY, metadata=metadata), ".jpg")
                self.shown = Shown(self._before, after, edit, request)
            # The browser may still be fetching the ones before.
            if former and former.after != self._before:
                self._stale.append(former.after)
            while len(self._stale) > _N_STALE:
                self._stale.pop(0).unlink(missing_ok=True)
            return self.shown

    def save(self, editor: Editor, controls: Controls) -> Path:
        """Write the edit at the photo's own pixels, with its metadata and the mark, as `legan edit` does.

        Raises:
            LeganError: nothing to change, an edit that is refused, or a page that was left.
        """
        with self._lock:
            self._check_open()
            edit = self._edit(editor, controls.request(), full=True)
            place = self._emptied("save") / edited_name(self.name)
            edit.save(place)
            return place

    def save_grid(self, editor: Editor, controls: Controls) -> Path:
        """Write one labelled image of all expressions under several lights, as `legan edit --grid` does.

        Raises:
            LeganError: an edit that is refused, or a page that was left.
        """
        with self._lock:
            self._check_open()
            subject = self._subject(editor, controls.grid_request())[0]
            image = make_grid(editor, subject, GRID_LIGHTINGS, controls.strength)
            mark = replace(grid_mark(editor, GRID_LIGHTINGS, controls.strength), photo=self.checksum)
            place = self._emptied("grid") / edited_name(self.name, "grid", ".png")
            save_photo(image, place, metadata=marked_metadata(mark))
            return place

    def close(self) -> None:
        """Forget the photo and delete its files; waits for an edit that is being made."""
        with self._lock:
            self._is_closed = True
            shutil.rmtree(self.folder, ignore_errors=True)

    def _edit(self, editor: Editor, request: EditRequest, full: bool) -> Edit:
        lighting: LightingSpec | None = next(iter(light_setups(request, editor).lightings), None)
        subject = self._subject(editor, request)[0 if full else 1]
        edit = next(editor.edit_subjects([subject], request.expression, lighting, request.strength))
        return edit.of_file(self.checksum)

    def _subject(self, editor: Editor, request: EditRequest) -> tuple[Subject, Subject]:
        """The faces to edit, in the photo and in the image that is shown."""
        changes_expression = request.grid or request.expression is not None
        key = str(request.face), request.force, changes_expression
        if key not in self._subjects:
            subject = editor.prepare(self.photo, request.face, request.force, changes_expression, self.faces)
            # The same crops, so that both are edited alike.
            scale = np.array(self.small.image.size) / self.photo.image.size
            crops = tuple(AlignedCrop(crop.image, _scaled(crop.matrix, scale)) for crop in subject.crops)
            self._subjects[key] = subject, Subject(self.small, crops, subject.warnings)
        return self._subjects[key]

    def _check_open(self) -> None:
        if self._is_closed:
            raise LeganError("this photo is not held any more: drop it again")

    def _write(self, data: bytes, ending: str) -> Path:
        path = self.folder / f"{secrets.token_hex(8)}{ending}"
        path.write_bytes(data)
        return path

    def _emptied(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def _scaled(matrix: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A map from photo pixels to crop pixels, for the photo at another size: `scale` (2,) is its share of width and height."""
    return np.concatenate([matrix[:, :2] / scale, matrix[:, 2:]], axis=1)


class Page:
    """What one open page holds: a photo, and the files of a batch.

    Args:
        folder: for its files; nobody can guess its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_closed = False
        self.visit: Visit | None = None
        self.batch: list[tuple[Path, str]] = []  # files, and what the visitor calls them

    def open(self, path: Path, name: str, max_megapixels: float) -> Visit:
        """Read a photo and find its faces; the photo before it is forgotten.

        Raises:
            ImageError, FaceError: as `read_photo` and `Visit`.
        """
        photo, checksum = read_photo(path, name, max_megapixels)
        former, self.visit = self.visit, Visit(photo, checksum, name, self.folder / secrets.token_hex(8))
        if former:
            former.close()
        return self.visit

    def add_to_batch(self, files: Sequence[Path], limit: int) -> int:
        """Take files over from the folder of uploads, `limit` in all; returns how many were too many."""
        folder = self.folder / "batch"
        folder.mkdir(parents=True, exist_ok=True)
        taken = files[: max(0, limit - len(self.batch))]
        for file in taken:
            place = folder / secrets.token_hex(8)
            os.link(file, place)  # not moved: another visitor may have given the same file, which stands there once
            self.batch.append((place, file.name))
        return len(files) - len(taken)

    def close(self) -> None:
        """Forget all of it and delete the files."""
        self.is_closed = True
        if self.visit:
            self.visit.close()
        self.batch = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Pages:
    """All open pages: at most `limit`, of which the one unused longest makes room.

    Args:
        folder: for their files.
        limit: number of pages that hold something.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, key: str) -> Page | None:
        """Return the page that the browser calls `key`; None where it holds nothing, or had to make room."""
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
            return self._pages.get(key)

    def opened(self, key: str) -> Page:
        """Return the page, an empty one where it holds nothing yet."""
        with self._lock:
            page = self._pages.pop(key, None) or Page(self.folder / secrets.token_urlsafe(16))
            self._pages[key] = page
            gone = [self._pages.popitem(last=False)[1] for _ in range(len(self._pages) - self.limit)]
        for one in gone:
            one.close()
        return page

    def close(self, key: str) -> None:
        """Close a page, if it is there."""
        with self._lock:
            page = self._pages.pop(key, None)
        if page:
            page.close()
