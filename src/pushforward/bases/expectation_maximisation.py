"""Mixtures of normals with full covariances by expectation-maximisation and the BIC, in NumPy float64."""

import dataclasses
import math

import numpy as np

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
_ITERATIONS = 100
_TOLERANCE = 1e-4  # gain of the mean log-likelihood below which the iteration stops
_N_STARTS, _SHORT = 5, 15  # short runs from k-means, and their iterations
_FEW_ROWS, _N_STARTS_OF_MANY = 2_000, 2
_N_KMEANS_ITERATIONS = 10
_SINGULAR = 2e-7  # standard deviation below which a component is degenerate: its width is that of _MIN_SCALE
_MIN_SCALE = 1e-7  # smallest standard deviation of a component, in standard deviations of a column
_LOG_TWO_PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class NormalMixture:
    """Mixture of normals: density sum_k w_k N(x; m_k, C_k).

    Attributes:
        weights: (K,), summing to one.
        means: (K, D).
        covariances: (K, D, D), with a minimum variance added to the diagonals.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-densities (n,) of rows x (n, D)."""
        return np.logaddexp.reduce(_log_joint(self, x), axis=0)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: weights, means, covariances."""
        size, dim = self.means.shape
        return size - 1 + size * dim + size * dim * (dim + 1) // 2


def fit_normal_mixture(
    x: np.ndarray, weights: np.ndarray | None = None, *, sizes: tuple[int, ...] = SIZES, seed: int = 0,
    replicates: int = 1, floor: np.ndarray | None = None,
) -> NormalMixture:  # fmt: skip
    """Fit mixtures of normals by expectation-maximisation and return the one with the smallest BIC.

    BIC = -2 sum_i log p(x_i) + P log n with P free parameters. Sizes are tried in increasing order until two in
    sequence have a larger BIC than the best so far. Each component must have ten rows or more, and two rows per column.
    Mixtures with a degenerate component, as equal rows cause, are discarded.

    Args:
        x: rows (n, D) without NaN, n at least 1.
        weights: (n,) positive sample weights, or None.
        sizes: numbers of components to try, in increasing order.
        seed: seed of the initialisation (k-means++).
        replicates: number of copies of each row (with different noise), which count as one row in the BIC.
        floor: covariance (D, D) that is added to each component, where values repeat and a component could narrow to a
            few of them; or None.

    Returns:
        The mixture. The standard deviations of its components are at least 1e-7 of those of the columns.

    Cost: O(n K D^2) for each of at most 100 iterations for a size K.

    Reference: Dempster, Laird & Rubin 1977; Schwarz 1978 (BIC); Arthur & Vassilvitskii 2007 (k-means++).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 1)) + 100 * rng.integers(0, 2, (400, 1))
        >>> fit_normal_mixture(x).means.shape
        (2, 1)
    """
    x = np.asarray(x, np.float64)
    n, dim = x.shape
    weights = np.ones(n) if weights is None else np.asarray(weights, np.float64) / np.mean(weights)
    scale = x.std(0)
    scale[scale == 0] = 1.0
    centre, x = x.mean(0), (x - x.mean(0)) / scale
    n_independent, scaled_floor = n / replicates, _scaled(floor, scale)
    random = np.random.default_rng(seed)
    candidates: list[tuple[float, NormalMixture]] = []  # (BIC, mixture)
    for size in sizes:
        if candidates and size * max(10, 2 * dim) > n_independent:
            break
        mixture, log_likelihood = _fit_size(x, weights, size, random, scaled_floor)
        if size > 1 and np.linalg.eigvalsh(mixture.covariances).min() < _SINGULAR**2:
            continue  # a component sits on equal rows, where the likelihood is unbounded
        bic = mixture.n_parameters * math.log(n_independent) - 2 * log_likelihood * n_independent
        candidates.append((bic, mixture))
        if len(candidates) > 2 and min(candidates[-1][0], candidates[-2][0]) > min(bic for bic, _ in candidates):
            break
    best = min(candidates, key=lambda pair: pair[0])[1]
    covariances = best.covariances * np.multiply.outer(scale, scale)
    return NormalMixture(best.weights, centre + best.means * scale, covariances)


def refit_normal_mixture(
    mixture: NormalMixture, x: np.ndarray, weights: np.ndarray | None = None, floor: np.ndarray | None = None
) -> NormalMixture:
    """Continue expectation-maximisation from a mixture, on the same or other rows.

    Args:
        mixture: the initial mixture; its size does not change.
        x, weights, floor: as for `fit_normal_mixture`.
    """
    x = np.asarray(x, np.float64)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    scale = x.std(0)
    scale[scale == 0] = 1.0
    centre, squared_scale = x.mean(0), np.multiply.outer(scale, scale)
    start = NormalMixture(mixture.weights, (mixture.means - centre) / scale, mixture.covariances / squared_scale)
    best = _iterate(start, (x - centre) / scale, weights, _scaled(floor, scale))[0]
    return NormalMixture(best.weights, centre + best.means * scale, best.covariances * squared_scale)


def _scaled(floor: np.ndarray | None, scale: np.ndarray) -> np.ndarray:
    """The covariance that is added to each component, for columns divided by `scale`."""
    least = _MIN_SCALE**2 * np.eye(len(scale))
    return least if floor is None else least + floor / np.multiply.outer(scale, scale)


def _fit_size(
    x: np.ndarray, weights: np.ndarray, size: int, random: np.random.Generator, floor: np.ndarray
) -> tuple[NormalMixture, float]:
    """The mixture of this size by expectation-maximisation from k-means, and its mean log-likelihood.

    Of some short runs the best is continued (Biernacki, Celeux & Govaert 2003): they end in different local maxima.
    """
    short = [
        _iterate(_maximise(x, weights, np.eye(size)[_k_means(x, size, random)].T, floor), x, weights, floor, _SHORT)
        for _ in range(1 if size == 1 else _N_STARTS if len(x) < _FEW_ROWS else _N_STARTS_OF_MANY)
    ]
    return _iterate(max(short, key=lambda pair: pair[1])[0], x, weights, floor)


def _iterate(
    mixture: NormalMixture, x: np.ndarray, weights: np.ndarray, floor: np.ndarray, n: int = _ITERATIONS
) -> tuple[NormalMixture, float]:
    """At most n steps of expectation-maximisation from a mixture: the final mixture and its mean log-likelihood."""
    previous = -math.inf
    for _ in range(n):
        log_joint = _log_joint(mixture, x)
        log_probs = np.logaddexp.reduce(log_joint, axis=0)
        log_likelihood = float(np.average(log_probs, weights=weights))
        if log_likelihood - previous < _TOLERANCE:
            break
        previous, mixture = log_likelihood, _maximise(x, weights, np.exp(log_joint - log_probs), floor)
    return mixture, float(np.average(mixture.log_prob(x), weights=weights))


def _maximise(x: np.ndarray, weights: np.ndarray, responsibilities: np.ndarray, floor: np.ndarray) -> NormalMixture:
    """The maximisation step: weights, means and covariances from responsibilities (K, n)."""
    responsibilities = responsibilities * weights
    counts = responsibilities.sum(1)
    safe = np.maximum(counts, 1e-12)
    means = responsibilities @ x / safe[:, None]
    covariances = np.empty((len(counts), x.shape[1], x.shape[1]))
    for k, mean in enumerate(means):
        deviation = x - mean
        covariances[k] = (responsibilities[k][:, None] * deviation).T @ deviation / safe[k]
    covariances += floor
    empty = counts < x.shape[1] + 1e-3  # reset to the covariance of all rows, with a weight near zero
    if empty.any():
        covariances[empty] = np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], -1) + np.eye(x.shape[1]) * 1e-3
    return NormalMixture(safe / safe.sum(), means, covariances)


def _log_joint(mixture: NormalMixture, x: np.ndarray) -> np.ndarray:
    """log w_k + log N(x_i; m_k, C_k), (K, n)."""
    terms = np.empty((len(mixture.weights), len(x)))
    for k, (weight, mean, covariance) in enumerate(
        zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ):
        factor = np.linalg.cholesky(covariance)
        white = (x - mean) @ np.linalg.inv(factor).T
        log_norm = np.log(np.diag(factor)).sum() + 0.5 * x.shape[1] * _LOG_TWO_PI
        terms[k] = math.log(weight) - 0.5 * (white**2).sum(1) - log_norm
    return terms


def _k_means(x: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """The cluster (n,) of each row by k-means++."""
    centres = x[random.integers(len(x), size=1)]
    for _ in range(size - 1):
        squared = _squared_distances(x, centres).min(1)
        total = squared.sum()
        chosen = random.choice(len(x), p=squared / total) if total > 0 else random.integers(len(x))
        centres = np.vstack([centres, x[chosen]])
    member = np.zeros(len(x), int)
    for _ in range(_N_KMEANS_ITERATIONS):
        member = _squared_distances(x, centres).argmin(1)
        counts = np.bincount(member, minlength=size)
        sums = np.stack([np.bincount(member, column, size) for column in x.T], 1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return member


def _squared_distances(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances (n, K)."""
    return np.stack([np.square(x - centre).sum(1) for centre in centres], 1)
