"""What is tested of residual blocks alone: their certified bound, and estimated log-determinants against exact ones."""

import numpy as np

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.state import certify, reseed
from pushforward.diagnostics.batches import score
from pushforward.diagnostics.certificate import Row
from pushforward.networks import bounds_in

_N_SEEDS = 8
_STANDARD_ERRORS = 5.0


def lipschitz_rows(flow: AbstractDistribution) -> list[Row]:
    """One row for all residual blocks of a flow, none where it has none."""
    stored = bounds_in(flow)
    if not stored:
        return []
    found = np.concatenate([np.asarray(bound).reshape(-1) for bound in bounds_in(certify(flow))])
    told = np.concatenate([np.asarray(bound).reshape(-1) for bound in stored])
    words = f"{len(found)} residual blocks, certified {found.min():.4g} to {found.max():.4g}"
    ok = bool((found < 1).all() and (told < 1).all())
    value = float(max(found.max(), told.max()))
    if ok:
        return [Row("Lipschitz bound below one", value, 1.0, True, words + ".")]
    return [
        Row(
            "Lipschitz bound below one", value, 1.0, False, f"{words}, stored up to {told.max():.4g}.",
            "a residual block is no contraction", "Call pushforward.core.state.finalise, which rescales weights.",
        )
    ]  # fmt: skip


def estimate_row(
    flow: AbstractDistribution, exact: AbstractDistribution, x: np.ndarray, contexts: np.ndarray | None
) -> Row:
    """The mean over rows and seeds of estimated less exact scores, in standard errors."""
    truth = score(exact, x, contexts)
    off = np.stack([score(reseed(flow, seed), x, contexts) - truth for seed in range(_N_SEEDS)])
    off = off[:, np.isfinite(off).all(0)].astype(np.float64)
    if off.size < 2:
        return Row("estimated log-det", None, _STANDARD_ERRORS, None, "No finite log-density to compare.")
    spread, number = off.std(ddof=1), off.size
    value = abs(off.mean()) / (spread / number**0.5) if spread > 0 else 0.0
    words = f"estimated less exact log-densities: {off.mean():.2g} on average, one estimate errs by {spread:.2g} nats"
    if value <= _STANDARD_ERRORS:
        return Row("estimated log-det", float(value), _STANDARD_ERRORS, True, words + ".")
    return Row(
        "estimated log-det", float(value), _STANDARD_ERRORS, False, words + ".",
        "the estimated log-determinant is biased",
        "Score by the exact determinant, or with an estimator that is not truncated.",
    )  # fmt: skip
