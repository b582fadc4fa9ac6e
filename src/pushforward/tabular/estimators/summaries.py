"""What is told of the draws of a target: means and quantiles, which a circle and a grid have in their own way."""

import numpy as np

from pushforward.tabular.schema import Column, Plan


def mean_of(plan: Plan | None, drawn: np.ndarray) -> np.ndarray:
    """Means (rows, 1, k) of draws (rows, n, k); of a circular column the direction of the mean vector.

    >>> plan = Plan((Column("hour", "circular", lower=0.0, upper=24.0),))
    >>> round(float(mean_of(plan, np.array([[[23.0], [2.0]]]))[0, 0, 0]), 6)
    0.5
    """
    found = drawn.mean(1, keepdims=True)
    for place, column in _circular(plan):
        width = column.upper - column.lower
        angle = 2 * np.pi * (drawn[..., place] - column.lower) / width
        mean = np.arctan2(np.sin(angle).mean(1), np.cos(angle).mean(1)) / (2 * np.pi)
        found[:, 0, place] = column.lower + width * np.mod(mean, 1.0)
    return found


def quantiles_of(plan: Plan | None, drawn: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles (rows, levels, k) of draws (rows, n, k).

    Without bias in the mean over draws (Weibull's places); of a rounded column one of its values; on a circle counted
    from its cut.

    >>> plan = Plan((Column("hour", "circular", lower=0.0, upper=24.0, centre=12.0),))
    >>> quantiles_of(plan, np.array([[[23.0], [1.0], [0.0]]]), np.array([0.25, 0.5, 0.75]))[0, :, 0]
    array([23.,  0.,  1.])
    """
    turned = drawn.copy()
    for place, column in _circular(plan):
        turned[..., place] = column.centre + np.mod(drawn[..., place] - column.centre, column.upper - column.lower)
    between = np.quantile(turned, levels, axis=1, method="weibull")
    values = np.quantile(turned, levels, axis=1, method="inverted_cdf")
    is_rounded = False if plan is None else np.array([column.is_rounded for column in plan.columns])
    found = np.moveaxis(np.where(is_rounded, values, between), 0, 1)
    for place, column in _circular(plan):
        found[..., place] = column.lower + np.mod(found[..., place] - column.lower, column.upper - column.lower)
    return found


def _circular(plan: Plan | None) -> list[tuple[int, Column]]:
    columns = () if plan is None else plan.columns
    return [(place, column) for place, column in enumerate(columns) if column.kind == "circular"]
