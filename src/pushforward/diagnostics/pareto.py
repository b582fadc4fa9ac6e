"""The Pareto shape k of the tail of importance weights."""

import math

import numpy as np

_FEWEST = 5
_LEAST = 1e-300  # of the largest weight: smaller excesses count as 0, because their reciprocals overflow


def pareto_k(log_weights: np.ndarray, noise: float = 0.0) -> float:
    """Shape k of a generalised Pareto distribution fitted to the largest importance weights.

    Below 0.5 the weights have a variance; above 0.7 a few weights dominate and more samples hardly help. A light tail
    is necessary for estimates that can be trusted, but not sufficient: see `ImportanceSample.doubts`. The tail is the
    min(n / 5, 3 sqrt(n)) largest weights. NaN with fewer than 25 weights, or where one to four in the tail differ from
    the largest one outside it; 0 where none does.

    Args:
        log_weights: (n,) logarithms of unnormalised weights; -inf counts as a weight of zero.
        noise: rounding error of log_weights; a tail whose logarithms differ by no more counts as equal weights.

    Reference: Zhang & Stephens 2009; Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3 and appendix G (the
        weak prior on k).

    Example:
        >>> import numpy as np
        >>> k = pareto_k(np.random.default_rng(0).exponential(0.5, 100_000))  # of weights: Pareto with k = 0.5
        >>> print(round(k, 1))
        0.5
    """
    log_weights = np.sort(np.asarray(log_weights, np.float64))
    n = len(log_weights)
    size = math.ceil(min(0.2 * n, 3.0 * math.sqrt(n)))
    if n < 5 * _FEWEST or not np.isfinite(log_weights[-1]):
        return math.nan
    if log_weights[-1] - log_weights[-size - 1] <= noise:
        return 0.0  # equal weights have no tail
    scaled = np.exp(log_weights - log_weights[-1])
    excess = scaled[-size:] - scaled[-size - 1]
    excess = excess[excess > _LEAST]
    if len(excess) < _FEWEST:
        return math.nan
    return _shape(excess)


def _shape(excess: np.ndarray) -> float:
    """Posterior mean of k over a grid of scales; `excess` is sorted and positive."""
    n = len(excess)
    grid = np.arange(1, 30 + math.isqrt(n) + 1)
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1.0 / excess[-1] + (1.0 - np.sqrt(len(grid) / (grid - 0.5))) / (3.0 * quartile)
    shape = np.log1p(-theta[:, None] * excess).mean(1)
    profile = n * (np.log(-theta / shape) - shape - 1.0)
    weights = np.exp(profile - profile.max())
    best = float((weights * theta).sum() / weights.sum())
    k = float(np.log1p(-best * excess).mean())
    return (n * k + 10 * 0.5) / (n + 10)
