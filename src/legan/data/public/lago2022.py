"""Human realism ratings of photos and GAN faces: Lago et al., "More Real Than Real", IEEE Signal Processing Magazine 39(1), 2022.

Layout: `ratings.csv` (rater, image, likert, milliseconds, order; likert 1 = real .. 7 = synthetic, -1 = slider untouched),
`images.csv` (image, source), `excluded_raters.txt`, `images/`. The authors state no licence: for measuring only, not for packaging.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from legan.core.errors import DataError
from legan.core.table import read_csv_table
from legan.data.ratings import Cleaned, Rules, clean

if TYPE_CHECKING:
    import pandas as pd


# People's order, most natural first (the paper's finding).
HUMAN_ORDER = ("StyleGAN2", "photo", "StyleGAN", "PGGAN")


def read_lago2022(folder: Path) -> Cleaned:
    """Return the ratings on our scale, without missing answers and the raters whom the authors exclude.

    `(7 - likert) / 6 * 10` maps 1 (real) to 10 and 7 (synthetic) to 0. The authors' exclusions stand for our own rules.

    Raises:
        DataError: a file is missing, or an answer outside 1..7.
    """
    import pandas as pd

    folder = Path(folder)
    table = read_csv_table(_file(folder, "ratings.csv"))
    names = {name: table.texts(name) for name in ("rater", "image")}
    frame = pd.DataFrame({**names, **{name: table.numbers(name) for name in ("likert", "milliseconds", "order")}})
    likert = frame["likert"].where(frame["likert"] != -1)
    if not likert.dropna().between(1, 7).all():
        raise DataError(f"{folder / 'ratings.csv'} has answers outside 1..7: give the authors' file")
    ratings = pd.DataFrame(
        {
            "rater": frame["rater"],
            "image": frame["image"],
            "rating": (7 - likert) / 6 * 10,
            "seconds": frame["milliseconds"] / 1000,
            "order": frame["order"],
        }
    )
    excluded = tuple(_file(folder, "excluded_raters.txt").read_text(encoding="utf-8").split())
    return clean(ratings, Rules(min_seconds=0, max_fast_share=1, n_constant=len(frame) + 1, excluded_raters=excluded))


def read_generators(folder: Path) -> "pd.Series":
    """Return what made each image: `photo`, `PGGAN`, `StyleGAN` or `StyleGAN2`, by image name.

    Raises:
        DataError: the file is missing.
    """
    import pandas as pd

    table = read_csv_table(_file(Path(folder), "images.csv"))
    return pd.Series(table.texts("source"), table.texts("image"), name="source")


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path} does not exist: name the folder of the lago2022 data")
    return path
