"""Centre and scale of columns by statistics that one absurd value cannot move; standard errors of means."""

import math
from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

EVENT_TAILS = (1e-3,)  # share of rows on either side that may be absurd
CONTEXT_TAILS = (0.25, 0.05, 5e-3, 1e-3)  # codes of missing values may be many; the next where a range is zero
FAR = 8.0  # deviations from zero beyond which a centre costs float32 digits that matter
CONTEXT_LIMIT = 8.0  # of a standardised and compressed number, 24 deviations: from there a linear law says nothing
_REACH = 30.0  # deviations of the bulk within which a value counts
_MOST_NUMBERS = 1 << 22  # among which a range is looked for
_KNEE = 5.0


def moments(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of the values of rows (n, d) that lie within 30 deviations of the bulk.

    For ordinary columns these are all of them. A column without any spread has the deviation 0.
    """
    centre, bulk = _bulk(rows, tails)
    inside = np.abs(rows - centre) <= _REACH * np.where(bulk > 0, bulk, np.inf)
    if inside.all():
        return rows.mean(0), rows.std(0)
    n = inside.sum(0)
    mean = np.where(inside, rows - centre, 0.0).sum(0) / n
    square = np.square(np.where(inside, rows - centre - mean, 0.0)).sum(0) / n
    return centre + mean, np.sqrt(square)


def spread(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Median (d,) and a deviation (d,) of rows (n, d): the range without its tails, in units of a standard normal's.

    Where that range is zero, as of a rare flag, that of smaller tails; then what is left without one value at either
    end; at last the standard deviation.
    """
    centre, scale = _bulk(rows, tails)
    with np.errstate(over="ignore"):
        return centre, np.where(scale > 0, scale, rows.std(0))


def _bulk(rows: np.ndarray, tails: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """`spread`, but a deviation of 0 where all values but one at either end are equal."""
    some = np.sort(rows[:: max(1, rows.size // _MOST_NUMBERS)], axis=0)
    n = len(some)
    scale = np.zeros(rows.shape[1])
    for tail in (*tails, 0.0):
        cut = min(max(int(tail * n), 1), (n - 1) // 2)
        normal = -2.0 * NormalDist().inv_cdf((cut + 0.5) / (n + 1))
        if normal > 0:
            scale = np.where(scale > 0, scale, (some[n - 1 - cut] - some[cut]) / normal)
    return np.median(some, axis=0), scale


def reach_of(rows: np.ndarray) -> np.ndarray:
    """The size (d,) that 99.9 % of the values of rows (n, d) do not exceed, and all but one where rows are few."""
    cut = max(int(1e-3 * len(rows)), 1) if len(rows) > 2 else 0
    return np.partition(np.abs(rows), len(rows) - 1 - cut, axis=0)[len(rows) - 1 - cut]


def compressed(u: Any, xp: Any = jnp) -> tuple[Any, Any]:
    """u up to 5, beyond it sign(u) (5 + log(|u| - 4)), of the same slope at 5; and the log-slope.

    Strictly increasing, so nothing is lost; 1e7 becomes 21, which a network can bear.
    """
    beyond = xp.abs(u) > _KNEE
    excess = xp.where(beyond, xp.abs(u) - _KNEE, 0.0)
    log_excess = xp.log1p(excess)
    return xp.where(beyond, xp.sign(u) * (_KNEE + log_excess), u), -log_excess


def expanded(v: Array) -> tuple[Array, Array]:
    """The inverse of `compressed`, and its log-slope."""
    beyond = jnp.abs(v) > _KNEE
    log_excess = jnp.where(beyond, jnp.abs(v) - _KNEE, 0.0)
    return jnp.where(beyond, jnp.sign(v) * (_KNEE + jnp.expm1(log_excess)), v), log_excess


def standard_error(
    values: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None
) -> float | None:
    """Standard error of the weighted mean of values (n,); of one row or group, or of values that are not finite, None.

    Values of one group (n,) need not be independent: with the G sums s_g by group of deviations from the mean, times
    their weights w, it is sqrt(G / (G - 1) sum_g s_g^2) / sum w; without groups every row is one.

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
