"""Values that many rows share and the flow's samples do not: zeros, limits, rounded numbers."""

import math
import statistics

import numpy as np

from pushforward.diagnostics.certificate import Row
from pushforward.diagnostics.inputs import Columns

NAME = "values that repeat"
_FALSE_ALARM = 1e-3
# No density has a mass at a value: a hundredth of the rows is one. Where the samples have one too, its size may be off.
_NEW, _KNOWN = 0.01, 0.03
_FEWEST = 5
_SHOWN = 3


def atoms_row(x: np.ndarray, drawn: np.ndarray, columns: Columns) -> Row:
    """The largest share of rows at one value of a column, less that of the samples, beyond what chance does.

    Args:
        x: rows (n, D), in the flow's type of numbers.
        drawn: samples (m, D).
        columns: their names.
    """
    n, m = len(x), len(drawn)
    worst, found = -math.inf, None
    for column in range(x.shape[1]):
        values, counts = np.unique(x[:, column], return_counts=True)
        if counts.max() < _FEWEST:
            continue
        theirs = np.sort(drawn[:, column])
        share = counts / n
        own = (np.searchsorted(theirs, values, "right") - np.searchsorted(theirs, values, "left")) / m
        level = statistics.NormalDist().inv_cdf(1 - _FALSE_ALARM / (x.shape[1] * len(values)))
        pooled = (counts + own * m) / (n + m)
        chance = level * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) + _FEWEST / n
        bound = np.maximum(chance, np.where(own > 0, _KNOWN, _NEW))
        over = np.abs(share - own) / bound
        if over.max() > worst:
            worst = float(over.max())
            at = int(over.argmax())
            found = column, values, share, own, at, float(bound[at]), int((over > 1).sum())
    if found is None:
        return Row(NAME, 0.0, _NEW, True, f"No value of a column is that of {_FEWEST} rows or more.")
    column, values, share, own, at, bound_at, n_over = found
    value, name = float(abs(share[at] - own[at])), columns[column]
    words = f"{share[at]:.1%} of the rows and {own[at]:.1%} of the samples have {values[at]:g} in {name}"
    if value <= bound_at:
        return Row(NAME, value, bound_at, True, words + ".")
    if n_over > 1:
        often = ", ".join(f"{v:g}" for v in values[np.argsort(-share, kind="stable")[:_SHOWN]])
        words += f"; its {len(values)} values in {n} rows are {often}, ..." if len(values) > _SHOWN else f": {often}"
    return Row(
        NAME, value, bound_at, False, words + ".",
        f"{name} has {values[at]:g} in {share[at]:.1%} of the rows, and in {own[at]:.1%} of the flow's samples",
        "A density has no mass at a value: model the column as discrete or rounded, or the rows that have the value "
        "apart from the others.",
    )  # fmt: skip
