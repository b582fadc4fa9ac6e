"""Exact values on a grid: the float64 numbers that the decimals of a table are read as."""

from decimal import Decimal

import numpy as np

from pushforward.tabular.schema.column import Column

_MOST_DIGITS = 12  # after the point; powers of ten up to 10^22 are exact in float64


def as_read(column: Column, x: np.ndarray) -> np.ndarray:
    """Round values x of a rounded or discrete column to those of its data: 0.3, not 0.30000000000000004.

    x is origin + k step with an integer k. If step and origin have d decimals, 12 at most, the number read from a
    decimal of d digits is round(10^d x) / 10^d, one division of integers.

    >>> as_read(Column("price", step=0.1), 0.1 * np.arange(1, 8))
    array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    """
    if column.kind == "discrete":
        return np.array(column.values)[nearest_index(x, np.array(column.values))]
    x = column.origin + column.step * np.round((x - column.origin) / column.step)
    digits = max(decimals(column.step), decimals(column.origin))
    if digits > _MOST_DIGITS or np.abs(x).max(initial=0.0) * 10.0**digits >= 2.0**53:
        return x
    return np.round(x * 10.0**digits) / 10.0**digits + 0.0  # no -0.0


def nearest_index(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the nearest of increasing values; of two at equal distance, of the upper one."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, x, side="right")


def decimals(value: float) -> int:
    """Number of digits after the point of the shortest decimal that is read as this number.

    >>> decimals(0.25), decimals(1e-3), decimals(500.0)
    (2, 3, 0)
    """
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
