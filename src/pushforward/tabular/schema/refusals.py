"""Errors for columns whose values cannot be what the column holds; each names the column, the value and the row."""

import numpy as np

from pushforward.errors import DataError
from pushforward.tabular.schema.column import Column

_LARGEST = 1e30


def refuse_constant(column: Column, x: np.ndarray) -> None:
    """A column of one value has no density."""
    if len(x) and (x == x[0]).all():
        raise DataError(
            f"column {column.name!r}: {x[0]:g} in all {len(x)} rows, so it has no density. Leave it out, or declare it "
            "constant: it is then checked in new rows and filled in again in samples."
        )


def refuse_extremes(column: Column, x: np.ndarray) -> None:
    """Flows compute in float32, which ends at 3e38, and squares must stay numbers."""
    with np.errstate(over="ignore"):
        largest, spread = float(np.abs(x).max(initial=0.0)), float(np.ptp(x))
    if largest > _LARGEST or spread < 1 / _LARGEST:
        raise DataError(
            f"column {column.name!r}: expected values up to {_LARGEST:g} that differ by {1 / _LARGEST:g} or more, got "
            f"values up to {largest:.3g} that differ by {spread:.3g}: write the column in another unit."
        )


def refuse(
    column: Column, x: np.ndarray, bad: np.ndarray, expected: str, numbers: np.ndarray | None,
    suggestion: str | None = None,
) -> None:  # fmt: skip
    """Name the first of the `bad` values (n,), if there is one, what was expected, and what to do."""
    places = np.flatnonzero(bad)
    if places.size:
        raise DataError(
            f"column {column.name!r}: expected {expected}, got {x[places[0]]:g} at row {number_of(numbers, places[0])} "
            f"({places.size} of {len(x)} rows). {suggestion or 'Correct these rows, or declare the column otherwise.'}"
        )


def number_of(numbers: np.ndarray | None, place: np.integer) -> int:
    """What a row at an index is called: its own number, or the index where there are none."""
    return int(place if numbers is None else numbers[place])
