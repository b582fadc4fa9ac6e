"""Calibration plot: the deviation of probabilities under a model from uniform."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.diagnostics.calibration import uniform_distances
from pushforward.reporting.plots.canvas import GRID, INK, MODEL, MUTED, blank, legend, plain, short, style, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_CURVES, _MAX_NAMES, _POINTS = 48, 6, 257


def calibration(
    pit: Any,
    *,
    columns: Sequence[str] | None = None,
    level: float = 0.95,
    references: int | None = None,
    n_projections: int = 0,
    title: str | None = None,
) -> "Figure":
    """Deviation of probability integral transforms from uniform: F_n(u) - u against u, with Kolmogorov's band.

    For a calibrated model u = F(x) is uniform, and sup |F_n(u) - u| stays below the level-quantile k of Kolmogorov's
    statistic for n values. With d columns the level of each is 1 - (1 - level) / d, so that all of them stay in the
    band with probability at least `level`, however they depend on each other. Curves that leave it are orange; up to
    six of them, with the largest deviations, are named.

    Args:
        pit: (n,) or (n, d) values in [0, 1].
        columns: d names; `u1, u2, ...` by default.
        level: probability of the band.
        references: m, if F is the empirical distribution of m samples of the model, the same for all rows; the band is
            then the asymptotic one of two samples of n and m values (Smirnov).
        n_projections: number of columns at the end that are projections of the others; they are thin and not named.
        title: a heading, none by default.

    Returns:
        The figure, with at most the 48 curves of largest deviation. A curve below zero at small u and above it at
        large u means that the model is too wide; the opposite, too narrow; all below or all above, shifted.

    Raises:
        ValueError: a value outside [0, 1], a level outside (0, 1), no reference, or a wrong number of names.

    Reference: Kolmogorov (1933), Smirnov (1939); the exact quantile for finite n is SciPy's `kstwo`.

    >>> import numpy as np
    >>> figure = calibration((np.arange(100) + 0.5) / 100)
    >>> figure.axes[0].get_xlabel()
    'probability under the model, u'
    """
    values = np.asarray(pit, dtype=np.float64)
    values = table("pit", values[:, None] if values.ndim == 1 else values)
    if values.min() < 0.0 or values.max() > 1.0:
        raise ValueError(f"pit: expected values from 0 to 1, got {values.min():g} to {values.max():g}.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a probability between 0 and 1, got {level}.")
    count, width = values.shape
    names = [f"u{i + 1}" for i in range(width)] if columns is None else [short(name) for name in columns]
    if len(names) != width:
        raise ValueError(f"columns: expected {width} names, one for each column of pit, got {len(names)}.")
    if references is not None and references < 1:
        raise ValueError(f"references: expected at least one sample of the model, got {references}.")
    if not 0 <= n_projections < width:
        raise ValueError(f"n_projections: expected a number from 0 to {width - 1}, got {n_projections}.")
    band = kolmogorov_band(effective_count(count, references), width, level)
    ordered, distances = np.sort(values, axis=0).T, uniform_distances(values)
    indices = np.argsort(-distances, kind="stable")[:_MAX_CURVES].tolist()
    furthest = max(float(distances.max()), band)
    with style():
        figure = blank(6.2, 3.7)
        axes = figure.add_subplot()
        axes.axhspan(-band, band, color=GRID, linewidth=0, label=f"{100 * level:.4g} % band")
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        for index in indices[::-1]:
            _draw_deviation(axes, ordered[index], bool(distances[index] > band), index < width - n_projections)
        if n_projections:
            axes.plot([], [], color=INK, linewidth=1.2, label="columns")
            axes.plot([], [], color=MUTED, linewidth=0.6, label="weighted sums of columns")
        axes.set(xlim=(0.0, 1.0), ylim=(-1.25 * furthest, 1.25 * furthest))
        axes.set(xlabel="probability under the model, u", ylabel="share of rows below u, minus u")
        positions: list[tuple[float, float]] = []
        for index in [index for index in indices if index < width - n_projections][:_MAX_NAMES]:
            if distances[index] > band:
                _draw_name(axes, names[index], ordered[index], furthest, positions)
        legend(axes, loc="lower right", bbox_to_anchor=(1.0, 0.99), borderaxespad=0.0, ncols=3, columnspacing=1.2)
        if title:
            plain(axes.set_title(title))
        return figure


@functools.cache
def kolmogorov_band(count: int, width: int, level: float) -> float:
    """The k with P(sup |F_n(u) - u| <= k in all of `width` columns) >= `level`, with `count` uniform values in each.

    >>> round(kolmogorov_band(10_000, 1, 0.95) * 100, 2)  # 1.36 / sqrt(n) in the limit
    1.36
    """
    from scipy.stats import kstwo

    return float(kstwo.ppf(1.0 - (1.0 - level) / width, count))


def effective_count(count: int, references: int | None) -> int:
    """The n of the Kolmogorov band for `count` rows against `references` samples, n m / (n + m)."""
    return count if references is None else max(round(count * references / (count + references)), 1)


def distance(ordered: np.ndarray) -> tuple[float, float, bool]:
    """sup |F_n(u) - u| of sorted values (n,), its position, and whether F_n lies above u there."""
    steps = np.arange(len(ordered) + 1) / len(ordered)
    above, below = steps[1:] - ordered, ordered - steps[:-1]
    is_above = bool(above.max() >= below.max())
    side = above if is_above else below
    return float(side.max()), float(ordered[np.argmax(side)]), is_above


def _draw_deviation(axes: "Axes", ordered: np.ndarray, is_outside: bool, is_column: bool) -> None:
    """Draw F_n(u) - u on a grid: orange outside the band, thin for projections."""
    grid = np.linspace(0.0, 1.0, _POINTS)
    curve = np.searchsorted(ordered, grid, side="right") / len(ordered) - grid
    colour = MODEL if is_outside else INK if is_column else MUTED
    width = (1.8 if is_outside else 1.2) if is_column else (0.9 if is_outside else 0.6)
    axes.plot(grid, curve, color=colour, linewidth=width, zorder=3 + is_outside + 0.5 * is_column)


def _draw_name(
    axes: "Axes", name: str, ordered: np.ndarray, furthest: float, positions: list[tuple[float, float]]
) -> None:
    """Draw the name at the largest deviation of its curve, unless another name is there."""
    largest, position, is_above = distance(ordered)
    height = (largest if is_above else -largest) / furthest
    if any(abs(position - x) < 0.2 and abs(height - y) < 0.12 for x, y in positions):
        return
    positions.append((position, height))
    side = "left" if position < 0.15 else "right" if position > 0.85 else "center"
    note = axes.annotate(
        name, (position, largest if is_above else -largest), xytext=(0, 4 if is_above else -4),
        textcoords="offset points", ha=side, va="bottom" if is_above else "top", color=MODEL, fontsize=8.5,
    )  # fmt: skip
    plain(note)
