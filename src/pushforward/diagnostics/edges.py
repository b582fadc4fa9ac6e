"""Rows that rounding alone puts at the edge of a flow's support."""

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import score
from pushforward.numerics.programs import flatten, float_type

_UNITS = 2.0  # in the last place


def inside(
    flow: AbstractDistribution,
    rows: np.ndarray,
    contexts: np.ndarray | None,
    scores: np.ndarray,
    typical: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows and scores, of rows without density those next to them, if these have one; and how many were moved.

    A value next to an end of the support, such as 1 - 1e-12 of (0, 1), is rounded to that end in the flow's type of
    numbers, and has no density there. It is moved by two units in the last place towards the middle.

    Args:
        flow: of whose support is spoken.
        rows: (n, *shape).
        contexts: one, or one for each row, or None.
        scores: log-densities (n,) of the rows.
        typical: rows (m, *shape) of the same kind; their median is the middle.
    """
    bad = np.flatnonzero(~np.isfinite(scores) & np.isfinite(rows).reshape(len(rows), -1).all(1))
    if not len(bad):
        return rows, scores, 0
    dtype = float_type(flatten(flow)[0])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        start = rows[bad].astype(dtype)
        step = _UNITS * np.maximum(np.spacing(np.abs(start)), np.finfo(dtype).tiny)
        middle = np.median(np.where(np.isfinite(typical), typical, 0.0), axis=0).astype(dtype)
        moved = start + np.sign(middle - start) * step
    given = (
        contexts
        if contexts is None or len(contexts) == 1
        else np.resize(contexts, (len(rows), *contexts.shape[1:]))[bad]
    )
    found = score(flow, moved, given)
    good = np.isfinite(found)
    if not good.any():
        return rows, scores, 0
    rows, scores = rows.copy(), scores.copy()
    rows[bad[good]], scores[bad[good]] = moved[good], found[good]
    return rows, scores, int(good.sum())
