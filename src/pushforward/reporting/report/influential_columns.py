"""Selects the columns of a corner plot: those in which data and samples differ most."""

import numpy as np

from pushforward.diagnostics.calibration import distances

_MAX_ROWS = 5000  # enough to rank the differences


def influential_columns(data: np.ndarray, samples: np.ndarray, count: int) -> list[int]:
    """Indices of `count` columns, in the table's order, in which data (n, d) and samples (m, d) differ most.

    The difference of a column is the maximum of sup |F_n - G_m| of its marginal and of half the differences of its
    rank correlations with the others. At most 5,000 rows of each are used.

    Cost: d sorts, and two products of a (5000, d) matrix with itself.
    """
    rows, model_rows = _thin(data), _thin(samples)
    width = rows.shape[1]
    if width <= count:
        return list(range(width))
    pair_distances = 0.5 * np.abs(rank_correlations(rows) - rank_correlations(model_rows))
    np.fill_diagonal(pair_distances, 0.0)
    largest = np.maximum(distances(rows, model_rows), pair_distances.max(axis=1))
    return sorted(np.argsort(-largest, kind="stable")[:count].tolist())


def _thin(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _MAX_ROWS)).astype(int)]


def rank_correlations(rows: np.ndarray) -> np.ndarray:
    """Spearman's rank correlations (d, d); zero for a constant column."""
    from scipy.stats import rankdata

    order = rankdata(rows, axis=0)
    centred = order - order.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(length > 0, length, 1.0)
    return unit.T @ unit
