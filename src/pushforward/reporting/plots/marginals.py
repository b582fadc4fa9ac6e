"""The corner plot: each column and each pair of columns, data against model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pushforward.reporting.plots.canvas import DATA, INK, MODEL, blank, limits, plain, short, style, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS: Final = 8
SHARES: Final = (0.95, 0.75, 0.5, 0.25)

_GAP, _LEFT, _BOTTOM, _EDGE, _TITLE = 0.1, 0.85, 0.66, 0.12, 0.34  # inches
_FEW = 5  # columns: from more on, names are small
_PANEL, _PANEL_OF_FEW = 1.5, {1: 3.2, 2: 2.3}  # inches, by the number of columns where they are few


def corner(
    data: Any,
    samples: Any,
    columns: Sequence[str] | None = None,
    *,
    labels: tuple[str, str] = ("data", "samples of the model"),
    title: str | None = None,
) -> "Figure":
    """Data against samples: histograms of each column on the diagonal, regions of each pair of columns below it.

    The regions of a pair are the smallest sets with 25, 50, 75 and 95 % of the rows: filled for the data, outlined for
    the model. Axes range from the 0.1 % to the 99.9 % quantile of the data, and are extended by up to half of that on
    either side if the samples reach further; rows outside still count.

    Args:
        data: (n, d) observed rows.
        samples: (m, d) rows drawn from the model.
        columns: d names; `x1, x2, ...` by default. Of more than 8 columns the first 8 are drawn, and the title says so.
        labels: names of the blue and the orange series.
        title: a heading, none by default.

    Returns:
        The figure.

    Cost: O((n + m) d^2) to count; the size of the picture does not depend on n and m.

    Raises:
        ShapeError: `data` and `samples` are not matrices of the same width, or `columns` has another length.
        DataError: a number is missing or infinite.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> figure = corner(random.normal(size=(500, 3)), random.normal(size=(400, 3)), ["a", "b", "c"])
    >>> len(figure.axes)
    6
    """
    data = table("data", data)
    width = data.shape[1]
    samples = table("samples", samples, width)
    names = [f"x{i + 1}" for i in range(width)] if columns is None else [short(name) for name in columns]
    if len(names) != width:
        raise ValueError(f"columns: expected {width} names, one for each column of data, got {len(names)}.")
    shown = min(width, MOST_COLUMNS)
    if shown < width:
        title = f"{title}: the" if title else "The"
        title += f" first {shown} of {width} columns"
    data, samples = data[:, :shown].copy(), samples[:, :shown].copy()
    axis_names, spans = [], []
    for i in range(shown):
        low, high = span(data[:, i], samples[:, i])
        # With a large offset the differing digits would not fit on the axis: draw the distance from a round number.
        shift = round(0.5 * (low + high)) if high - low < 1e-5 * abs(low + high) else 0
        data[:, i] -= shift
        samples[:, i] -= shift
        axis_names.append(f"{names[i]}\n\N{MINUS SIGN} {shift:,}" if shift else names[i])
        spans.append((low - shift, high - shift))
    with style():
        return _draw(data, samples, axis_names, spans, labels, title)


def span(data: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Limits of the data, widened to those of the samples by at most half: a bad model must not hide the data."""
    (low, high), (sample_low, sample_high) = limits(data), limits(samples)
    half = 0.5 * (high - low)
    return max(min(low, sample_low), low - half), min(max(high, sample_high), high + half)


def _draw(
    data: np.ndarray, samples: np.ndarray, names: list[str], spans: list[tuple[float, float]],
    labels: tuple[str, str], title: str | None,
) -> "Figure":  # fmt: skip
    count = len(names)
    n_bins = int(np.clip(2.5 * min(len(data), len(samples)) ** (1 / 3), 16, 64))
    edges = [np.linspace(low, high, n_bins + 1) for low, high in spans]
    panel = _PANEL_OF_FEW.get(count, _PANEL)
    side = count * panel + (count - 1) * _GAP
    top = _EDGE + (_TITLE if title else 0.0)
    width, height = _LEFT + side + _EDGE, _BOTTOM + side + top
    figure = blank(width, height, layout=None)
    for row in range(count):
        for column in range(row + 1):
            left = _LEFT + column * (panel + _GAP)
            bottom = _BOTTOM + (count - 1 - row) * (panel + _GAP)
            axes = figure.add_axes((left / width, bottom / height, panel / width, panel / height))
            if row == column:
                _draw_histograms(axes, data[:, row], samples[:, row], edges[row])
            else:
                pair = [column, row]
                _draw_regions(axes, data[:, pair], samples[:, pair], edges[column], edges[row])
            _format_axes(axes, names, spans, row, column, panel)
    _draw_legend(figure, count, labels, width, height, top)
    if title:
        plain(figure.text(_LEFT / width, 1 - 0.12 / height, title, va="top", fontsize=10.5, color=INK))
    return figure


