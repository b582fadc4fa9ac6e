"""Rows with the names of their columns: as much of a data frame as checks and errors look at; and their numbers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class NamedRows:
    """Rows (n, d) with the names of their columns, if there are any, so that what is said of a column calls it by name.

    Attributes:
        rows: (n, d).
        columns: d names, or none.
        numbers: of the rows, (n,), as their reader counts them; None counts from 0.

    >>> NamedRows(np.zeros((2, 1)), ["a"]).to_numpy().shape
    (2, 1)
    """

    rows: np.ndarray
    columns: Sequence[str]
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def to_numpy(self) -> np.ndarray:
        """The rows."""
        return self.rows


def unframed(value: Any) -> Any:
    """What a frame or series holds as an array, a missing number being NaN; anything else as it is.

    Columns of pandas' own nullable types are numbers too, which by themselves become an array of objects.
    """
    if not hasattr(value, "to_numpy"):
        return value
    array = value.to_numpy()
    if np.asarray(array).dtype.kind != "O":
        return array
    kinds = {getattr(kind, "kind", "O") for kind in np.atleast_1d(np.asarray(getattr(value, "dtypes", ()), object))}
    return value.to_numpy(dtype=np.float64, na_value=np.nan) if kinds and kinds <= set("fiub") else array
