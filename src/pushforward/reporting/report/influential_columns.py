"""Which columns of many a corner plot shows: those in which data and samples differ most."""

import numpy as np

_MOST_ROWS = 5000  # are plenty to tell large differences from small ones


def telling(data: np.ndarray, samples: np.ndarray, count: int) -> list[int]:
    """Indices of `count` columns, in the table's order, in which data (n, d) and samples (m, d) differ most.

    A column differs by its marginal, sup |F_n - G_m|, or by a pair that it belongs to, half the difference of the
    rank correlations; the larger of both counts. At most 5,000 rows of either are looked at.

    Cost: d sorts, and two products of a (5000, d) matrix with itself.
    """
    rows, drawn = _some(data), _some(samples)
    width = rows.shape[1]
    if width <= count:
        return list(range(width))
    apart = np.array([_distance(rows[:, j], drawn[:, j]) for j in range(width)])
    pairs = 0.5 * np.abs(_rank_correlations(rows) - _rank_correlations(drawn))
    np.fill_diagonal(pairs, 0.0)
    worst = np.maximum(apart, pairs.max(axis=1))
    return sorted(np.argsort(-worst, kind="stable")[:count].tolist())


def _some(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(int)]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov's and Smirnov's distance of two samples."""
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    shares = (np.searchsorted(values, both, side="right") / len(values) for values in (a, b))
    first, second = shares
    return float(np.abs(first - second).max())


def _rank_correlations(rows: np.ndarray) -> np.ndarray:
    """Spearman's, (d, d); zero for a constant column."""
    from scipy.stats import rankdata

    order = rankdata(rows, axis=0)
    centred = order - order.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(length > 0, length, 1.0)
    return unit.T @ unit
