"""Moves rows that rounding has put on the edge of a flow's support."""

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.diagnostics.batches import log_prob
from pushforward.numerics.programs import flatten, float_type

_UNITS = 2.0  # in the last place


def nudge_into_support(
    flow: AbstractDistribution,
    rows: np.ndarray,
    contexts: np.ndarray | None,
    log_probs: np.ndarray,
    typical: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Moves rows without density to a neighbouring point that has one. Returns rows, log-densities and the count moved.

    A value next to an end of the support, such as 1 - 1e-12 of (0, 1), is rounded to that end in the flow's dtype, and
    has no density there. It is moved by two units in the last place towards the middle.

    Args:
        flow: defines the support.
        rows: (n, *shape).
        contexts: one, or one for each row, or None.
        log_probs: log-densities (n,) of the rows.
        typical: rows (m, *shape) of the same kind; their median is the middle.
    """
    bad = np.flatnonzero(~np.isfinite(log_probs) & np.isfinite(rows).reshape(len(rows), -1).all(1))
    if not len(bad):
        return rows, log_probs, 0
    dtype = float_type(flatten(flow)[0])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        start = rows[bad].astype(dtype)
        step = _UNITS * np.maximum(np.spacing(np.abs(start)), np.finfo(dtype).tiny)
        middle = np.median(np.where(np.isfinite(typical), typical, 0.0), axis=0).astype(dtype)
        moved = start + np.sign(middle - start) * step
    bad_contexts = (
        contexts
        if contexts is None or len(contexts) == 1
        else np.resize(contexts, (len(rows), *contexts.shape[1:]))[bad]
    )
    moved_log_probs = log_prob(flow, moved, bad_contexts)
    good = np.isfinite(moved_log_probs)
    if not good.any():
        return rows, log_probs, 0
    rows, log_probs = rows.copy(), log_probs.copy()
    rows[bad[good]], log_probs[bad[good]] = moved[good], moved_log_probs[good]
    return rows, log_probs, int(good.sum())
