"""Plot of a square grid after each layer of a flow of the plane."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import ShapeError
from pushforward.reporting.plots.canvas import GRID, MODEL, MUTED, blank, limits, plain, rectangle, style, table
from pushforward.reporting.plots.maps import mesh

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_PER_ROW = 4  # panels in a row
_PANEL, _LEFT, _BELOW, _ABOVE, _EDGE = 1.45, 0.36, 0.27, 0.26, 0.08  # inches
_POINTS = 78  # of a line: two thousand in all, which fit in two batches of the compiled program


def warp_layers(
    layers: Sequence[Callable[[np.ndarray], Any]],
    extent: Sequence[float] = (-3.0, 3.0, -3.0, 3.0),
    *,
    n_lines: int = 13,
    titles: Sequence[str] | None = None,
    shown: Sequence[int] | None = None,
) -> "Figure":
    """A square grid, and its image after the first layer, after the first two, and so on, in small panels.

    Panel k shows (T_k o ... o T_1)(grid): horizontal lines of the grid are grey, vertical lines orange.

    Args:
        layers: K maps in order, base to data, each (n, 2) -> (n, 2).
        extent: (left, right, bottom, top) of the grid.
        n_lines: lines in either direction.
        titles: K + 1 headings, the grid's first; `base`, `1`, `2`, ... by default.
        shown: indices of the panels to draw, in order; all K + 1 by default.

    Returns:
        The figure. Each panel has its own axes, which show the range that the layers cover.

    Cost: one evaluation of each layer at 78 points a line.

    Raises:
        ShapeError, ValueError: as for `warp`; also a wrong number of titles or a panel out of range.
        DataError: an image is not finite.

    >>> figure = warp_layers([lambda z: z + 1.0, lambda z: 2.0 * z])
    >>> figure.axes[2].get_title(loc="left")
    '2'
    """
    if n_lines < 2:
        raise ValueError(f"n_lines: expected at least 2, got {n_lines}.")
    count = len(layers) + 1
    names = ["base", *(str(k) for k in range(1, count))] if titles is None else list(titles)
    if len(names) != count:
        raise ValueError(f"titles: expected {count} headings, one for the grid and one a layer, got {len(names)}.")
    panels = list(range(count)) if shown is None else list(shown)
    if not panels or not all(0 <= panel < count for panel in panels):
        raise ValueError(f"shown: expected numbers of panels from 0 to {count - 1}, got {panels}.")
    grid = mesh(rectangle("extent", extent), n_lines, _POINTS)
    images = [grid]
    for index, layer in enumerate(layers):
        points = images[-1].reshape(-1, 2)
        image = table(f"layers[{index}](z)", layer(points), 2)
        if len(image) != len(points):
            raise ShapeError(
                f"layers[{index}]: expected shape {points.shape} for points of that shape, got {image.shape}."
            )
        images.append(image.reshape(grid.shape))
    n_across = min(_PANELS_PER_ROW, len(panels))
    n_down = math.ceil(len(panels) / n_across)
    cell_width, cell_height = _PANEL + _LEFT, _PANEL + _BELOW + _ABOVE
    width, height = n_across * cell_width + _EDGE, n_down * cell_height
    with style():
        figure = blank(width, height, layout=None)
        for position, panel in enumerate(panels):
            row, column = divmod(position, n_across)
            left, bottom = column * cell_width + _LEFT, (n_down - 1 - row) * cell_height + _BELOW
            axes = figure.add_axes((left / width, bottom / height, _PANEL / width, _PANEL / height))
            _draw_lines(axes, images[panel])
            axes.tick_params(length=2.0, labelsize=6.5)
            axes.locator_params(nbins=4)
            axes.grid(color=GRID)
            plain(axes.set_title(names[panel], fontsize=8.5))
        return figure


def _draw_lines(axes: "Axes", lines: np.ndarray) -> None:
    """Draw all lines of one direction as one curve, since matplotlib simplifies only the curves of `plot`."""
    gap = np.full((lines.shape[1], 1, 2), np.nan)
    for family, colour in zip(lines, (MUTED, MODEL), strict=True):
        path = np.concatenate([family, gap], axis=1).reshape(-1, 2)
        axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.7)
    axes.set(xlim=limits(lines[..., 0].ravel()), ylim=limits(lines[..., 1].ravel()))
