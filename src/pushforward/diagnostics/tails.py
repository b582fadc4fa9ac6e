"""Rows further out than the flow allows, and columns whose tails are heavier than those of its samples."""

import math
import statistics

import numpy as np

from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.pareto import pareto_k

REACH, TAILS = "data beyond the base", "tails of the columns"
# That k of n rows lie beyond all of m draws has a probability below (n / (n + m))^k: with m = 10 n and k = 7 it is
# 5e-8, for each of two ways to order points.
TIMES = 10
_ALLOWED = 6
_SHARE = 3e-3  # what healthy fits have there is up to a thousandth
_HEAVY = 0.25  # the fourth moment does not exist; lighter tails do no harm
_SHOWN = 5
_FALSE_ALARM = 1e-6
_FEWEST = 200  # below it the tail of a column is some dozen rows


def reach_row(
    z: np.ndarray, scores: np.ndarray, drawn: np.ndarray, drawn_scores: np.ndarray, numbers: np.ndarray
) -> Row:
    """Latents of data beyond every one of ten times as many draws of the base, by distance or by log-density.

    Args:
        z: latents (n, D) with their log-densities under the base (n,).
        scores: of z.
        drawn: draws of the base (m, D), m = 10 n, with theirs (m,).
        drawn_scores: of the draws.
        numbers: of the rows (n,), as the caller counts them.
    """
    low, centre, high = np.quantile(drawn, [0.16, 0.5, 0.84], axis=0)
    unit = np.where(high > low, (high - low) / 2, 1.0)
    size, allowed_size = (np.abs((part - centre) / unit).max(1) for part in (z, drawn))
    further, rarer = size > allowed_size.max(), scores < drawn_scores.min()
    beyond = further | rarer
    n, count = len(z), max(int(further.sum()), int(rarer.sum()))
    bound = max(_ALLOWED, _SHARE * n) / n
    furthest = np.flatnonzero(beyond)[np.argsort(-size[beyond])][:_SHOWN]
    named = [str(int(numbers[row])) for row in furthest] + ["..."] * bool(beyond.sum() > _SHOWN)
    which = f", at row {', '.join(named)}"
    words = (
        f"{count} of {n} rows lie beyond all of {len(drawn)} draws of the base{which if count else ''}; the largest "
        f"|z| is {size.max():.3g}, of the draws {allowed_size.max():.3g}."
    )
    if count == 0:
        words = f"None; |z| up to {size.max():.3g}, of draws {allowed_size.max():.3g}."
    if count / n <= bound:
        return Row(REACH, count / n, bound, True, words)
    return Row(
        REACH, count / n, bound, False, words, "data lie beyond what the base allows",
        "Look at these rows; if they are meant, fit again with the column declared heavy (--column NAME=heavy). In "
        "Python a base of heavier tails (base=StudentT) or a HeavyTails layer outside does the same.",
    )  # fmt: skip


def tails_row(x: np.ndarray, drawn: np.ndarray, columns: Columns) -> Row:
    """The Pareto shape k of each column's tail less that of the flow's samples, in standard errors: x and drawn (n, D).

    A tail like t^(-1/k) has the shape k; 0 is an exponential one, 1/k counts the moments. Of M values in the tail
    the estimate's error is about (1 + k) / sqrt(M).
    """
    if len(x) < _FEWEST:
        return Row(TAILS, None, None, None, f"{len(x)} rows are too few for their tails; {_FEWEST} would do.")
    shapes = np.array([[_shape(part[:, column]) for part in (x, drawn)] for column in range(x.shape[1])])
    known = np.isfinite(shapes).all(1)
    if not known.any():
        return Row(TAILS, None, None, None, "The columns have too few values of their own in the tails.")
    errors = [
        (1 + np.maximum(shapes[:, side], -0.5)) / math.sqrt(_in_tail(len(part))) for side, part in enumerate((x, drawn))
    ]
    bound = statistics.NormalDist().inv_cdf(1 - _FALSE_ALARM / x.shape[1])
    heavy = known & (shapes[:, 0] > _HEAVY)
    if not heavy.any():
        return Row(TAILS, 0.0, bound, True, f"None is heavy: k up to {shapes[known, 0].max():.2f}.")
    off = np.where(heavy, (shapes[:, 0] - shapes[:, 1]) / np.hypot(*errors), -np.inf)
    worst = int(off.argmax())
    value, (mine, theirs) = max(float(off[worst]), 0.0), shapes[worst]
    if value <= bound:
        return Row(TAILS, value, bound, True, f"Worst: {columns[worst]}, k {mine:.2f} against {theirs:.2f}.")
    words = (
        f"By Pareto fits the tail of {columns[worst]} has the shape {mine:.2f}, of the flow's samples {theirs:.2f}: a "
        f"difference of {value:.1f} standard errors."
    )
    return Row(
        TAILS, value, bound, False, words, f"the tails of {columns[worst]} are heavier than the flow's",
        "Fit again with the column declared heavy (--column NAME=heavy), or positive if all its values are. In Python "
        "a base of heavier tails (base=StudentT) or a HeavyTails layer outside does the same.",
    )  # fmt: skip


def _shape(values: np.ndarray) -> float:
    """Of |x - median|, whose logarithms are what `pareto_k` takes."""
    with np.errstate(divide="ignore"):
        return pareto_k(np.log(np.abs(values - np.median(values))))


def _in_tail(n: int) -> float:
    return min(0.2 * n, 3.0 * math.sqrt(n))
