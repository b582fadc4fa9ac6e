"""Pictures of the plane: a density as a heat map, and what a map does to a grid."""

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
_MOST_DOTS = 1500


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
        data: (m, 2) rows, drawn as the regions that hold 25, 50, 75 and 95 % of them; none by default. With
            `contours` as dots, 1,500 of them at most, spread evenly over the rows.
        contours: draw the outlines {p = c} of the smallest regions to which the density gives 25, 50, 75 and 95 %; an
            outline that the picture does not hold is left out.
        veiled: let the colours fade into whatever lies behind the picture, a dark page too.
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
    wrong = np.isnan(values) | (values == np.inf)
    if wrong.any():
        raise NumericError(
            f"log_prob: {int(wrong.sum())} of {len(points)} points have a log density of NaN or +inf, the first is "
            f"{points[np.argmax(wrong)].tolist()}; expected finite numbers or -inf. Check the flow there."
        )
    highest = float(values.max()) if np.isfinite(values.max()) else 0.0
    floor = highest - NATS_SHOWN
    shown = (np.maximum(values, floor) if log else np.exp(values)).reshape(resolution, resolution)
    with style():
        figure = blank(5.2, 4.4)
        axes = figure.add_subplot()
        image = axes.imshow(
            shown,
            origin="lower",
            extent=(left, right, bottom, top),
            cmap=veil() if veiled else ramp(),
            vmin=floor if log else 0.0,
            aspect="auto",
            interpolation="nearest",
        )
        if rows is not None and contours:
            some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_DOTS)).astype(int)]
            axes.plot(some[:, 0], some[:, 1], ".", color=DATA, markersize=3.2, markeredgewidth=0, label="data")
            legend(axes, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0, markerscale=2.0)
        elif rows is not None:
            _outline(axes, rows, (left, right, bottom, top))
        if contours:
            _contours(axes, x, y, values.reshape(resolution, resolution))
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=30, extend="min" if log else "neither")
        bar.outline.set_visible(False)
        if bar.solids is not None:  # one small image, where a path for each shade would be many
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
    """What a map of the plane does to a square grid: the grid on the left, its image on the right.

    Args:
        forward: a batch of points to their images, (n, 2) -> (n, 2); for a bijection, `jax.vmap(bijection.forward)`.
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
        for place, (lines, title) in enumerate(zip((grid, images.reshape(grid.shape)), titles, strict=True)):
            axes = figure.add_subplot(1, 2, place + 1)
            draw_mesh(axes, lines)
            axes.set(xlim=limits(lines[..., 0]), ylim=limits(lines[..., 1]))
            axes.grid(color=GRID)
            plain(axes.set_title(title))
        return figure


def _outline(axes: "Axes", rows: np.ndarray, bounds: tuple[float, float, float, float]) -> None:
    """The data's regions as lines: a fill would hide the density below it."""
    left, right, bottom, top = bounds
    grid, x, y, levels = regions(rows, np.linspace(left, right, 49), np.linspace(bottom, top, 49))
    if levels:
        axes.contour(x, y, grid, levels=levels, colors=[DATA], linewidths=1.0)


def _contours(axes: "Axes", x: np.ndarray, y: np.ndarray, values: np.ndarray) -> None:
    """Level lines of log p (rows along y) around the cells that hold the shares, of the whole mass, not the picture's.

    What lies off the picture is unknown, and taken to be below every level.
    """
    heights = np.sort(values, axis=None)[::-1]
    held = np.cumsum(np.exp(heights)) * (x[1] - x[0]) * (y[1] - y[0])
    found = {float(heights[np.searchsorted(held, share)]) for share in SHARES if share <= held[-1]}
    levels = sorted(level for level in found if np.isfinite(level) and level < heights[0])
    if levels:
        floor = np.maximum(values, levels[0] - NATS_SHOWN)
        widths = np.linspace(0.7, 1.1, len(levels))
        # Solid, or matplotlib would dash the levels below zero.
        axes.contour(x, y, floor, levels=levels, colors=[INK], linewidths=widths, linestyles="solid")


def mesh(extent: tuple[float, float, float, float], n_lines: int, n_points: int = 200) -> np.ndarray:
    """A square grid as lines of points: (2, n_lines, n_points, 2), level lines first, upright ones second."""
    left, right, bottom, top = extent
    at, run = np.meshgrid(np.linspace(0.0, 1.0, n_lines), np.linspace(0.0, 1.0, n_points), indexing="ij")
    upright = np.stack([left + at * (right - left), bottom + run * (top - bottom)], axis=-1)
    level = np.stack([left + run * (right - left), bottom + at * (top - bottom)], axis=-1)
    return np.stack([level, upright])


def draw_mesh(axes: "Axes", grid: np.ndarray, width: float = 0.8) -> None:
    """The lines of `mesh`, or their images: level ones grey, upright ones orange."""
    from matplotlib.collections import LineCollection

    for lines, colour in zip(grid, (MUTED, MODEL), strict=True):
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=width))


def _two_names(columns: Sequence[str]) -> tuple[str, str]:
    if len(columns) != 2:
        raise ValueError(f"columns: expected two names, got {len(columns)}.")
    return short(columns[0]), short(columns[1])
