"""Grids of more values than a discrete column has: whole numbers, and decimals that repeat."""

import dataclasses
import math

import numpy as np

from pushforward.columns.column import Column
from pushforward.rounded import rounding_of
from pushforward.train.repeats import lattice_step, repeats_of

_LARGEST = 2.0**24  # whole numbers up to here are numbers of single precision
_END_ROWS = 5  # that have the outermost value of a column make it an end
_GAIN = 0.1  # nats a row, and three standard errors, by which a logarithm must fit better


def many_values(column: Column, x: np.ndarray, others: np.ndarray) -> Column | None:
    """The column rounded to the grid on which its values x (n,) lie, or None where they show no grid.

    Whole numbers up to 2^24 are a grid in any case; other values only where they repeat, see `repeats_of`. An end that
    five rows have, and none of the `others` passes, is an end of the column; where no value is negative, and 0 is on
    the grid, 0 is one. Away from a lower end values go by a softplus of their own scale, or by a logarithm where a
    normal law of it is clearly more likely.

    >>> x = np.random.default_rng(0).poisson(200.0, 500).astype(float)
    >>> many_values(Column("visits"), x, x).describe()
    'above -0.5; rounded to 1'
    """
    both = np.concatenate([x, others])
    step, n_values = _step(x, both)
    if not step:
        return None
    low = float(x.min())
    on_zero = abs(low / step - round(low / step)) < 1e-6
    origin = 0.0 if on_zero else low
    note = f"{n_values:,} different {'whole numbers' if step % 1 == 0 and on_zero else f'multiples of {step:g}'}"
    column = dataclasses.replace(column, step=step, origin=origin, source="detected", note=f"{note} in {len(x):,} rows")
    first, last = shown_ends(x, others, 0.0 if on_zero else None)
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


def shown_ends(x: np.ndarray, others: np.ndarray, zero: float | None) -> tuple[float | None, float | None]:
    """The first and the last value of a grid, None where its values go on.

    Args:
        x: values (n,): an outermost one that five rows have, and none of the others passes, is an end.
        others: values (m,) that are to have a density too.
        zero: the value of the grid from 0 on, an end where no value is negative; None where that is no end.
    """
    low, high = float(x.min()), float(x.max())
    is_last = np.count_nonzero(x == high) >= _END_ROWS and others.max() <= high
    if np.count_nonzero(x == low) >= _END_ROWS and others.min() >= low:
        first = low
    else:
        first = zero if zero is not None and min(low, float(others.min())) >= 0 else None
    return first, high if is_last else None


def _step(x: np.ndarray, both: np.ndarray) -> tuple[float, int]:
    """The step of the grid of x and all other rows, 0 for none, and the number of different values of x."""
    values = np.unique(x)
    if (both % 1 == 0).all() and np.abs(both).max() <= _LARGEST:
        return float(np.gcd.reduce(np.unique(both).astype(np.int64) - int(both[0]))), len(values)
    if repeats_of(x) is None:
        return 0.0, len(values)
    step = lattice_step(values)
    if not step:
        return 0.0, len(values)
    step = float(f"{step:.12g}")
    places = (both - x[0]) / step
    allowed = 0.01 + 1e-12 * np.abs(places) + rounding_of(both) * np.abs(both) / step
    return (0.0 if (np.abs(places - np.round(places)) > allowed).any() else step), len(values)


def bulk(x: np.ndarray) -> np.ndarray:
    """Values x (n,) without the outermost at either end, one in 40 but at most five: absurd ones choose no map."""
    n_out = min(max(len(x) // 40, 1), _END_ROWS)
    return np.sort(x)[n_out:-n_out]


def logarithm_gain(distance: np.ndarray, scale: float) -> tuple[float, float]:
    """Nats a row by which a normal law of log d is more likely than one of the softplus inverse, and its error.

    The softplus inverse of d, in units of `scale` s, is log(exp(d / s) - 1).
    """
    u = distance / scale
    soft = u + np.log(-np.expm1(-u))
    log_slope = -math.log(scale) - np.log(-np.expm1(-u))
    plain = np.log(distance)
    difference = _normal(plain) - plain - _normal(soft) - log_slope
    return float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(distance)))


def _normal(z: np.ndarray) -> np.ndarray:
    spread = z.std()
    return -0.5 * ((z - z.mean()) / spread) ** 2 - math.log(spread)
