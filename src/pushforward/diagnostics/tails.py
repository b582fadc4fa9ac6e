"""Rows beyond the range of the base, and columns whose tails are heavier than those of the flow's samples."""

import math
import statistics

import numpy as np

from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.pareto import pareto_k
from pushforward.diagnostics.row import Row, bounded_row

REACH, TAILS = "data beyond the base", "tails of the columns"
# The probability that k of n rows lie beyond all of m draws is below (n / (n + m))^k: with m = 10 n and k = 7 it is
# 5e-8, for each of two ways to order points.
TIMES = 10
_ALLOWED = 6
_SHARE = 3e-3  # in healthy fits it is up to a thousandth
_HEAVY = 0.25  # the fourth moment does not exist; lighter tails do no harm
_SHOWN = 5
_FALSE_ALARM = 1e-6
_FEWEST = 200  # below it the tail of a column is some dozen rows


def reach_row(
    z: np.ndarray, log_probs: np.ndarray, samples: np.ndarray, sample_log_probs: np.ndarray, numbers: np.ndarray,
    x: np.ndarray, columns: Columns,
) -> Row:  # fmt: skip
    """Latents of data beyond all of ten times as many samples of the base, by distance or by log-density.

    Args:
        z: latents (n, D).
        log_probs: their log-densities under the base (n,).
        samples: of the base (m, D), m = 10 n.
        sample_log_probs: their log-densities (m,).
        numbers: of the rows (n,), as the caller counts them.
        x: the rows (n, D).
        columns: their names.
    """
    low, centre, high = np.quantile(samples, [0.16, 0.5, 0.84], axis=0)
    unit = np.where(high > low, (high - low) / 2, 1.0)
    size, allowed_size = (np.abs((part - centre) / unit).max(1) for part in (z, samples))
    further, rarer = size > allowed_size.max(), log_probs < sample_log_probs.min()
    beyond = further | rarer
    n, count = len(z), max(int(further.sum()), int(rarer.sum()))
    bound = max(_ALLOWED, _SHARE * n) / n
    furthest = np.flatnonzero(beyond)[np.argsort(-size[beyond])][:_SHOWN]
    named = [str(int(numbers[row])) for row in furthest] + ["..."] * bool(beyond.sum() > _SHOWN)
    which = f", at row {', '.join(named)}"
    message = (
        f"{count} of {n} rows lie beyond all of {len(samples)} draws of the base{which if count else ''}; the largest "
        f"|z| is {size.max():.3g}, of the draws {allowed_size.max():.3g}."
    )
    if count == 0:
        message = f"None; |z| up to {size.max():.3g}, of draws {allowed_size.max():.3g}."
    furthest_in = int(np.argmax(np.abs((z[np.argmax(size)] - centre) / unit)))
    related, column = columns.most_related(z[:, furthest_in], x) if count / n > bound else ("", 0)
    return bounded_row(
        REACH, count / n, bound, message, message, "data lie beyond the range of the base",
        "Look at these rows; if they are correct, fit again with the column declared heavy (--column NAME=heavy). In "
        "Python a base of heavier tails (base=StudentT) or a HeavyTails layer outside does the same.",
        finding=f"{count:,} of {n:,} rows ({count / n:.1%}; {', '.join(named)}) lie further out than any of "
        f"{len(samples):,} rows drawn from the model, the furthest in {related}: they are scored as next to "
        "impossible.",
        advice="Look at these rows first. If they are right, declare the column heavy: "
        f"{columns.declaration(column, 'heavy')}.",
    )  # fmt: skip


def tails_row(x: np.ndarray, samples: np.ndarray, columns: Columns) -> Row:
    """The Pareto shape k of each column's tail less that of the flow's samples, in standard errors.

    A tail like t^(-1/k) has the shape k; an exponential one has 0; moments exist up to order 1/k. With M values in the
    tail the standard error is about (1 + k) / sqrt(M). x and samples are (n, D).
    """
    if len(x) < _FEWEST:
        return Row(TAILS, None, None, None, f"{len(x)} rows are too few for their tails; {_FEWEST} would do.")
    shapes = np.array([[_shape(part[:, column]) for part in (x, samples)] for column in range(x.shape[1])])
    known = np.isfinite(shapes).all(1)
    if not known.any():
        return Row(TAILS, None, None, None, "The columns have too few distinct values in the tails.")
    errors = [
        (1 + np.maximum(shapes[:, side], -0.5)) / math.sqrt(_in_tail(len(part)))
        for side, part in enumerate((x, samples))
    ]
    bound = statistics.NormalDist().inv_cdf(1 - _FALSE_ALARM / x.shape[1])
    heavy = known & (shapes[:, 0] > _HEAVY)
    if not heavy.any():
        return Row(TAILS, 0.0, bound, True, f"None is heavy: k up to {shapes[known, 0].max():.2f}.")
    differences = np.where(heavy, (shapes[:, 0] - shapes[:, 1]) / np.hypot(*errors), -np.inf)
    worst = int(differences.argmax())
    value, (k, sample_k) = max(float(differences[worst]), 0.0), shapes[worst]
    message = (
        f"By Pareto fits the tail of {columns[worst]} has the shape {k:.2f}, that of the flow's samples "
        f"{sample_k:.2f}: a difference of {value:.1f} standard errors."
    )
    return bounded_row(
        TAILS, value, bound, f"Worst: {columns[worst]}, k {k:.2f} against {sample_k:.2f}.", message,
        f"the tails of {columns[worst]} are heavier than the flow's",
        "Fit again with the column declared heavy (--column NAME=heavy), or positive if all its values are. In Python "
        "a base of heavier tails (base=StudentT) or a HeavyTails layer outside does the same.",
        finding=f"{columns[worst]} has far more extreme values than the model draws: such rows are scored as next to "
        "impossible, and samples lack them.",
        advice=f"Declare the column heavy ({columns.declaration(worst, 'heavy')}), or positive if all its values are.",
    )  # fmt: skip


def _shape(values: np.ndarray) -> float:
    """The Pareto shape of |x - median|."""
    with np.errstate(divide="ignore"):
        return pareto_k(np.log(np.abs(values - np.median(values))))


def _in_tail(n: int) -> float:
    return min(0.2 * n, 3.0 * math.sqrt(n))
