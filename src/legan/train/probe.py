"""Sample grids of a training: fixed faces, edited again and again; distances from the truth, and at the mouth."""

from collections.abc import Callable
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES, Classes
from legan.core.geometry import MOUTH_Y
from legan.core.images import from_network, to_network
from legan.data.batches import codes
from legan.data.faces import FaceDataset

# Soft windows on an aligned crop. Half widths are standard deviations (x, y) in fractions of the side; the mouth's reaches to where an
# open mouth's lip goes.
MOUTH_SIGMA = (0.12, 0.08)
MOUTH_DROP = 0.02


def mouth_window(size: int) -> Tensor:
    """Return the mouth's window (size, size), 1 in its middle."""
    return window(size, (0.5, MOUTH_Y + MOUTH_DROP), MOUTH_SIGMA)


def window(size: int, centre: tuple[float, float], sigma: tuple[float, float]) -> Tensor:
    """Return a Gaussian window (size, size) with peak 1; centre and standard deviations are (x, y) in fractions of the side."""
    places = (torch.arange(size) + 0.5) / size
    x = torch.exp(-0.5 * ((places - centre[0]) / sigma[0]) ** 2)
    y = torch.exp(-0.5 * ((places - centre[1]) / sigma[1]) ** 2)
    return y[:, None] * x[None, :]


# Held-out faces that a training is watched on: an image of fixed samples, and distances from the truth.


# Columns of the image: all expressions in frontal light, then the neutral face and two others under flashes from the sides.
TARGETS = (
    *((name, "07") for name in EXPRESSIONS),
    *(("neutral", name) for name in ("01", "04", "10", "13")),
    ("smile", "03"),
    ("surprise", "12"),
)
# For an editor that keeps what is not named (None): each attribute alone.
TARGETS_KEEPING = (
    *((name, None) for name in EXPRESSIONS),
    *((None, name) for name in ("01", "04", "07", "10", "13", "16")),
    ("smile", "03"),
)
Edit = Callable[[Tensor, Tensor, Tensor], Tensor]  # crops, expression codes, lighting codes -> edited crops in [-1, 1]


Targets = tuple[tuple[str | None, str | None], ...]


def targets_of(classes: Classes) -> Targets:
    """Columns of the image for these classes: of other ones than the six and the twenty each expression, then each lighting, 13 at most."""
    if classes.is_standard:
        return TARGETS
    expressions, lightings = classes.expressions, classes.lighting_names
    return (*((name, lightings[0]) for name in expressions), *((expressions[0], name) for name in lightings[1:]))[
        : len(TARGETS)
    ]


class Probe:
    """Fixed choices from a held-out data set.

    Args:
        dataset: held-out faces.
        n_faces: faces in the image.
        n_pairs: edits with a truth, in each folder, that the figures are means over.
        batch_size: images edited at once.
        keeps: whether the editor keeps an attribute whose code is zero.
    """

    def __init__(
        self, dataset: FaceDataset, n_faces: int = 5, n_pairs: int = 96, batch_size: int = 16, keeps: bool = False
    ) -> None:
        self.dataset, self.batch_size = dataset, batch_size
        self.targets = TARGETS_KEEPING if keeps else targets_of(dataset.classes)
        self.faces = _spread_faces(dataset, n_faces)
        self.pairs = [_draw_pairs(dataset, index, n_pairs) for index in range(len(dataset.folders))]

    def image(self, edit: Edit) -> np.ndarray:
        """Return rows of input and edits, each above the row of the truths where the data holds them; uint8 (H, W, 3)."""
        data, rows, classes = self.dataset, [], self.dataset.classes
        expression = np.array([-1 if name is None else classes.expressions.index(name) for name, _ in self.targets])
        lighting = np.array([-1 if name is None else classes.lighting_names.index(name) for _, name in self.targets])
        for face in self.faces:
            source = data.images(np.array([face]))
            edits = self._edited(edit, np.full(len(self.targets), face), expression, lighting)
            rows.append(np.concatenate([source, from_network(edits)]))
            wanted = (
                np.where(target < 0, of[face], target)
                for target, of in ((expression, data.expression), (lighting, data.lighting))
            )
            truth = data.truth[(data.take[face], *wanted)]
            truth = np.where((lighting < 0) & (data.lighting[face] < 0), -1, truth)  # under its own light there is none
            if data.has_pair[face] and (truth >= 0).any():
                images = data.images(np.maximum(truth, 0))
                images[truth < 0] = 0  # black: the data holds none
                rows.append(np.concatenate([source, images]))
        return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])

    def figures(self, edit: Edit) -> dict[str, float]:
        """Return, for each folder with truths, the L1 distance (range 0..2) of the edits from them.

        `l1` is over the crop, `mouth_l1` around the mouth, `copy_l1` and `copy_mouth_l1` what doing nothing would give.
        """
        data, figures = self.dataset, {}
        for folder, pairs in zip(data.folders, self.pairs, strict=True):
            if not len(pairs):
                continue
            source, expression, lighting, truth = pairs.T
            x_true, x_real = to_network(data.images(truth)), to_network(data.images(source))
            x_fake = self._edited(edit, source, expression, lighting)
            mouth = mouth_window(data.size)
            for name, image in (("", x_fake), ("copy_", x_real)):
                error = (image - x_true).abs()
                figures[f"val/{folder.name}/{name}l1"] = float(error.mean())
                figures[f"val/{folder.name}/{name}mouth_l1"] = float((error * mouth).mean() / mouth.mean())
        return figures

    def _edited(self, edit: Edit, source: np.ndarray, expression: np.ndarray, lighting: np.ndarray) -> Tensor:
        done = []
        for start in range(0, len(source), self.batch_size):
            part = slice(start, start + self.batch_size)
            x, classes = to_network(self.dataset.images(source[part])), self.dataset.classes
            both = codes(expression[part], len(classes.expressions)), codes(lighting[part], len(classes.lightings))
            done.append(edit(x, *both))
        return torch.cat(done)


def _spread_faces(dataset: FaceDataset, n_faces: int) -> list[int]:
    """Image indices of different people, the folders in turn; neutral in frontal light or room light where there is one.

    Of other classes than the six and the twenty, those of the first expression and the first lighting.
    """
    plain = [0, LIGHTING_NAMES.index("07")] if dataset.classes.is_standard else [0]
    wanted = (dataset.expression != 0) * 2 + ~np.isin(dataset.lighting, plain)
    best = [min(np.flatnonzero(dataset.identity == i).tolist(), key=lambda j: wanted[j]) for i in range(dataset.n_identities)]
    by_folder = [[face for face in best if dataset.folder[face] == index] for index in range(len(dataset.folders))]
    in_turn = [face for faces in zip_longest(*by_folder) for face in faces if face is not None]
    return in_turn[:n_faces]


def _draw_pairs(dataset: FaceDataset, folder: int, n_pairs: int) -> np.ndarray:
    """Return (n, 4): source image, target expression, target lighting, true image; fewer where the folder has no truths."""
    rng = np.random.default_rng(0)
    sources = np.flatnonzero((dataset.folder == folder) & dataset.has_pair)
    pairs = []
    for source in rng.permutation(np.resize(sources, max(n_pairs, len(sources)))) if len(sources) else ():
        truths = dataset.truth[dataset.take[source]]
        known = np.argwhere(truths >= 0)
        if len(known):
            expression, lighting = known[rng.integers(len(known))]
            pairs.append((source, expression, lighting, truths[expression, lighting]))
        if len(pairs) == n_pairs:
            break
    return np.array(pairs, np.int64).reshape(-1, 4)
