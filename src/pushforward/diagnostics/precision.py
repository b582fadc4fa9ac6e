"""How much of a flow's densities and samples is rounding: the same rows in the flow's own numbers and in float64."""

import math
from typing import Any

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import cast
from pushforward.diagnostics.batches import forward, score
from pushforward.diagnostics.certificate import Row

NAME = "float32 against float64"
# One per cent of a density: less than the error of any mean over ten thousand rows, and what no ranking of rows turns
# on. Errors of many dimensions add up, so of events longer than a hundred 1e-4 nats for each are allowed.
_NATS = 0.01
_NATS_EACH = 1e-4
_DEVIATIONS = 0.01
_SHARE = 99.0
_MAX_ROWS = 1000
_MAX_NUMBERS = 1 << 17


def precision_row(
    flow: AbstractDistribution,
    rows: np.ndarray,
    contexts: np.ndarray | None,
    images: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None,
    blurred: float,
) -> Row:
    """The difference that 99 of 100 rows stay below, of log-densities and of samples, whichever is nearer its bound.

    Args:
        flow: what to score and draw with, in float32.
        rows: (n, *shape).
        contexts: one for each row, or None.
        images: latents (m, *shape), what the flow makes of them (m, D), and their contexts; None without a base.
        blurred: the share of points where the condition number leaves no digit, which is then the disease and this its
            symptom.
    """
    if blurred > 0:
        return Row(NAME, None, None, None, "The condition number is beyond its bound: no digit is left to compare.")
    dim = math.prod(flow.shape)
    n = max(8, min(_MAX_ROWS, _MAX_NUMBERS // dim))
    # float64 sees the rows as they were given: what float32 loses in reading them is lost to its density too
    some = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int))
    exact_rows = np.asarray(rows[some], np.float64)
    given = None if contexts is None else contexts[some]
    with jax.enable_x64(True):
        wide = cast(flow, np.float64)
        truth = score(wide, exact_rows, given)
    found = score(flow, exact_rows, given).astype(np.float64)
    known = np.isfinite(truth)
    lost = int((known & ~np.isfinite(found)).sum())
    nats = np.abs(found - truth)[known & np.isfinite(found)]
    if len(nats) == 0 and not lost:
        return Row(NAME, None, None, None, "The log-density is finite at no row, in float64 either.")
    bound = max(_NATS, _NATS_EACH * dim)
    worst = float(np.percentile(np.concatenate([nats, np.full(lost, np.finfo(np.float64).max)]), _SHARE))
    words = f"Log-densities differ by {_median(nats):.1g} nats (median), {_shown(worst)} (99 of 100 rows are closer)"
    value, moved = worst, None
    if images is not None:
        moved = _moved(wide, *images)
        words += f"; samples by {_shown(moved)} deviations"
        value = max(worst, moved / _DEVIATIONS * bound)
    if value <= bound:
        moved_by = f", {_shown(moved)} deviations" if moved is not None else ""
        return Row(NAME, value, bound, True, f"99 of 100 within {_shown(worst)} nats{moved_by}.")
    value = min(value, np.finfo(np.float64).max)
    return Row(
        NAME, value, bound, False, words + ".", "float32 is too coarse for this flow",
        "Score and draw in double precision (the command line does; in Python pf.cast to float64 under "
        "jax.enable_x64(True)), or subtract a large offset from the column before fitting.",
    )  # fmt: skip


def _moved(wide: Any, z: np.ndarray, found: np.ndarray, contexts: np.ndarray | None) -> float:
    """What 99 of 100 samples' coordinates move by, in deviations of the coordinate."""
    with jax.enable_x64(True):
        truth = forward(wide, z, contexts).reshape(len(z), -1)
    good = np.isfinite(truth).all(1)
    if not good.any():
        return 0.0
    low, high = np.quantile(truth[good], [0.16, 0.84], axis=0)  # two deviations of a normal, whatever the tails
    unit = np.where(high > low, (high - low) / 2, 1.0)
    off = np.abs(found[good] - truth[good]) / unit
    off = np.where(np.isfinite(off), off, np.finfo(np.float64).max)
    return float(np.percentile(off.max(1), _SHARE))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _shown(value: float) -> str:
    return f"{value:.1g}" if value < 1e30 else "anything: float32 overflows"
