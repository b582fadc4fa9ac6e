"""Tests of residual blocks: their certified Lipschitz bound, and estimated against exact log-determinants."""

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.state import certify, reseed
from pushforward.diagnostics.batches import log_prob
from pushforward.diagnostics.row import Row, bounded_row
from pushforward.networks import bounds_in

_N_SEEDS = 8
_STANDARD_ERRORS = 5.0


def lipschitz_rows(flow: AbstractDistribution) -> list[Row]:
    """One row for all residual blocks of a flow; no row if it has none."""
    stored = bounds_in(flow)
    if not stored:
        return []
    certified, stored = (
        np.concatenate([np.asarray(bound).reshape(-1) for bound in bounds])
        for bounds in (bounds_in(certify(flow)), stored)
    )
    message = f"{len(certified)} residual blocks, certified {certified.min():.4g} to {certified.max():.4g}"
    ok = bool((certified < 1).all() and (stored < 1).all())
    value = float(max(certified.max(), stored.max()))
    if ok:
        return [Row("Lipschitz bound below one", value, 1.0, True, message + ".")]
    return [
        Row(
            "Lipschitz bound below one", value, 1.0, False, f"{message}, stored up to {stored.max():.4g}.",
            "a residual block is no contraction", "Call pushforward.core.state.finalise, which rescales weights.",
        )
    ]  # fmt: skip


def estimate_row(
    flow: AbstractDistribution, exact: AbstractDistribution, x: np.ndarray, contexts: np.ndarray | None
) -> Row:
    """The mean over rows and seeds of estimated less exact log-densities, in standard errors."""
    truth = log_prob(exact, x, contexts)
    errors = np.stack([log_prob(reseed(flow, seed), x, contexts) - truth for seed in range(_N_SEEDS)])
    errors = errors[:, np.isfinite(errors).all(0)].astype(np.float64)
    if errors.size < 2:
        return Row("estimated log-det", None, _STANDARD_ERRORS, None, "No finite log-density to compare.")
    spread, number = errors.std(ddof=1), errors.size
    value = abs(errors.mean()) / (spread / number**0.5) if spread > 0 else 0.0
    message = (
        f"estimated less exact log-densities: {errors.mean():.2g} on average, one estimate errs by {spread:.2g} nats"
    )
    return bounded_row(
        "estimated log-det", float(value), _STANDARD_ERRORS, message + ".", message + ".",
        "the estimated log-determinant is biased",
        "Use the exact determinant, or an estimator that is not truncated.",
    )  # fmt: skip
