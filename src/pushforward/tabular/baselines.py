"""Three classical density estimators as baselines for a flow: Gaussian, Gaussian mixture, kernel density.

Each standardises the columns by mean and standard deviation of the training rows in float64, and is fitted to the
result. Scores are in the units of the data: log p(x) = log p(s) - sum_j log scale_j for standardised s. The number of
components and the bandwidth are chosen on the validation rows; the test rows are scored once.

With contexts c the density of x given c is log p(c, s) - log p(c), both of the same estimator; choices maximise it.

If columns are rounded, `points` consecutive rows of `test` are points in the bin of one test row. Its score is the
logarithm of their mean density, as for `Discretised`.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pushforward.core.named_rows import to_array
from pushforward.errors import DataError, MissingExtra, ShapeError
from pushforward.tabular.leaderboard import LeaderboardRow

_LOG_TWO_PI = math.log(2 * math.pi)
_BLOCK_ELEMENTS = 2**20  # distances computed at a time, 8 MB: they fit in the cache
_TUNING_ROWS = 2_000
_LEAST_RESIDUAL = 1e-6  # standard deviation of a standardised column's part that other columns do not explain
COMPONENTS = (1, 2, 3, 5, 7, 10, 15, 20, 40, 80)


Contexts = Sequence[np.ndarray] | None


def gaussian(
    train: np.ndarray, validation: np.ndarray, test: np.ndarray, *, contexts: Contexts = None, points: int = 1
) -> LeaderboardRow:
    """A normal distribution with full covariance, by maximum likelihood on the train rows.

    Args:
        train, validation, test: real arrays (n, d) without NaN; `validation` is checked, but not used.
        contexts: of the three, each (n, c), or None. The mean is then linear in them.
        points: number of consecutive rows of `test` in one bin.

    Cost: O(n d^2 + d^3).

    Raises:
        ShapeError, DataError: see `gaussian_mixture`.

    >>> rows = np.array([[-1.0], [1.0]])
    >>> round(gaussian(rows, rows, rows).test_log_likelihood, 4), round(-(1 + math.log(2 * math.pi)) / 2, 4)
    (-1.4189, -1.4189)
    """
    parts, log_volume, n_context = _standardised((train, validation, test), contexts)

    def fit() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        covariance = parts[0].T @ parts[0] / len(parts[0])
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as fault:
            raise DataError(
                "a column is a linear combination of others (the covariance is singular): leave one out.", "train"
            ) from fault
        # the contexts come first, so the later rows of the factor are those of the conditional distribution
        constant = np.log(np.diag(factor)[n_context:]).sum() + (len(factor) - n_context) / 2 * _LOG_TWO_PI
        whiten = np.linalg.inv(factor)[n_context:].T
        setting = "full covariance" if contexts is None else "linear in the context"
        return setting, lambda x: -0.5 * ((x @ whiten) ** 2).sum(axis=1) - constant

    return _evaluate("Gaussian", fit, parts[2], log_volume, points)


def gaussian_mixture(
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    *,
    contexts: Contexts = None,
    points: int = 1,
    components: Sequence[int] = COMPONENTS,
    max_iter: int = 100,
    seed: int = 0,
) -> LeaderboardRow:
    """A mixture of normals with full covariances by scikit-learn; validation chooses the number of components.

    Args:
        train, validation, test: real arrays (n, d) without NaN.
        contexts: of the three, each (n, c), or None.
        points: number of consecutive rows of `test` in one bin.
        components: numbers of components to try in increasing order, up to the number of training rows, until one
            scores worse on the validation rows than the one before.
        max_iter: most steps of expectation-maximisation for each number.
        seed: of the initialisation.

    Cost: O(n K d^2) per step, for every size K.

    Raises:
        ShapeError: the three arrays are not 2-D of one width.
        DataError: an array has no rows or non-finite values, or a train column is constant.
        MissingExtra: scikit-learn is not installed.
    """
    parts, log_volume, n_context = _standardised((train, validation, test), contexts)

    def fit() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        best, tried = best_mixture(*parts[:2], components=components, seed=seed, max_iter=max_iter, n_context=n_context)
        stopped = "" if best.converged_ else f", stopped after {max_iter} steps"
        setting = f"{best.n_components} components, of {', '.join(map(str, tried))} tried{stopped}"
        return setting, lambda x: _mixture_scores(best, x, n_context)

    return _evaluate("Gaussian mixture", fit, parts[2], log_volume, points)


def best_mixture(
    train: np.ndarray, validation: np.ndarray, *, components: Sequence[int] = COMPONENTS, seed: int = 0,
    max_iter: int = 100, n_context: int = 0,
) -> tuple[Any, list[int]]:  # fmt: skip
    """scikit-learn's mixture with the number of components that is best on the validation rows, and the numbers tried.

    Args, Cost, Raises: as for `gaussian_mixture`, for standardised rows whose first `n_context` columns are contexts.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits
    except ImportError as fault:
        raise MissingExtra("scikit-learn", "tables", "The Gaussian mixture") from fault
    sizes = sorted(size for size in components if 1 <= size <= len(train))
    if not sizes:
        raise DataError(f"none of {tuple(components)} is between 1 and the {len(train)} train rows.", "components")
    tried: list[tuple[float, GaussianMixture]] = []
    for size in sizes:
        mixture = GaussianMixture(size, max_iter=max_iter, random_state=seed, reg_covar=1e-6)
        # One thread: the matrices are small, and on a busy machine several threads take ten times as long.
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # see `converged_`
            mixture.fit(train)
        tried.append((float(_mixture_scores(mixture, validation, n_context).mean()), mixture))
        if len(tried) > 1 and tried[-1][0] <= tried[-2][0]:
            break
    return max(tried, key=lambda pair: pair[0])[1], sizes[: len(tried)]


