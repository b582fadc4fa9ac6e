"""Plots of the plane: a density as a heat map, and the image of a grid under a map."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.plots.canvas import (
    DATA,
    GRID,
    INK,
    MODEL,
    MUTED,
    blank,
    legend,
    limits,
    plain,
    ramp,
    rectangle,
    short,
    style,
    table,
    veil,
)
from pushforward.reporting.plots.marginals import SHARES, regions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NATS_SHOWN = 10.0
_MAX_DOTS = 1500


def density(
    flow_or_log_prob: Any,
    bounds: Sequence[float],
    *,
    resolution: int = 256,
    log: bool = False,
    data: Any = None,
    contours: bool = False,
    veiled: bool = False,
    columns: Sequence[str] = ("x1", "x2"),
    title: str | None = None,
) -> "Figure":
    """A density p on the plane as a heat map.

    Args:
        flow_or_log_prob: an object with `log_prob`, or the function itself: (n, 2) -> (n,), in nats.
        bounds: (left, right, bottom, top) of the picture.
        resolution: cells along each side.
        log: show log p, cut 10 nats below its highest value, instead of p.
        data: (m, 2) rows, drawn as outlines of the regions with 25, 50, 75 and 95 % of them; none by default. With
            `contours` they are drawn as dots, at most 1,500 of them, evenly spaced in the rows.
        contours: draw the outlines {p = c} of the smallest regions with probability 25, 50, 75 and 95 %; an outline
            that does not fit in the picture is left out.
        veiled: use transparent colours, which suit light and dark pages.
        columns: the two names.
        title: a heading, none by default.

    Returns:
        The figure.

    Cost: `resolution`^2 evaluations of `log_prob`, in one call.

    Raises:
        ValueError: `bounds` is no rectangle, `resolution` is below 2, or the function returns another shape.
        NumericError: a log density is NaN or +inf.

    >>> figure = density(lambda x: -0.5 * (x**2).sum(axis=1), (-3, 3, -3, 3), resolution=32)
    >>> figure.axes[0].get_xlim() == (-3.0, 3.0)
    True
    """
    left, right, bottom, top = rectangle("bounds", bounds)
    if resolution < 2:
        raise ValueError(f"resolution: expected at least 2 cells along a side, got {resolution}.")
    names = _two_names(columns)
    rows = None if data is None else table("data", data, 2)
    x, y = (
        low + (np.arange(resolution) + 0.5) * (high - low) / resolution for low, high in ((left, right), (bottom, top))
    )
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = np.asarray(getattr(flow_or_log_prob, "log_prob", flow_or_log_prob)(points), dtype=np.float64)
    if values.shape != (len(points),):
        raise ShapeError(f"log_prob: expected shape ({len(points)},) for points {points.shape}, got {values.shape}.")
    is_invalid = np.isnan(values) | (values == np.inf)
    if is_invalid.any():
        raise NumericError(
            f"log_prob: {int(is_invalid.sum())} of {len(points)} points have a log density of NaN or +inf, the first "
            f"is {points[np.argmax(is_invalid)].tolist()}; expected finite numbers or -inf. Check the flow there."
        )
    highest = float(values.max()) if np.isfinite(values.max()) else 0.0
    lowest = highest - NATS_SHOWN
    shown = (np.maximum(values, lowest) if log else np.exp(values)).reshape(resolution, resolution)
    with style():
        figure = blank(5.2, 4.4)
        axes = figure.add_subplot()
        image = axes.imshow(
            shown,
            origin="lower",
            extent=(left, right, bottom, top),
            cmap=veil() if veiled else ramp(),
            vmin=lowest if log else 0.0,
            aspect="auto",
            interpolation="nearest",
        )
        if rows is not None and contours:
            dots = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MAX_DOTS)).astype(int)]
            axes.plot(dots[:, 0], dots[:, 1], ".", color=DATA, markersize=3.2, markeredgewidth=0, label="data")
            legend(axes, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0, markerscale=2.0)
        elif rows is not None:
            _outline(axes, rows, (left, right, bottom, top))
        if contours:
            _contours(axes, x, y, values.reshape(resolution, resolution))
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=30, extend="min" if log else "neither")
        bar.outline.set_visible(False)
        if bar.solids is not None:  # one small image instead of a path for each shade
            bar.solids.set_rasterized(True)
        bar.set_label("log density (nats)" if log else "density")
        axes.set(xlim=(left, right), ylim=(bottom, top))
        plain(axes.set_xlabel(names[0]))
        plain(axes.set_ylabel(names[1]))
        if title:
            plain(axes.set_title(title))
        return figure


def warp(
    forward: Callable[[np.ndarray], Any],
    extent: Sequence[float] = (-3.0, 3.0, -3.0, 3.0),
    *,
    n_lines: int = 21,
    titles: Sequence[str] = ("base z", "data x"),
) -> "Figure":
    """A square grid on the left, and its image under a map of the plane on the right.

    Args:
        forward: the map of a batch of points, (n, 2) -> (n, 2); for a bijection, `jax.vmap(bijection.forward)`.
        extent: (left, right, bottom, top) of the grid.
        n_lines: lines in either direction.
        titles: the headings of the two panels.

    Returns:
        The figure.

    Cost: 400 `n_lines` evaluations of `forward`, in one call.

    Raises:
        ValueError: `extent` is no rectangle, `n_lines` is below 2, `titles` are not two, or `forward` returns another
            shape.
        DataError: an image is not finite.

    >>> figure = warp(lambda z: z @ [[1.0, 0.5], [0.0, 1.0]], (-1, 1, -1, 1))
    >>> len(figure.axes)
    2
    """
    left, right, bottom, top = rectangle("extent", extent)
    if n_lines < 2:
        raise ValueError(f"n_lines: expected at least 2, got {n_lines}.")
    if len(titles) != 2:
        raise ValueError(f"titles: expected two headings, got {len(titles)}.")
    grid = mesh((left, right, bottom, top), n_lines)
    flat = grid.reshape(-1, 2)
    images = table("forward(z)", forward(flat), 2)
    if len(images) != len(flat):
        raise ShapeError(f"forward: expected shape {flat.shape} for points of that shape, got {images.shape}.")
    with style():
        figure = blank(7.6, 3.9)
        for index, (lines, title) in enumerate(zip((grid, images.reshape(grid.shape)), titles, strict=True)):
            axes = figure.add_subplot(1, 2, index + 1)
            draw_mesh(axes, lines)
            axes.set(xlim=limits(lines[..., 0]), ylim=limits(lines[..., 1]))
            axes.grid(color=GRID)
            plain(axes.set_title(title))
        return figure


def _outline(axes: "Axes", rows: np.ndarray, bounds: tuple[float, float, float, float]) -> None:
    """Outline the regions of the data; a fill would hide the density."""
    left, right, bottom, top = bounds
    grid, x, y, levels = regions(rows, np.linspace(left, right, 49), np.linspace(bottom, top, 49))
    if levels:
        axes.contour(x, y, grid, levels=levels, colors=[DATA], linewidths=1.0)


def _contours(axes: "Axes", x: np.ndarray, y: np.ndarray, values: np.ndarray) -> None:
    """Contours of log p (rows along y) that enclose the shares of the total mass, not of the mass in the picture.

    The density outside the picture is assumed to be below all levels.
    """
    heights = np.sort(values, axis=None)[::-1]
    cumulative = np.cumsum(np.exp(heights)) * (x[1] - x[0]) * (y[1] - y[0])
    thresholds = {float(heights[np.searchsorted(cumulative, share)]) for share in SHARES if share <= cumulative[-1]}
    levels = sorted(level for level in thresholds if np.isfinite(level) and level < heights[0])
    if levels:
        lowest = np.maximum(values, levels[0] - NATS_SHOWN)
        widths = np.linspace(0.7, 1.1, len(levels))
        # Solid: by default matplotlib dashes negative levels.
        axes.contour(x, y, lowest, levels=levels, colors=[INK], linewidths=widths, linestyles="solid")


def mesh(extent: tuple[float, float, float, float], n_lines: int, n_points: int = 200) -> np.ndarray:
    """A square grid as lines of points (2, n_lines, n_points, 2): horizontal lines first, then vertical ones."""
    left, right, bottom, top = extent
    across, along = np.meshgrid(np.linspace(0.0, 1.0, n_lines), np.linspace(0.0, 1.0, n_points), indexing="ij")
    vertical = np.stack([left + across * (right - left), bottom + along * (top - bottom)], axis=-1)
    horizontal = np.stack([left + along * (right - left), bottom + across * (top - bottom)], axis=-1)
    return np.stack([horizontal, vertical])


def draw_mesh(axes: "Axes", grid: np.ndarray, width: float = 0.8) -> None:
    """Draw the lines of `mesh`, or their images: horizontal ones grey, vertical ones orange."""
    from matplotlib.collections import LineCollection

    for lines, colour in zip(grid, (MUTED, MODEL), strict=True):
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=width))


def _two_names(columns: Sequence[str]) -> tuple[str, str]:
    if len(columns) != 2:
        raise ValueError(f"columns: expected two names, got {len(columns)}.")
    return short(columns[0]), short(columns[1])
