"""Robust centre and scale of columns; compression of outliers; standard errors of means."""

import math
from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

EVENT_TAILS = (1e-3,)  # fraction of rows on either side that may be outliers
CONTEXT_TAILS = (
    0.25,
    0.05,
    5e-3,
    1e-3,
)  # missing-value codes may be frequent; the next one is used if a range is 0
FAR = 8.0  # distance of a centre from zero, in deviations, beyond which it is subtracted in float64
CONTEXT_LIMIT = 8.0  # standardised and compressed, i.e. 24 deviations: values beyond are ignored by linear fits
_REACH = 30.0  # distance from the median, in deviations of the bulk, beyond which a value is an outlier
_MAX_NUMBERS = 1 << 22  # subset size for quantiles
_KNEE = 5.0


def moments(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of rows (n, d), without values beyond 30 deviations of the bulk.

    Ordinary columns have no such values. A constant column has the deviation 0.
    """
    centre, bulk = _bulk(rows, tails)
    is_inlier = np.abs(rows - centre) <= _REACH * np.where(bulk > 0, bulk, np.inf)
    if is_inlier.all():
        return rows.mean(0), rows.std(0)
    n = is_inlier.sum(0)
    mean = np.where(is_inlier, rows - centre, 0.0).sum(0) / n
    square = np.square(np.where(is_inlier, rows - centre - mean, 0.0)).sum(0) / n
    return centre + mean, np.sqrt(square)


def spread(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Median (d,) and robust deviation (d,) of rows (n, d).

    The deviation is the range without its tails, divided by that range of a standard normal. If it is zero, as for a
    rare flag, the next smaller tails are used, then tails of one value on either side, then the standard deviation.
    """
    centre, scale = _bulk(rows, tails)
    with np.errstate(over="ignore"):
        return centre, np.where(scale > 0, scale, rows.std(0))


def _bulk(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """`spread`, but with a deviation of 0 if all values except one at either end are equal."""
    subset = np.sort(rows[:: max(1, rows.size // _MAX_NUMBERS)], axis=0)
    n = len(subset)
    scale = np.zeros(rows.shape[1])
    for tail in (*tails, 0.0):
        cut = min(max(int(tail * n), 1), (n - 1) // 2)
        normal = -2.0 * NormalDist().inv_cdf((cut + 0.5) / (n + 1))
        if normal > 0:
            scale = np.where(scale > 0, scale, (subset[n - 1 - cut] - subset[cut]) / normal)
    return np.median(subset, axis=0), scale


def reach_of(rows: np.ndarray) -> np.ndarray:
    """The 99.9 % quantile (d,) of the absolute values of rows (n, d); the second largest if rows are few."""
    cut = max(int(1e-3 * len(rows)), 1) if len(rows) > 2 else 0
    return np.partition(np.abs(rows), len(rows) - 1 - cut, axis=0)[len(rows) - 1 - cut]


def compress(u: Any, xp: Any = jnp) -> tuple[Any, Any]:
    """u for |u| <= 5, else sign(u) (5 + log(|u| - 4)), with a continuous slope; and the log-slope.

    It is strictly increasing, so no information is lost; 1e7 becomes 21, a reasonable input of a network.
    """
    beyond = xp.abs(u) > _KNEE
    excess = xp.where(beyond, xp.abs(u) - _KNEE, 0.0)
    log_excess = xp.log1p(excess)
    return xp.where(beyond, xp.sign(u) * (_KNEE + log_excess), u), -log_excess


def expand(v: Array) -> tuple[Array, Array]:
    """The inverse of `compress`, and its log-slope."""
    beyond = jnp.abs(v) > _KNEE
    log_excess = jnp.where(beyond, jnp.abs(v) - _KNEE, 0.0)
    return jnp.where(beyond, jnp.sign(v) * (_KNEE + jnp.expm1(log_excess)), v), log_excess


def standard_error(
    values: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None
) -> float | None:
    """Standard error of the weighted mean of values (n,); None for a single row or group, or non-finite values.

    Values of the same group may be dependent. With s_g the sum over group g of w (value - mean), and G groups, the
    standard error is sqrt(G / (G - 1) sum_g s_g^2) / sum w. Without groups every row is a group.

    Reference: Liang & Zeger 1986.

    >>> values = np.array([1.0, 2.0, 4.0, 5.0])
    >>> f"{standard_error(values):.4f}", f"{values.std(ddof=1) / 2:.4f}"
    ('0.9129', '0.9129')
    >>> f"{standard_error(values, np.array([0, 0, 1, 1])):.4f}"  # two means, 1.5 and 4.5
    '1.5000'
    """
    if not np.isfinite(values).all():
        return None
    weights = np.ones(len(values)) if weights is None else weights
    sums = weights * (values - np.average(values, weights=weights))
    if groups is not None:
        sums = np.bincount(np.unique(groups, return_inverse=True)[1].reshape(-1), weights=sums)
    n = len(sums)
    return float(math.sqrt(n / (n - 1) * np.square(sums).sum()) / weights.sum()) if n > 1 else None
