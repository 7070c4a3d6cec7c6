"""Features of templates, sets of images of one person, as IJB-B and IJB-C ask for (Whitelam et al., CVPR Workshops 2017).

Images of one medium (a video) are averaged first, then the media of a template, so that a long video weighs as much as a photo.
"""

from typing import NamedTuple

import numpy as np

from legan.core.errors import DataError


class Templates(NamedTuple):
    """`ids` (t,), rising, and the unit features (t, d) of the templates."""

    ids: np.ndarray
    features: np.ndarray

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Rows of templates by their ids.

        Raises:
            DataError: a template that has no images; the message names it.
        """
        at = np.searchsorted(self.ids, ids).clip(0, len(self.ids) - 1)
        if (self.ids[at] != ids).any():
            raise DataError(f"template {np.asarray(ids)[self.ids[at] != ids][0]} is in the list of pairs and has no images")
        return at


def template_features(features: np.ndarray, template: np.ndarray, medium: np.ndarray) -> Templates:
    """Average unit features of images to unit features of templates.

    Args:
        features: (n, d), one row an image.
        template, medium: (n,) whole numbers; a medium belongs to the template that it is named with.

    Raises:
        DataError: lists of different lengths, or features that cancel out.
    """
    if not len(features) == len(template) == len(medium) or not len(features):
        raise DataError(f"{len(features)} features, {len(template)} templates and {len(medium)} media: give one each an image")
    order = np.lexsort((medium, template))
    rows, template, medium = np.asarray(features, np.float64)[order], np.asarray(template)[order], np.asarray(medium)[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(template) != 0) | (np.diff(medium) != 0)])
    media = np.add.reduceat(rows, starts) / np.diff(np.r_[starts, len(rows)])[:, None]
    firsts = np.flatnonzero(np.r_[True, np.diff(template[starts]) != 0])
    means = np.add.reduceat(media, firsts) / np.diff(np.r_[firsts, len(media)])[:, None]
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise DataError("the features of a template cancel out: leave that template out")
    return Templates(template[starts][firsts], (means / lengths).astype(np.float32))
