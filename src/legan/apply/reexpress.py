"""Re-express a folder of photos: a face at rest makes five expressions, any other one comes to rest, each in all lightings.

The photos should be frontal and evenly lit. What is not, or has no good fit, is dropped with its reason.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from legan.apply.photo_list import PhotoEntry, list_photos
from legan.apply.photo_set import MadeCrop, Maker, Progress, SetReport, make_set
from legan.apply.relight import cut_window, find_face, reasons, seed_of
from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.core.crop import CROP_SIZE
from legan.core.files import sha256_of
from legan.core.manifest import EVEN_LIGHT
from legan.core.weights import packaged
from legan.synthesis.fine_fit import check_at_rest, check_fine_fit
from legan.synthesis.fit import HeadFitter
from legan.synthesis.head import Head
from legan.synthesis.photo_checks import check_fit, confidence, eye_distance
from legan.synthesis.reexpress import Reexpressed, Reexpresser, Subject, new_actions
from legan.synthesis.relight import Relighter

REEXPRESS_VERSION = 1  # raised when the pictures change, so that a resumed folder never mixes two looks
_DOMAIN = "reexpressed"
# How far the look of an expression can be trusted: the more opens and folds, the less of it is the photo's own.
_TRUST = {"neutral": 0.8, "squint": 0.95, "smile": 0.85, "disgust": 0.85, "surprise": 0.8, "scream": 0.7}


def reexpress_folder(
    photos: Path,
    out: Path,
    identity_from_name: str | None = None,
    manifest: Path | None = None,
    n_workers: int = 1,
    source: str | None = None,
    licence: str | None = None,
    even_only: bool = False,
    progress: Progress | None = None,
) -> SetReport:
    """Re-express the photos of a folder into a data set folder; run again, it continues.

    Args:
        even_only: only under the photo's own light, not under the twenty lightings.

    Other arguments and errors as for `photo_list.list_photos` and `photo_set.make_set`.
    """
    entries = list_photos(photos, identity_from_name, manifest, source, licence)
    settings = {
        "made by": "reexpress",
        "version": REEXPRESS_VERSION,
        "size": CROP_SIZE,
        "lightings": EVEN_LIGHT if even_only else "all",
        "landmarks": sha256_of(packaged("landmarks")),
    }
    return make_set(out, entries, settings, partial(build_reexpress, even_only), n_workers, progress)


def build_reexpress(even_only: bool) -> Maker:
    """A worker's maker; loading the head model takes seconds."""
    import torch

    torch.set_num_threads(1)
    return PhotoReexpresser(Head(), even_only).make


class PhotoReexpresser:
    """From photo files to crops of other expressions, with one head model."""

    def __init__(self, head: Head, even_only: bool = False) -> None:
        self.fitter = HeadFitter(head, size=CROP_SIZE)
        self.reexpresser = Reexpresser(head, self.fitter.places)
        self.relighter = Relighter(head)
        self.even_only = even_only

    def make(self, photo: PhotoEntry, wanted: Sequence[str] | None = None) -> dict[str, MadeCrop]:
        """Crops of one photo by names such as `smile_07` and `smile_even`; of the expressions `wanted`, or of all it can be given.

        Raises:
            DroppedPhotoError: with the reason.
        """
        with reasons():
            pixels, landmarks = find_face(photo)
            fit = self.fitter.fit(landmarks, photo.expression if photo.expression_known else None)
            inside = cut_window(pixels, *self.relighter.window(fit))[1]
            check_fit(fit, inside)
            if not photo.expression_known:
                check_at_rest(fit)
            check_fine_fit(fit, self.reexpresser.head, self.reexpresser.places)
            window, _ = cut_window(pixels, *self.reexpresser.window(fit))
            subject = self.reexpresser.prepare(window, fit, photo.expression)
            trust = float(confidence(fit, eye_distance(landmarks), 0.0).max())
            crops: dict[str, MadeCrop] = {}
            for target in targets(photo.expression) if wanted is None else wanted:
                result = self.reexpresser.make(subject, target, seed_of(photo), self.actions(subject, target, seed_of(photo)))
                made = self._light(result, inside, seed_of(photo))
                for lighting, (image, sure, matte) in made.items():
                    crops[f"{target}_{lighting}"] = MadeCrop(
                        image=image,
                        expression=target,
                        lighting=lighting,
                        domain=_DOMAIN,
                        confidence=min(sure, trust) * _TRUST[target],
                        alignment=fit.matrix.ravel().tolist(),  # the photo's: it tells that all this is one take
                        landmarks=[round(float(value), 3) for value in result.fit.landmarks.ravel()],
                        matte=matte,
                    )
            return crops

    def actions(self, subject: Subject, target: str, seed: int) -> dict[str, float]:
        """Facial actions of a photo's face when it makes `target`."""
        return new_actions(subject.fit, subject.expression, target, seed)

    def _light(
        self, result: Reexpressed, inside: np.ndarray, seed: int
    ) -> dict[str, tuple[np.ndarray, float, np.ndarray | None]]:
        """Crops, their confidence and their matte by lighting; the photo's own light comes last."""
        window, _ = cut_window(result.window, *self.relighter.window(result.fit))
        if self.even_only:
            return {EVEN_LIGHT: (self.relighter.crop(window), 1.0, None)}
        relit = self.relighter.relight(window, inside, result.fit, seed)
        crops: dict[str, tuple[np.ndarray, float, np.ndarray | None]] = {
            name: (image, float(sure), relit.matte)
            for name, image, sure in zip(LIGHTING_NAMES, relit.images, relit.confidence, strict=True)
        }
        return crops | {EVEN_LIGHT: (relit.original, float(relit.confidence.max()), relit.matte)}


def targets(expression: str) -> tuple[str, ...]:
    """The expressions that a photo of this one is given: a face at rest all others, any other one rest."""
    return tuple(name for name in EXPRESSIONS if name != "neutral") if expression == "neutral" else ("neutral",)
