"""CMU Multi-PIE (Gross, Matthews, Cohn, Kanade and Baker, Image and Vision Computing 28(5), 2010), the set of the LEGAN paper.

Layout, as distributed: `session02/multiview/001/02/05_1/001_02_02_051_07.png`, that is session, person, recording, camera, and in the name
person, session, recording, camera, shot. Frontal is camera 05_1. Which recording of which session is which expression, and what the shots
are: Idiap's `bob.db.multipie` (`create.py`, `add_expressions`) and the documentation of `bob.bio.face` (leaderboard of Multi-PIE):

    session 1: neutral, smile            session 3: neutral, smile, disgust
    session 2: neutral, surprise, squint session 4: neutral, neutral, scream

Shot 00 has no flash, 01 to 13 the flashes of the cameras at head height from one profile to the other (07 is the frontal one), 14 to 18 the
raised ones; shot 19 has no flash again, and so the lighting class 00. Licensed by CMU. 337 people, 750,000 images of 15 cameras.
"""

import logging
import re
from collections import Counter
from pathlib import Path

from legan.core.errors import DataError
from legan.data.public.layout import NOTES, SourceImage, images_in, required

_LOG = logging.getLogger(NOTES)
FRONTAL = "05_1"
EXPRESSIONS = {
    ("01", "01"): "neutral", ("01", "02"): "smile",
    ("02", "01"): "neutral", ("02", "02"): "surprise", ("02", "03"): "squint",
    ("03", "01"): "neutral", ("03", "02"): "smile", ("03", "03"): "disgust",
    ("04", "01"): "neutral", ("04", "02"): "neutral", ("04", "03"): "scream",
}  # fmt: skip
SESSIONS = ("01", "02", "03", "04")
_N_SHOTS, _SECOND_WITHOUT_FLASH = 20, 19
_NAME = re.compile(r"(\d{3})_(\d{2})_(\d{2})_(\d{3})_(\d{2})")
_LAYOUT = "session<01..04>/multiview/<person>/<recording>/05_1/<person>_<session>_<recording>_051_<shot>.png"


def read_multipie(folder: Path) -> list[SourceImage]:
    """Return the images of the frontal camera, with expression and lighting; other cameras are left out, which a note says.

    A person has one name in all sessions, so that no split divides them.

    Raises:
        DataError: no images in this layout, a session that is missing, only other cameras, or a file whose name is not that of its folders
            or of no recording.
    """
    folder = Path(folder)
    images, others = [], Counter[str]()
    sessions = set()
    for path in images_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) < 6 or parts[-5] != "multiview" or not re.fullmatch(r"session\d\d", parts[-6]):
            continue  # high-resolution images and films lie beside `multiview`
        session, person, recording, camera = parts[-6].removeprefix("session"), *parts[-4:-1]
        sessions.add(session)
        if camera != FRONTAL:
            others[camera] += 1
            continue
        images.append(_image(path, session, person, recording))
    if sessions and not images:
        raise DataError(
            f"{folder} holds the cameras {', '.join(sorted(others))} and no image of the frontal one, {FRONTAL}: extract it too"
        )
    if missing := [session for session in SESSIONS if sessions and session not in sessions]:
        lost = sorted({name for (session, _), name in EXPRESSIONS.items() if session in missing} - {"neutral"})
        raise DataError(
            f"{folder} lacks session{', session'.join(missing)}, where {', '.join(lost)} come from: extract all four sessions there"
        )
    if others:
        _LOG.warning("%d images of other cameras than %s are left out", others.total(), FRONTAL)
    return required(images, folder, _LAYOUT)


def _image(path: Path, session: str, person: str, recording: str) -> SourceImage:
    found = _NAME.fullmatch(path.stem)
    if found is None or found.groups()[:4] != (person, session, recording, FRONTAL.replace("_", "")):
        raise DataError(f"{path} is not where its name says: files are {_LAYOUT}; extract it again")
    expression, shot = EXPRESSIONS.get((session, recording)), int(found[5])
    if expression is None:
        raise DataError(f"{path} is of recording {recording} of session {session}, which Multi-PIE has not: move it away")
    if shot >= _N_SHOTS:
        raise DataError(f"{path} is of shot {shot}: Multi-PIE has 00 to 19; move it away")
    lighting = f"{0 if shot == _SECOND_WITHOUT_FLASH else shot:02d}"
    return SourceImage(path, f"multipie{person}", "photo", f"photo/multi-pie/session{session}", expression, lighting=lighting)
