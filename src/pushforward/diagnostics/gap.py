"""Whether a flow learnt its training rows by heart."""

import math

import numpy as np

from pushforward.diagnostics.certificate import Row

NAME = "over-fitting"
_STANDARD_ERRORS = 5.0
# A gap of the fit's own is unavoidable, about the number of parameters over twice that of the rows. Nats for each
# dimension, not a share of the likelihood, which depends on the units of the data.
_NATS, _NATS_EACH = 0.1, 0.05


def gap_row(train: np.ndarray, held: np.ndarray, dim: int) -> Row:
    """Mean log-density of training rows less that of held-out rows, in nats.

    Args:
        train: log-densities (m,) of rows the flow was fitted to.
        held: those of other rows (n,).
        dim: D.
    """
    train, held = (part[np.isfinite(part)].astype(np.float64) for part in (train, held))
    if min(len(train), len(held)) < 2:
        return Row(NAME, None, None, None, "The log-density is finite at fewer than two rows of a side.")
    gap = float(train.mean() - held.mean())
    error = math.hypot(*(part.std(ddof=1) / math.sqrt(len(part)) for part in (train, held)))
    bound = max(_NATS + _NATS_EACH * dim, _STANDARD_ERRORS * error)
    words = (
        f"{train.mean():.3f} nats a row on {len(train)} training rows, {held.mean():.3f} on {len(held)} others: a gap "
        f"of {gap:.3f} +- {error:.3f}."
    )
    if gap <= bound:
        return Row(NAME, max(gap, 0.0), bound, True, f"A gap of {gap:.3f} +- {error:.3f} nats.")
    return Row(
        NAME, gap, bound, False, words, "the flow is over-fitted",
        "Fit with fewer --layers, a smaller --width or more rows; in Python with early stopping (validation=0.1) if it "
        "had none.",
    )  # fmt: skip
