"""Whether a flow is over-fitted: the gap of log-likelihood between training and held-out rows."""

import math

import numpy as np

from pushforward.diagnostics.row import Row, bounded_row

NAME = "over-fitting"
_STANDARD_ERRORS = 5.0
# Every fit has a gap of about the number of parameters over twice the number of rows. The bound is in nats for each
# dimension, because a share of the likelihood would depend on the units of the data.
_NATS, _NATS_EACH = 0.1, 0.05


def _factor(gap: float) -> str:
    """e^gap to two digits."""
    return f"{float(f'{math.exp(gap):.2g}'):,g}" if gap < math.log(1e6) else "more than a million"


def gap_row(train: np.ndarray, test: np.ndarray, dim: int) -> Row:
    """Mean log-density of training rows less that of held-out rows, in nats.

    Args:
        train: log-densities (m,) of rows the flow was fitted to.
        test: those of held-out rows (n,).
        dim: D.
    """
    train, test = (part[np.isfinite(part)].astype(np.float64) for part in (train, test))
    if min(len(train), len(test)) < 2:
        return Row(NAME, None, None, None, "The log-density is finite at fewer than two rows of a side.")
    gap = float(train.mean() - test.mean())
    error = math.hypot(*(part.std(ddof=1) / math.sqrt(len(part)) for part in (train, test)))
    bound = max(_NATS + _NATS_EACH * dim, _STANDARD_ERRORS * error)
    message = (
        f"{train.mean():.3f} nats a row on {len(train)} training rows, {test.mean():.3f} on {len(test)} others: a gap "
        f"of {gap:.3f} +- {error:.3f}."
    )
    return bounded_row(
        NAME, max(gap, 0.0), bound, f"A gap of {gap:.3f} +- {error:.3f} nats.", message, "the flow is over-fitted",
        "Fit with fewer --layers, a smaller --width or more rows; in Python with early stopping (validation=0.1) if it "
        "had none.",
        finding="The model has learned its training rows by heart: they are, in the geometric mean, "
        f"{_factor(gap)} times as likely as rows that it has not seen. Scores of training rows are too high.",
    )  # fmt: skip
