"""Radboud Faces Database (Langner et al., Cognition and Emotion 24(8), 2010), a set of the StarGAN paper. For research, on request.

Layout: `Rafd090_01_Caucasian_female_angry_frontal.jpg`, that is camera (090 is frontal; 000, 045, 135, 180), model (67 numbers from 01 to
73), Caucasian, Moroccan or Kid, female or male, one of eight expressions, gaze (frontal, left, right); folders do not matter.
"""

import logging
import re
from pathlib import Path

from legan.core.errors import DataError
from legan.data.public.layout import NOTES, SourceImage, images_in, required

_LOG = logging.getLogger(NOTES)
FRONTAL = "090"
# RaFD's words -> those that AffectNet has too.
EXPRESSIONS = {
    "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear",
    "happy": "happy", "neutral": "neutral", "sad": "sad", "surprised": "surprise",
}  # fmt: skip
_NAME = re.compile(r"Rafd(000|045|090|135|180)_(\d{2})_(Caucasian|Moroccan|Kid)_(female|male)_([a-z]+)_(frontal|left|right)")
_LAYOUT = "Rafd090_<model>_<Caucasian, Moroccan or Kid>_<female or male>_<expression>_<gaze>.jpg"


def read_rafd(folder: Path) -> list[SourceImage]:
    """Return the images of the frontal camera with their expressions, all gazes; other cameras are left out, which a note says.

    Raises:
        DataError: no images, only other cameras, or a file of another name.
    """
    folder, images, n_others = Path(folder), [], 0
    for path in images_in(folder):
        found = _NAME.fullmatch(path.stem)
        if found is None or found[5] not in EXPRESSIONS:
            raise DataError(f"{path} is not named as RaFD names its files, {_LAYOUT}: move it away")
        camera, model, _, _, expression, gaze = found.groups()
        if camera != FRONTAL:
            n_others += 1
            continue
        images.append(SourceImage(path, f"rafd{model}", "photo", f"photo/rafd/{gaze}", EXPRESSIONS[expression]))
    if n_others and not images:
        raise DataError(f"{folder} holds no image of RaFD's frontal camera, {FRONTAL}: add the files Rafd{FRONTAL}_*.jpg")
    if n_others:
        _LOG.warning("%d images of other cameras than %s are left out", n_others, FRONTAL)
    return required(images, folder, _LAYOUT)