def _draw_histograms(axes: "Axes", data: np.ndarray, samples: np.ndarray, edges: np.ndarray) -> None:
    """Draw both marginals on common bins, each divided by its number of rows, including those outside the axis."""
    heights = [np.histogram(values, edges)[0] / len(values) for values in (data, samples)]
    axes.stairs(heights[0], edges, fill=True, color=DATA, alpha=0.35, linewidth=0)
    axes.stairs(heights[0], edges, color=DATA, linewidth=0.8)
    axes.stairs(heights[1], edges, color=MODEL, linewidth=1.2)
    axes.set_ylim(0.0, 1.08 * max(float(np.max(heights)), 1e-300))


def _draw_regions(axes: "Axes", data: np.ndarray, samples: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """Draw the regions of a pair: filled for the data, outlined for the model."""
    grid, x, y, levels = regions(data, across, up)
    for level in levels:  # nested areas: adjacent rings would show hairlines between them
        axes.contourf(x, y, grid, levels=[level, np.inf], colors=[DATA], alpha=0.22)
    grid, x, y, levels = regions(samples, across, up)
    if levels:
        axes.contour(x, y, grid, levels=levels, colors=[MODEL], linewidths=np.linspace(0.7, 1.2, len(levels)))


def regions(
    rows: np.ndarray, across: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """A smoothed histogram, its coordinates, and the increasing levels above which 95, 75, 50 and 25 % of all rows lie.

    A border of empty cells closes all outlines. A share larger than that of the picture has no level.
    """
    from scipy.ndimage import gaussian_filter

    counts, _, _ = np.histogram2d(rows[:, 0], rows[:, 1], bins=[across, up])
    bandwidth = 0.8 if len(rows) > 2000 else 1.3
    grid = np.pad(gaussian_filter(counts.T / len(rows), bandwidth, mode="reflect"), 1)
    x, y = (np.concatenate([[e[0] - 1e-6 * (e[-1] - e[0])], e[:-1] + 0.5 * np.diff(e), [e[-1]]]) for e in (across, up))
    heights = np.sort(grid, axis=None)[::-1]
    cumulative = np.cumsum(heights)
    thresholds = {float(heights[np.searchsorted(cumulative, share)]) for share in SHARES if share <= cumulative[-1]}
    return grid, x, y, sorted(level for level in thresholds if 0.0 < level < heights[0])


def _format_axes(
    axes: "Axes", labels: list[str], spans: list[tuple[float, float]], row: int, column: int, panel: float
) -> None:
    """Limits, few ticks, and labels on the outer panels only."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last, size = len(labels) - 1, 9.0 if len(labels) <= _FEW else 7.0
    axes.set_xlim(*spans[column])
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.tick_params(length=2.5, labelsize=7.5, labelbottom=row == last, labelleft=column == 0 and row > 0)
    if row == last:
        plain(axes.set_xlabel(labels[column], fontsize=size))
        axes.xaxis.label.set_verticalalignment("top")
        axes.xaxis.set_label_coords(0.5, -0.27 / panel)
    if row == column:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        return
    axes.set_ylim(*spans[row])
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    if column == 0:
        plain(axes.set_ylabel(labels[row], fontsize=size))
        axes.yaxis.set_label_coords(-0.62 / panel, 0.5)


def _tick(value: float, _: int) -> str:
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}").replace("e+0", "e").replace("e+", "e")


def _draw_legend(
    figure: "Figure", count: int, labels: tuple[str, str], width: float, height: float, top: float
) -> None:
    """Draw the legend in the empty upper triangle."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=DATA, alpha=0.5, edgecolor=DATA, label=labels[0]),
        Line2D([], [], color=MODEL, linewidth=1.4, label=labels[1]),
    ]
    if count == 1:  # no corner is free: make space above the bars
        low, high = figure.axes[0].get_ylim()
        figure.axes[0].set_ylim(low, 1.25 * high)
    figure.legend(
        handles=entries,
        loc="upper right",
        bbox_to_anchor=(1 - _EDGE / width, 1 - top / height),
        borderaxespad=0.0,
        title="regions contain 25, 50, 75, 95 % of the rows" if count > 1 else None,
        title_fontsize=8.0,
        alignment="left",
    )
