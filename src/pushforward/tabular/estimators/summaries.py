"""Means and quantiles of samples of a target, also for circular and rounded columns."""

import numpy as np

from pushforward.tabular.schema import Column, TableSchema


def sample_mean(schema: TableSchema | None, samples: np.ndarray) -> np.ndarray:
    """Means (rows, 1, k) of samples (rows, n, k); of a circular column the direction of the mean vector.

    >>> schema = TableSchema((Column("hour", "circular", lower=0.0, upper=24.0),))
    >>> round(float(sample_mean(schema, np.array([[[23.0], [2.0]]]))[0, 0, 0]), 6)
    0.5
    """
    means = samples.mean(1, keepdims=True)
    for index, column in _circular_columns(schema):
        width = column.upper - column.lower
        angle = 2 * np.pi * (samples[..., index] - column.lower) / width
        mean = np.arctan2(np.sin(angle).mean(1), np.cos(angle).mean(1)) / (2 * np.pi)
        means[:, 0, index] = column.lower + width * np.mod(mean, 1.0)
    return means


def sample_quantiles(schema: TableSchema | None, samples: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles (rows, levels, k) of samples (rows, n, k).

    Weibull's plotting positions, unbiased in the mean over samples; of a rounded column one of its values; on a circle
    counted from its cut.

    >>> schema = TableSchema((Column("hour", "circular", lower=0.0, upper=24.0, centre=12.0),))
    >>> sample_quantiles(schema, np.array([[[23.0], [1.0], [0.0]]]), np.array([0.25, 0.5, 0.75]))[0, :, 0]
    array([23.,  0.,  1.])
    """
    uncut = samples.copy()
    for index, column in _circular_columns(schema):
        uncut[..., index] = column.centre + np.mod(samples[..., index] - column.centre, column.upper - column.lower)
    interpolated = np.quantile(uncut, levels, axis=1, method="weibull")
    values = np.quantile(uncut, levels, axis=1, method="inverted_cdf")
    is_rounded = False if schema is None else np.array([column.is_rounded for column in schema.columns])
    quantiles = np.moveaxis(np.where(is_rounded, values, interpolated), 0, 1)
    for index, column in _circular_columns(schema):
        width = column.upper - column.lower
        quantiles[..., index] = column.lower + np.mod(quantiles[..., index] - column.lower, width)
    return quantiles


def _circular_columns(schema: TableSchema | None) -> list[tuple[int, Column]]:
    columns = () if schema is None else schema.columns
    return [(index, column) for index, column in enumerate(columns) if column.kind == "circular"]
