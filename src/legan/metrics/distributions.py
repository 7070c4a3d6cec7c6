"""How far a set of images is from real ones, measured on features of both: Fréchet and kernel distance, precision and recall.

Features are (n, d) arrays, one row an image; where they come from, the caller says. FID: Heusel et al., "GANs trained by a two time-scale
update rule" (NeurIPS 2017). KID: Binkowski et al., "Demystifying MMD GANs" (ICLR 2018). Precision and recall: Kynkäänniemi et al.,
"Improved precision and recall metric for assessing generative models" (NeurIPS 2019). All in float64; the order of the images and
how they were batched do not matter.
"""

from collections.abc import Callable

import numpy as np

from legan.core.errors import DataError

N_NEIGHBOURS = 3  # of precision and recall, as in the paper
_BLOCK_ROWS = 1024  # rows of distances that are held at once

Distance = Callable[[np.ndarray, np.ndarray], float]


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the squared Fréchet distance of two Gaussians fitted to features: |m - m'|^2 + tr(S + S' - 2 (S S')^1/2); FID.

    The trace of the root is the sum of the singular values of A A'^T, where S = A^T A: unlike roots of eigenvalues of S S', it keeps
    its digits when there are fewer images than features.

    Args:
        real, fake: features (n, d) and (n', d), at least two images each.

    Raises:
        DataError: too few images, features of another number, or one that is not finite.
    """
    real, fake = _checked(real, fake, 2)
    a, b = _covariance_factor(real), _covariance_factor(fake)
    between_means = float(((real.mean(0) - fake.mean(0)) ** 2).sum())
    trace_root = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    return between_means + float((a**2).sum() + (b**2).sum()) - 2 * trace_root


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the squared maximum mean discrepancy under the kernel (x.y / d + 1)^3, without bias: KID.

    Over all images, where the paper averages random subsets: the same expectation, no randomness. May fall below 0.

    Args, Raises: as `frechet_distance`.
    """
    real, fake = _checked(real, fake, 2)
    n, m = len(real), len(fake)
    within_real = (_kernel_sum(real, real) - _kernel_diagonal(real)) / (n * (n - 1))
    within_fake = (_kernel_sum(fake, fake) - _kernel_diagonal(fake)) / (m * (m - 1))
    return within_real + within_fake - 2 * _kernel_sum(real, fake) / (n * m)


def precision(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the share of `fake` that lies among the real images: nearer to one than its third neighbour among them is.

    Args, Raises: as `frechet_distance`, but more images than neighbours are needed.
    """
    real, fake = _checked(real, fake, N_NEIGHBOURS + 1)
    radius = _neighbour_distance(real)
    inside = [np.any(_squared(part, real) <= radius, axis=1) for part in _blocks(fake)]
    return float(np.concatenate(inside).mean())


def recall(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the share of the real images that `fake` reaches: `precision` with the sets exchanged."""
    return precision(fake, real)


DISTANCES: dict[str, Distance] = {
    "fid": frechet_distance,
    "kid": kernel_distance,
    "precision": precision,
    "recall": recall,
}


def _checked(real: np.ndarray, fake: np.ndarray, n_least: int) -> tuple[np.ndarray, np.ndarray]:
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise DataError(f"features must be (n, d) with one d, not {real.shape} and {fake.shape}: use one network for both")
    n = min(len(real), len(fake))
    if n < n_least:
        raise DataError(f"{n} image{'' if n == 1 else 's'}: a distribution needs at least {n_least}, give more images")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise DataError("a feature is not a finite number: leave out images with NaN or infinite pixels")
    return real, fake


def _covariance_factor(features: np.ndarray) -> np.ndarray:
    """A (k, d) with A^T A the covariance of features (n, d), k the smaller of n and d."""
    centred = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(((part @ b.T / b.shape[1] + 1) ** 3).sum() for part in _blocks(a)))


def _kernel_diagonal(a: np.ndarray) -> float:
    return float((((a * a).sum(1) / a.shape[1] + 1) ** 3).sum())


def _neighbour_distance(features: np.ndarray) -> np.ndarray:
    """Squared distance (n,) of each row to its nearest neighbour but two, itself not counted."""
    kth = [np.partition(_squared(part, features), N_NEIGHBOURS, axis=1)[:, N_NEIGHBOURS] for part in _blocks(features)]
    return np.concatenate(kth)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)


def _blocks(a: np.ndarray) -> list[np.ndarray]:
    return [a[start : start + _BLOCK_ROWS] for start in range(0, len(a), _BLOCK_ROWS)]
