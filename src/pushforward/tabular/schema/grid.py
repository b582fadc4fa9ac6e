"""Detection of grids with many values: integers, and decimals that repeat."""

import dataclasses
import math

import numpy as np

from pushforward.core.discretised import rounding_of
from pushforward.tabular.schema.column import Column
from pushforward.train.repeats import lattice_step, repeats_of

_LARGEST = 2.0**24  # integers up to here are exact in single precision
_END_ROWS = 5  # number of rows with the outermost value that make it an end
_GAIN = 0.1  # nats a row by which a logarithm must fit better, and by three standard errors


def many_values(column: Column, x: np.ndarray, others: np.ndarray) -> Column | None:
    """The column rounded to the grid on which its values x (n,) lie, or None if they lie on no grid.

    Integers up to 2^24 are always a grid; other values only if they repeat, see `repeats_of`. For the ends of the
    support see `detect_ends`. With a lower end alone, the map is a softplus at the scale of the data, or a logarithm if
    a normal fits that clearly better.

    >>> x = np.random.default_rng(0).poisson(200.0, 500).astype(float)
    >>> many_values(Column("visits"), x, x).describe()
    'above -0.5; rounded to 1'
    """
    both = np.concatenate([x, others])
    step, n_values = _step(x, both)
    if not step:
        return None
    low = float(x.min())
    has_zero = abs(low / step - round(low / step)) < 1e-6
    origin = 0.0 if has_zero else low
    note = f"{n_values:,} different {'whole numbers' if step % 1 == 0 and has_zero else f'multiples of {step:g}'}"
    column = dataclasses.replace(column, step=step, origin=origin, source="detected", note=f"{note} in {len(x):,} rows")
    first, last = detect_ends(x, others, 0.0 if has_zero else None)
    if first is None:
        return column
    lower = first - step / 2
    if last is not None:
        return dataclasses.replace(column, kind="bounded", lower=lower, upper=last + step / 2)
    scale = max(float(np.median(x)) - lower, step)
    log_gain, error = logarithm_gain(bulk(x) - lower, scale)
    if log_gain > max(_GAIN, 3 * error):
        return dataclasses.replace(column, kind="positive", lower=lower)
    return dataclasses.replace(column, kind="softplus", lower=lower, scale=scale)


def detect_ends(x: np.ndarray, others: np.ndarray, zero: float | None) -> tuple[float | None, float | None]:
    """The first and the last value of a grid; None for an open end.

    Args:
        x: values (n,). The outermost value is an end if five rows have it and none of the `others` lies beyond it.
        others: values (m,) that must have a density too.
        zero: least non-negative value of the grid, the lower end if no value is negative; None to rule that out.
    """
    low, high = float(x.min()), float(x.max())
    is_last = np.count_nonzero(x == high) >= _END_ROWS and others.max() <= high
    if np.count_nonzero(x == low) >= _END_ROWS and others.min() >= low:
        first = low
    else:
        first = zero if zero is not None and min(low, float(others.min())) >= 0 else None
    return first, high if is_last else None


def _step(x: np.ndarray, both: np.ndarray) -> tuple[float, int]:
    """The step of the grid of `both`, x and all other rows, 0 for none; and the number of different values of x."""
    values = np.unique(x)
    if (both % 1 == 0).all() and np.abs(both).max() <= _LARGEST:
        return float(np.gcd.reduce(np.unique(both).astype(np.int64) - int(both[0]))), len(values)
    if repeats_of(x) is None:
        return 0.0, len(values)
    step = lattice_step(values)
    if not step:
        return 0.0, len(values)
    step = float(f"{step:.12g}")
    positions = (both - x[0]) / step
    allowed = 0.01 + 1e-12 * np.abs(positions) + rounding_of(both) * np.abs(both) / step
    return (0.0 if (np.abs(positions - np.round(positions)) > allowed).any() else step), len(values)


def bulk(x: np.ndarray) -> np.ndarray:
    """Values x (n,) without the outermost at either end, one in 40 but at most five: outliers do not decide the map."""
    n_out = min(max(len(x) // 40, 1), _END_ROWS)
    return np.sort(x)[n_out:-n_out]


def logarithm_gain(distance: np.ndarray, scale: float) -> tuple[float, float]:
    """Gain in log-likelihood per row, in nats, of a normal of log d over one of the softplus inverse; and its error.

    The softplus inverse of a distance d from the end, in units of `scale` s, is log(exp(d / s) - 1).
    """
    u = distance / scale
    inverse = u + np.log(-np.expm1(-u))
    log_slope = -math.log(scale) - np.log(-np.expm1(-u))
    log_distance = np.log(distance)
    difference = _normal_scores(log_distance) - log_distance - _normal_scores(inverse) - log_slope
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(distance)))


def _normal_scores(z: np.ndarray) -> np.ndarray:
    spread = z.std()
    return -0.5 * ((z - z.mean()) / spread) ** 2 - math.log(spread)
