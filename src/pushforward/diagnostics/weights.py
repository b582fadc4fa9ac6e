"""When estimates from importance weights can be trusted: both a light tail and enough effective samples."""

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
    """How far rounding alone spreads the differences of such log-densities, as computed in their own type."""
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
    """Why estimates from n importance weights cannot be trusted, a sentence each; none where they can.

    Two conditions, for either alone misses what the other sees:

    - At least 100 effective samples. The standard error of the log evidence is about sqrt(1 / effective - 1 / n), so
      100 keep it below 0.1, and the error of a mean below a tenth of the target's deviation. What counts is their
      number: effective / n says how costly the samples are, not how good the estimate is.
    - A Pareto k of at most `pareto_k_bound(n)`. Above it the effective sample size and the standard error are
      themselves estimates that the samples do not bear out.

    A part of the target that no sample has met shows in neither.

    Args:
        n: number of weights.
        effective: their effective sample size.
        k: the Pareto shape of their tail, NaN where it cannot be told.

    Reference: Owen 2013, section 9.3; Elvira, Martino & Robert 2022 (what the effective sample size leaves out);
        Vehtari et al. 2024, section 3.
    """
    found = []
    if n < FEWEST_EFFECTIVE:
        found.append(f"{n} samples are too few to tell, {FEWEST_EFFECTIVE} are the fewest")
    elif not effective >= FEWEST_EFFECTIVE:
        found.append(
            f"{effective:.1f} effective samples of {n:,} ({effective / n:.2%}) are fewer than {FEWEST_EFFECTIVE}: the "
            f"standard error of the log evidence is about {math.sqrt(max(1 / max(effective, 1) - 1 / n, 0)):.2f}"
        )
    if n >= FEWEST_EFFECTIVE and not k <= (bound := pareto_k_bound(n)):
        found.append(
            f"the Pareto k of the weights is {k:.2f}, above {bound:.2f}: a few samples decide"
            if k > bound
            else "the Pareto k of the weights cannot be told: too few of them differ"
        )
    return found
