"""Rounding errors of a flow's densities and samples: the same rows in float32 and in float64."""

import math
from typing import Any

import jax
import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.float64 import in_float64
from pushforward.diagnostics.batches import forward, log_prob
from pushforward.diagnostics.row import Row

NAME = "float32 against float64"
# One per cent of a density: less than the error of any mean over ten thousand rows, and without effect on the ranking
# of rows. Errors of many dimensions add up, so above a hundred dimensions 1e-4 nats for each are allowed.
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
    forward_values: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None,
    share_without_digits: float,
) -> Row:
    """The 99 % quantile of the difference of log-densities or of samples, whichever is nearer its bound.

    Args:
        flow: the flow in float32.
        rows: (n, *shape).
        contexts: one for each row, or None.
        forward_values: latents (m, *shape), T of them (m, D), and their contexts; None without a base.
        share_without_digits: share of points at which the condition number leaves no digit. Above 0 the test is not
            made: the conditioning is the cause.
    """
    if share_without_digits > 0:
        return Row(NAME, None, None, None, "The condition number is beyond its bound: no digit is left to compare.")
    dim = math.prod(flow.shape)
    n = max(8, min(_MAX_ROWS, _MAX_NUMBERS // dim))
    # rows in their original precision: rounding the inputs to float32 is part of its error
    some = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int))
    exact_rows = np.asarray(rows[some], np.float64)
    some_contexts = None if contexts is None else contexts[some]
    with jax.enable_x64(True):
        wide = in_float64(flow)
        truth = log_prob(wide, exact_rows, some_contexts)
    log_probs = log_prob(flow, exact_rows, some_contexts).astype(np.float64)
    known = np.isfinite(truth)
    lost = int((known & ~np.isfinite(log_probs)).sum())
    errors = np.abs(log_probs - truth)[known & np.isfinite(log_probs)]
    if len(errors) == 0 and not lost:
        return Row(NAME, None, None, None, "The log-density is finite at no row, in float64 either.")
    bound = max(_NATS, _NATS_EACH * dim)
    worst = float(np.percentile(np.concatenate([errors, np.full(lost, np.finfo(np.float64).max)]), _SHARE))
    message = (
        f"Log-densities differ by {_median(errors):.1g} nats (median), {_shown(worst)} (99 of 100 rows are closer)"
    )
    value, sample_error = worst, None
    if forward_values is not None:
        sample_error = _sample_error(wide, *forward_values)
        message += f"; samples by {_shown(sample_error)} deviations"
        value = max(worst, sample_error / _DEVIATIONS * bound)
    if value <= bound:
        suffix = f", {_shown(sample_error)} deviations" if sample_error is not None else ""
        return Row(NAME, value, bound, True, f"99 of 100 within {_shown(worst)} nats{suffix}.")
    value = min(value, np.finfo(np.float64).max)
    return Row(
        NAME, value, bound, False, message + ".", "float32 is too coarse for this flow",
        "Compute densities and samples in double precision (the command line does; in Python pf.cast to float64 under "
        "jax.enable_x64(True)), or subtract a large offset from the column before fitting.",
    )  # fmt: skip


def _sample_error(wide: Any, z: np.ndarray, x: np.ndarray, contexts: np.ndarray | None) -> float:
    """The 99 % quantile of the error of samples x = T(z), in deviations of the coordinate."""
    with jax.enable_x64(True):
        truth = forward(wide, z, contexts).reshape(len(z), -1)
    good = np.isfinite(truth).all(1)
    if not good.any():
        return 0.0
    low, high = np.quantile(truth[good], [0.16, 0.84], axis=0)  # two deviations of a normal, whatever the tails
    unit = np.where(high > low, (high - low) / 2, 1.0)
    error = np.abs(x[good] - truth[good]) / unit
    error = np.where(np.isfinite(error), error, np.finfo(np.float64).max)
    return float(np.percentile(error.max(1), _SHARE))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _shown(value: float) -> str:
    return f"{value:.1g}" if value < 1e30 else "more than any bound: float32 overflows"
