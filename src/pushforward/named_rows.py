"""Rows with the names of their columns: as much of a data frame as checks and errors look at."""

import dataclasses
from collections.abc import Sequence

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
