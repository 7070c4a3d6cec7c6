"""Pictures of ROC curves: one line a curve, or a mean line in a band where there are several of one kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from legan.core.files import atomic_write, check_ending, make_folder
from legan.metrics.match import Roc

_COLOURS = ("#23211d", "#a3480f", "#2d6a8f", "#6b8f2d", "#8f2d6b", "#777777")
_LEAST = 1e-4


def plot_rocs(curves: Mapping[str, Sequence[Roc]], path: Path, title: str = "", least: float = _LEAST) -> None:
    """Draw TAR over FAR, the latter on a logarithmic axis, as a PNG file.

    Args:
        curves: by name; several of one name, such as of several seeds, become their mean and a band of one standard deviation.
        path: the file.
        title: above it.
        least: smallest FAR shown.

    Raises:
        ConfigError: a name that does not end in .png.
        LeganError: the place cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_ending(path, ".png")
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    far = np.logspace(np.log10(least), 0, 200)
    for colour, (name, found) in zip(_COLOURS * len(curves), curves.items(), strict=False):
        tars = np.stack([tar_over(curve, far) for curve in found])
        mean, std = tars.mean(0), tars.std(0)
        axes.plot(far, mean, color=colour, label=name, linewidth=1.4)
        if len(tars) > 1:
            axes.fill_between(far, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", xlim=(least, 1), ylim=(0, 1.01), xlabel="FAR", ylabel="TAR", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    make_folder(Path(path).parent)
    with atomic_write(Path(path)) as file:
        FigureCanvasAgg(figure).print_png(file)


def tar_over(curve: Roc, far: np.ndarray) -> np.ndarray:
    """Largest TAR (n,) whose FAR is at most each of `far` (n,)."""
    return curve.tar[np.searchsorted(curve.far, far, side="right") - 1]
