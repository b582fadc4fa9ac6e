"""Whether held-out rows are copies of training rows, exact or nearly so."""

import numpy as np

from pushforward.diagnostics.calibration import spread
from pushforward.diagnostics.row import Row, bounded_row

NAME = "copies of training rows"
_SHARE = 0.01
_STANDARD_ERRORS = 4.0
_NEAR = 0.005  # of the usual distance to the nearest other row
_MOST_ROWS, _MOST_DIM = 4096, 32
_FAULT = "held-out rows are copies of training rows"
_FIX = "Check rows that the flow was not fitted to; rows of one unit belong on one side of the split (groups)."


def copies_row(x: np.ndarray, train: np.ndarray, random: np.random.Generator) -> Row:
    """The share of rows x (n, D) next to a training row (m, D), less the share next to another row of x.

    If x and the training rows have one distribution, a row has an equal or very near one among the training rows as
    often as among as many others of x.
    """
    size = min(len(x) - 1, len(train))
    if size < 10:
        return Row(NAME, None, None, None, "Too few rows to compare.")
    exact = _equal_to_any(x, train)
    expected = _repeated_share(x) * min(1.0, len(train) / (len(x) - 1))
    value, what = float(exact.mean()) - expected, "equal to a training row"
    n = len(x)
    if x.shape[1] <= _MOST_DIM and value < 1:
        near, other, n = _near_shares(x, train, random)
        if near - other > value:
            value, what = near - other, "as good as equal to a training row"
    bound = _SHARE + _STANDARD_ERRORS * np.sqrt(_SHARE / n) + _STANDARD_ERRORS * np.sqrt(max(expected, 0) / n)
    return bounded_row(
        NAME, max(value, 0.0), float(bound), f"{exact.sum()} of {len(x)} rows are training rows.",
        f"{value:.1%} of {len(x)} rows are {what}, more than chance does.", _FAULT,
        _FIX,
        finding=f"{value:.1%} of {len(x):,} test rows are {what}, more than chance does: the test says little about "
        "new rows.",
        advice="Keep rows that belong together on one side of the test: --groups COLUMN.",
    )  # fmt: skip


def _equal_to_any(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Which rows are equal to one of the training rows (n,)."""
    train_bytes = {row.tobytes() for row in train + 0.0}  # -0 is 0
    return np.array([row.tobytes() in train_bytes for row in x + 0.0])


def _repeated_share(x: np.ndarray) -> float:
    """The share of rows that are equal to another row."""
    counts = np.unique(x, axis=0, return_counts=True)[1]
    return float(counts[counts > 1].sum() / len(x))


def _near_shares(x: np.ndarray, train: np.ndarray, random: np.random.Generator) -> tuple[float, float, int]:
    """Shares of rows very near to a training row, and to another of as many rows of x; the number of rows."""
    from scipy.spatial import KDTree

    size = min(len(x) // 2, len(train), _MOST_ROWS)
    centre, unit = spread(train)
    order = random.permutation(len(x))
    queries, others = ((x[part] - centre) / unit for part in (order[:size], order[size : 2 * size]))
    fitted = (train - centre) / unit
    if len(train) > 4 * _MOST_ROWS:
        fitted = fitted[random.permutation(len(train))[: 4 * _MOST_ROWS]]
    to_other = KDTree(others).query(queries)[0]
    to_train = KDTree(fitted).query(queries)[0]
    # the nearest of m training rows is nearer than that of `size` others: by (size / m)^(1/d) in d >= 1 dimensions
    usual = float(np.median(to_other)) * size / len(fitted)
    return float((to_train <= _NEAR * usual).mean()), float((to_other <= _NEAR * usual).mean()), size
