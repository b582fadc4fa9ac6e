"""Errors for values that do not fit the type of their column; each names the column, the value and the row."""

import numpy as np

from pushforward.errors import DataError
from pushforward.tabular.schema.column import Column

_LARGEST = 1e30


def refuse_constant(column: Column, x: np.ndarray) -> None:
    """Raise a DataError if all values are equal: such a column has no density."""
    if len(x) and (x == x[0]).all():
        raise DataError(
            f"column {column.name!r}: {x[0]:g} in all {len(x)} rows, so it has no density. Leave it out, or declare it "
            "constant: it is then checked in new rows and filled in again in samples."
        )


def refuse_extremes(column: Column, x: np.ndarray) -> None:
    """Raise a DataError for values that float32 (up to 3e38) cannot compute with: their squares must be finite."""
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
    """Raise a DataError that names the first of the `bad` values (n,), if there is one."""
    indices = np.flatnonzero(bad)
    if indices.size:
        raise DataError(
            f"column {column.name!r}: expected {expected}, got {x[indices[0]]:g} at row "
            f"{number_of(numbers, indices[0])} ({indices.size} of {len(x)} rows). "
            f"{suggestion or 'Correct these rows, or declare the column otherwise.'}"
        )


def number_of(numbers: np.ndarray | None, index: np.integer) -> int:
    """The number of the row at an index; the index itself if rows have no numbers."""
    return int(index if numbers is None else numbers[index])
