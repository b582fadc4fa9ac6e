"""Mixtures of normals with full covariances by expectation-maximisation, their size by the BIC; NumPy, float64."""

import dataclasses
import math

import numpy as np

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_ITERATIONS = 100
_TOLERANCE = 1e-4  # nats a row: an iteration that gains less is the last
_SEARCHES = 3  # starts of the centres, of which the tightest is taken
_ROUNDS = 10  # of k-means after its start
_SINGULAR = 2e-7  # standard deviation below which a component has no width but the floor's
_FLOOR = 1e-7  # least standard deviation of a component, in standard deviations of a column
_LOG_TWO_PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class NormalMixture:
    """sum_k w_k N(x; m_k, C_k).

    Attributes:
        weights: (K,), summing to one.
        means: (K, D).
        covariances: (K, D, D), each with at least the square of the floor added to its diagonal.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-densities (n,) of rows x (n, D)."""
        return np.logaddexp.reduce(_joint(self, x), axis=0)

    @property
    def n_parameters(self) -> int:
        """Free numbers: weights, means, covariances."""
        size, dim = self.means.shape
        return size - 1 + size * dim + size * dim * (dim + 1) // 2


def fit_normal_mixture(
    x: np.ndarray, weights: np.ndarray | None = None, *, sizes: tuple[int, ...] = SIZES, seed: int = 0,
    replicates: int = 1,
) -> NormalMixture:  # fmt: skip
    """The mixture of normals whose size has the least BIC, each size by expectation-maximisation.

    BIC = -2 sum_i log p(x_i) + P log n with P free numbers. Sizes are tried in rising order until two in a row have a
    larger BIC than the best so far. A size must leave ten rows, and two for each column, to a component; one with a
    component that has lost its width, as equal rows do it, does not count.

    Args:
        x: rows (n, D) without NaN, n at least 1.
        weights: (n,) positive sample weights, or None.
        sizes: numbers of components to try, in rising order.
        seed: of the starts (k-means++).
        replicates: how many rows count as one in the BIC, being one row with different noise.

    Returns:
        A mixture. The standard deviations of a component are at least 1e-7 of those of the columns.

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
    rows = np.ones(n) if weights is None else np.asarray(weights, np.float64) / np.mean(weights)
    spread = x.std(0)
    spread[spread == 0] = 1.0
    centre, x = x.mean(0), (x - x.mean(0)) / spread
    n_independent = n / replicates
    random = np.random.default_rng(seed)
    tried: list[tuple[float, NormalMixture]] = []
    for size in sizes:
        if tried and size * max(10, 2 * dim) > n_independent:
            break
        mixture, log_likelihood = _maximised(x, rows, size, random)
        if size > 1 and np.linalg.eigvalsh(mixture.covariances).min() < _SINGULAR**2:
            continue  # it follows equal rows, where a likelihood has no bound
        tried.append((mixture.n_parameters * math.log(n_independent) - 2 * log_likelihood * n_independent, mixture))
        if len(tried) > 2 and min(tried[-1][0], tried[-2][0]) > min(criterion for criterion, _ in tried):
            break
    best = min(tried, key=lambda pair: pair[0])[1]
    scaled = best.covariances * np.multiply.outer(spread, spread)
    return NormalMixture(best.weights, centre + best.means * spread, scaled)


def refit_normal_mixture(mixture: NormalMixture, x: np.ndarray, weights: np.ndarray | None = None) -> NormalMixture:
    """The mixture after further expectation-maximisation on these rows, which may be others than it was fitted to.

    Args:
        mixture: where to start; its size stays.
        x, weights: as for `fit_normal_mixture`.
    """
    x = np.asarray(x, np.float64)
    rows = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    spread = x.std(0)
    spread[spread == 0] = 1.0
    centre, units = x.mean(0), np.multiply.outer(spread, spread)
    scaled = NormalMixture(mixture.weights, (mixture.means - centre) / spread, mixture.covariances / units)
    best = _climbed(scaled, (x - centre) / spread, rows)[0]
    return NormalMixture(best.weights, centre + best.means * spread, best.covariances * units)


def _maximised(x: np.ndarray, rows: np.ndarray, size: int, random: np.random.Generator) -> tuple[NormalMixture, float]:
    """The mixture of this size at which expectation-maximisation stops, and its mean log-likelihood."""
    return _climbed(_maximise(x, rows, np.eye(size)[_clusters(x, size, random)].T), x, rows)


def _climbed(mixture: NormalMixture, x: np.ndarray, rows: np.ndarray) -> tuple[NormalMixture, float]:
    """Where expectation-maximisation from this mixture stops, and the mean log-likelihood there."""
    before = -math.inf
    for _ in range(_ITERATIONS):
        joint = _joint(mixture, x)
        scores = np.logaddexp.reduce(joint, axis=0)
        now = float(np.average(scores, weights=rows))
        if now - before < _TOLERANCE:
            break
        before, mixture = now, _maximise(x, rows, np.exp(joint - scores))
    joint = np.logaddexp.reduce(_joint(mixture, x), axis=0)
    return mixture, float(np.average(joint, weights=rows))


def _maximise(x: np.ndarray, rows: np.ndarray, shares: np.ndarray) -> NormalMixture:
    """Weights, means and covariances of rows that belong to components by these shares (K, n)."""
    shares = shares * rows
    counts = shares.sum(1)
    safe = np.maximum(counts, 1e-12)
    means = shares @ x / safe[:, None]
    covariances = np.empty((len(counts), x.shape[1], x.shape[1]))
    for k, mean in enumerate(means):
        off = x - mean
        covariances[k] = (shares[k][:, None] * off).T @ off / safe[k]
    covariances += _FLOOR**2 * np.eye(x.shape[1])
    empty = counts < x.shape[1] + 1e-3  # a component that lost its rows is spread over all of them, and fades
    if empty.any():
        covariances[empty] = np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], -1) + np.eye(x.shape[1]) * 1e-3
    return NormalMixture(safe / safe.sum(), means, covariances)


def _joint(mixture: NormalMixture, x: np.ndarray) -> np.ndarray:
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


def _clusters(x: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """The cluster (n,) of each row: the tightest of a few runs of k-means, each from centres far from each other."""
    best, least = np.zeros(len(x), int), math.inf
    for _ in range(1 if size == 1 else _SEARCHES):
        centres = x[random.integers(len(x), size=1)]
        for _ in range(size - 1):
            far = _squared(x, centres).min(1)
            total = far.sum()
            chosen = random.choice(len(x), p=far / total) if total > 0 else random.integers(len(x))
            centres = np.vstack([centres, x[chosen]])
        member = np.zeros(len(x), int)
        for _ in range(_ROUNDS):
            member = _squared(x, centres).argmin(1)
            counts = np.bincount(member, minlength=size)
            sums = np.stack([np.bincount(member, column, size) for column in x.T], 1)
            centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        spread = float(np.square(x - centres[member]).sum())
        if spread < least:
            best, least = member, spread
    return best


def _squared(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances (n, K)."""
    return np.stack([np.square(x - centre).sum(1) for centre in centres], 1)
