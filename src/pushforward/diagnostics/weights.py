"""When estimates from importance weights can be trusted: enough effective samples and a light tail of the weights."""

import math

import numpy as np

FEWEST_EFFECTIVE = 100
_HEAVIEST = 0.7


def effective_sample_size(log_weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2, between 1 and n, from the logarithms of the weights; 0 where all weights are zero.

    The variance of a weighted mean is about that of a mean of so many independent draws from the target.

    Args:
        log_weights: (n,) logarithms of unnormalised weights; -inf counts as a weight of zero.

    Reference: Kong 1992; Owen 2013, section 9.3.

    Example:
        >>> import numpy as np
        >>> print(round(effective_sample_size(np.log([1.0, 1.0, 2.0])), 3))
        2.667
    """
    highest = np.max(log_weights)
    if highest == -np.inf:
        return 0.0
    weights = np.exp(np.asarray(log_weights, np.float64) - highest)  # at most one: neither sum can overflow or vanish
    return float(weights.sum() ** 2 / (weights**2).sum())


def rounding(log_densities: np.ndarray) -> float:
    """The rounding error of differences of log-densities, in their dtype."""
    finite = log_densities[np.isfinite(log_densities)]
    size = float(np.median(np.abs(finite))) if len(finite) else 0.0
    return 8 * float(np.finfo(log_densities.dtype).eps) * max(size, 1.0)


def pareto_k_bound(n: int) -> float:
    """The largest Pareto k of n weights up to which their estimates can be trusted: min(1 - 1 / log10 n, 0.7).

    Reference: Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3.

    Example:
        >>> print(pareto_k_bound(100), pareto_k_bound(100_000))
        0.5 0.7
    """
    return min(1.0 - 1.0 / math.log10(max(n, 2)), _HEAVIEST)


def weight_doubts(n: int, effective: float, k: float) -> list[str]:
    """Reasons not to trust estimates from n importance weights, one phrase each; none if they can be trusted.

    There are two conditions, because each misses failures that the other detects:

    - At least 100 effective samples. The standard error of the log evidence is about sqrt(1 / effective - 1 / n), so
      100 keep it below 0.1, and the error of a mean below a tenth of the target's deviation. Their number matters:
      effective / n measures the cost of the samples, not the quality of the estimate.
    - A Pareto k of at most `pareto_k_bound(n)`. Above it, the effective sample size and the standard error are
      themselves unreliable estimates.

    Neither detects a part of the target that no sample has reached.

    Args:
        n: number of weights.
        effective: their effective sample size.
        k: the Pareto shape of their tail, NaN if it cannot be estimated.

    Reference: Owen 2013, section 9.3; Elvira, Martino & Robert 2022 (what the effective sample size leaves out);
        Vehtari et al. 2024, section 3.
    """
    doubts = []
    if n < FEWEST_EFFECTIVE:
        doubts.append(f"{n} samples are too few to judge, at least {FEWEST_EFFECTIVE} are needed")
    elif not effective >= FEWEST_EFFECTIVE:
        doubts.append(
            f"{effective:.1f} effective samples of {n:,} ({effective / n:.2%}) are fewer than {FEWEST_EFFECTIVE}: the "
            f"standard error of the log evidence is about {math.sqrt(max(1 / max(effective, 1) - 1 / n, 0)):.2f}"
        )
    if n >= FEWEST_EFFECTIVE and not k <= (bound := pareto_k_bound(n)):
        doubts.append(
            f"the Pareto k of the weights is {k:.2f}, above {bound:.2f}: a few samples dominate"
            if k > bound
            else "the Pareto k of the weights cannot be estimated: too few of them differ"
        )
    return doubts
