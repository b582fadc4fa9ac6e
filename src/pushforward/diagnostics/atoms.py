"""Point masses: values that many rows share and the flow's samples do not, such as zeros, limits, rounded numbers."""

import math
import statistics

import numpy as np

from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.row import Row

NAME = "values that repeat"
_FALSE_ALARM = 1e-3
# A density has no point mass: a share above a hundredth of the rows is one. If the samples have it too, its size may
# differ by more.
_NEW, _KNOWN = 0.01, 0.03
_FEWEST = 5
_SHOWN = 3


def atoms_row(x: np.ndarray, samples: np.ndarray, columns: Columns) -> Row:
    """The share of rows at one value of a column less that of the samples, where it most exceeds the bound for chance.

    Args:
        x: rows (n, D), in the flow's dtype.
        samples: (m, D).
        columns: their names.
    """
    n, m = len(x), len(samples)
    worst, worst_value = -math.inf, None
    for column in range(x.shape[1]):
        values, counts = np.unique(x[:, column], return_counts=True)
        if counts.max() < _FEWEST:
            continue
        ordered = np.sort(samples[:, column])
        share = counts / n
        expected = (np.searchsorted(ordered, values, "right") - np.searchsorted(ordered, values, "left")) / m
        level = statistics.NormalDist().inv_cdf(1 - _FALSE_ALARM / (x.shape[1] * len(values)))
        pooled = (counts + expected * m) / (n + m)
        chance = level * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) + _FEWEST / n
        bound = np.maximum(chance, np.where(expected > 0, _KNOWN, _NEW))
        over = np.abs(share - expected) / bound
        if over.max() > worst:
            worst = float(over.max())
            at = int(over.argmax())
            worst_value = column, values, share, expected, at, float(bound[at]), int((over > 1).sum())
    if worst_value is None:
        return Row(NAME, 0.0, _NEW, True, f"No value of a column is that of {_FEWEST} rows or more.")
    column, values, share, expected, at, bound_at, n_over = worst_value
    value, name = float(abs(share[at] - expected[at])), columns[column]
    message = f"{share[at]:.1%} of the rows and {expected[at]:.1%} of the samples have {values[at]:g} in {name}"
    if value <= bound_at:
        return Row(NAME, value, bound_at, True, message + ".")
    if n_over > 1:
        often = ", ".join(f"{v:g}" for v in values[np.argsort(-share, kind="stable")[:_SHOWN]])
        message += f"; its {len(values)} values in {n} rows are {often}, ..." if len(values) > _SHOWN else f": {often}"
    return Row(
        NAME, value, bound_at, False, message + ".",
        f"{name} has {values[at]:g} in {share[at]:.1%} of the rows, and in {expected[at]:.1%} of the flow's samples",
        "A density has no mass at a value: model the column as discrete or rounded, or model the rows with the value "
        "separately.",
        f"In {name} {share[at]:.1%} of the rows have exactly {values[at]:g}, but {expected[at]:.1%} of the samples: "
        "its scores measure nothing, and samples do not look like rows.",
        f"Declare the column rounded, so that values get probabilities: {columns.declaration(column, 'rounded:STEP')}.",
    )  # fmt: skip
