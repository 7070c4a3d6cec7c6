"""Draws the figures on held-out people against images seen, one panel a figure, one line a model, from `curves.csv` of train.py.

python experiments/comparison/curves.py RUNS -o curves.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws to files, needs no screen
import matplotlib.pyplot as plt
import pandas as pd


def draw(curves: pd.DataFrame, out: Path) -> None:
    """Write the panels; what doing nothing gives is a dashed line."""
    figures = sorted(name for name in curves["figure"].unique() if "/copy_" not in name)
    fig, axes = plt.subplots(1, len(figures), figsize=(5 * len(figures), 4), squeeze=False)
    for axis, figure in zip(axes[0], figures, strict=True):
        for model, rows in curves[curves["figure"] == figure].groupby("model", sort=False):
            axis.plot(rows["images"], rows["value"], marker=".", label=model)
        folder, _, name = figure.rpartition("/")
        nothing = curves.loc[curves["figure"] == f"{folder}/copy_{name}", "value"]
        axis.axhline(nothing.mean(), color="grey", linestyle="--", label="doing nothing")
        axis.set(title=figure, xlabel="images seen", ylabel="L1, range 0 to 2")
        axis.legend(fontsize="small")
    fig.tight_layout()
    fig.savefig(out, dpi=120)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("curves.png"))
    words = parser.parse_args()
    draw(pd.read_csv(words.runs / "curves.csv"), words.out)


if __name__ == "__main__":
    main()