def _mixture_scores(mixture: Any, x: np.ndarray, n_context: int) -> np.ndarray:
    """Log-density of the columns after the first `n_context`, given these."""
    joint = mixture.score_samples(x)
    if not n_context:
        return joint
    terms = []
    for weight, mean, covariance in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True):
        factor = np.linalg.cholesky(covariance[:n_context, :n_context])
        white = np.linalg.solve(factor, (x[:, :n_context] - mean[:n_context]).T)
        constant = np.log(np.diag(factor)).sum() + n_context / 2 * _LOG_TWO_PI
        terms.append(math.log(max(weight, 1e-300)) - 0.5 * (white**2).sum(axis=0) - constant)
    return joint - np.logaddexp.reduce(terms)


def kernel_density(
    train: np.ndarray, validation: np.ndarray, test: np.ndarray, *, contexts: Contexts = None, points: int = 1
) -> LeaderboardRow:
    """A normal kernel on every train row, one bandwidth for all standardised columns, chosen on the validation rows.

    p(s) = 1/n sum_i N(s; s_i, h^2 I). The bandwidth is the best of h = 2, 2^(1/2), 1, ..., 2^-7, refined by steps of
    2^(1/8) about the best, on the first 2,000 validation rows. All pairs are summed exactly, in blocks: in six
    dimensions scikit-learn's tree search takes eight times as long, and is less accurate in the tails.

    Args:
        train, validation, test: real arrays (n, d) without NaN.
        contexts: of the three, each (n, c), or None.
        points: number of consecutive rows of `test` in one bin.

    Cost: O(n m d) for m scored rows; memory is bounded.

    Raises:
        ShapeError, DataError: see `gaussian_mixture`.

    Reference: Silverman (1986), "Density estimation for statistics and data analysis", sections 3.4 and 4.3.
    """
    parts, log_volume, n_context = _standardised((train, validation, test), contexts)
    centres, tuning = parts[0], parts[1][:_TUNING_ROWS]

    def scores(x: np.ndarray, widths: np.ndarray, halving: bool = False) -> np.ndarray:
        joint = _kernel_scores(centres, x, widths, halving)
        return joint - _kernel_scores(centres[:, :n_context], x[:, :n_context], widths, halving) if n_context else joint

    def fit() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        coarse = 2.0 ** np.arange(1.0, -7.5, -0.5)
        middle = coarse[scores(tuning, coarse, halving=True).mean(axis=1).argmax()]
        fine = middle * 2.0 ** (np.arange(-3, 4) / 8)
        width = float(fine[scores(tuning, fine).mean(axis=1).argmax()])
        setting = f"bandwidth {width:.3g} standard deviations"
        return setting, lambda x: scores(x, np.array([width]))[0]

    return _evaluate("Kernel density", fit, parts[2], log_volume, points)


def _kernel_scores(centres: np.ndarray, x: np.ndarray, widths: np.ndarray, halving: bool = False) -> np.ndarray:
    """Log-density (len(widths), len(x)) of kernels on `centres`; with `halving` each h^2 is half the one before."""
    count, dim = centres.shape
    norms = (centres**2).sum(axis=1)
    rows = max(1, _BLOCK_ELEMENTS // count)
    scores = np.empty((len(widths), len(x)))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        # |x - c|^2 without |x|^2, which the exact distance of the nearest centre restores
        distance = norms - 2 * (block @ centres.T)
        nearest = distance.argmin(axis=1)
        distance -= distance[np.arange(len(block)), nearest][:, None]
        closest = ((block - centres[nearest]) ** 2).sum(axis=1)
        kernel = np.empty_like(distance)
        for index, width in enumerate(widths):
            if halving and index:
                np.multiply(kernel, kernel, out=kernel)  # exp(-2 a) = exp(-a)^2
            else:
                np.exp(np.multiply(distance, -0.5 / width**2, out=kernel), out=kernel)
            total = np.log(kernel.sum(axis=1)) - closest / (2 * width**2)
            scores[index, start : start + rows] = total - math.log(count) - dim * (math.log(width) + _LOG_TWO_PI / 2)
    return scores


def _standardised(parts: Sequence[np.ndarray], contexts: Contexts) -> tuple[list[np.ndarray], float, int]:
    """The three parts standardised by the moments of the first, after their contexts; sum_j log scale_j; n_context.

    Context columns that are constant or depend linearly on others are left out.
    """
    arrays = [np.asarray(to_array(part), np.float64) for part in parts]
    for name, array in zip(("train", "validation", "test"), arrays, strict=True):
        if array.ndim != 2 or array.shape[1] != arrays[0].shape[-1]:
            raise ShapeError(f"{name} must have shape (n, d), one d for all parts, got {array.shape}: reshape it.")
        if not array.size:
            raise DataError(f"{name} has shape {array.shape}, expected at least one row and column: pass more rows.")
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinities: drop those rows.")
    centre = arrays[0].mean(axis=0)
    centred = [array - centre for array in arrays]
    scale = np.sqrt((centred[0] ** 2).mean(axis=0))
    for column in np.flatnonzero(np.ptp(arrays[0], axis=0) == 0):
        raise DataError(f"column {column} is {arrays[0][0, column]} in every row: leave it out.", "train")
    rows, n_context = [array / scale for array in centred], 0
    if contexts is not None:
        context_arrays = [np.asarray(to_array(context), np.float64) for context in contexts]
        for name, array, context in zip(("train", "validation", "test"), arrays, context_arrays, strict=True):
            if context.ndim != 2 or len(context) != len(array):
                raise ShapeError(f"contexts: expected {len(array)} rows (n, c) for {name}, got {context.shape}.")
        first = context_arrays[0]
        mean, deviation = first.mean(axis=0), np.where(np.ptp(first, axis=0) > 0, first.std(axis=0), 1.0)
        context_arrays = [(context - mean) / deviation for context in context_arrays]
        indices = _independent(context_arrays[0])
        rows = [np.hstack([c[:, indices], row]) for c, row in zip(context_arrays, rows, strict=True)]
        n_context = len(indices)
    return rows, float(np.log(scale).sum()), n_context


def _independent(columns: np.ndarray) -> list[int]:
    """Indices of columns that do not depend linearly on earlier ones, as the last of one-hot contexts does."""
    indices: list[int] = []
    for index, column in enumerate(columns.T):
        before = columns[:, indices]
        residual = column - before @ np.linalg.lstsq(before, column, rcond=None)[0] if indices else column
        if residual.std() > _LEAST_RESIDUAL:
            indices.append(index)
    return indices


def mean_density(scores: np.ndarray) -> np.ndarray:
    """Log mean density (n,) of each bin, from the log-densities (n, K) of its points."""
    return np.logaddexp.reduce(scores, axis=1) - math.log(scores.shape[1])


def _evaluate(
    name: str,
    fit: Callable[[], tuple[str, Callable[[np.ndarray], np.ndarray]]],
    test: np.ndarray,
    log_volume: float,
    points: int,
) -> LeaderboardRow:
    start = time.perf_counter()
    setting, score = fit()
    fit_end = time.perf_counter()
    scores = mean_density(score(test).reshape(-1, points)) - log_volume
    score_end = time.perf_counter()
    error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.inf
    return LeaderboardRow(
        name, setting, float(scores.mean()), error, fit_end - start, score_end - fit_end, scores=scores
    )
