"""Small pictures for a page of hundreds: densities and grids as PNG data, matrices and costs as SVG."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from pushforward.reporting.gallery.card import Matrix
from pushforward.reporting.plots.canvas import GRID, blank, ramp, style
from pushforward.reporting.plots.maps import draw_mesh

_LEVELS = 64


def density_png(values: np.ndarray, colour_max: float) -> str:
    """A density as a `data:` URL; values that are not finite are grey.

    Args:
        values: (rows, columns), the first row at the top.
        colour_max: the value of the darkest colour.
    """
    from matplotlib.colors import to_rgb
    from PIL import Image

    is_missing = ~np.isfinite(values)
    level = np.clip(np.where(is_missing, 0.0, values) / colour_max, 0.0, 1.0)
    index = np.where(is_missing, _LEVELS, np.rint(level * (_LEVELS - 1))).astype(np.uint8)
    colours = np.vstack([ramp()(np.linspace(0.0, 1.0, _LEVELS))[:, :3], to_rgb(GRID)])
    image = Image.fromarray(index).convert("P")
    image.putpalette(np.rint(255 * colours).astype(np.uint8).tobytes())
    return _data_url(image)


def warp_png(lines: np.ndarray, bounds: Sequence[float], pixels: int) -> str:
    """The images of the lines of a grid within `bounds`, as a `data:` URL."""
    from PIL import Image

    with style():
        figure = blank(pixels / 100, pixels / 100, layout=None)
        figure.set_dpi(100)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        draw_mesh(axes, np.clip(lines, -1e6, 1e6), 0.7)
        axes.set(xlim=bounds[:2], ylim=bounds[2:])
        canvas: Any = figure.canvas
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return _data_url(image.quantize(16, dither=Image.Dither.NONE))


def _data_url(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def matrix_svg(matrix: Matrix) -> str:
    """A matrix cell by cell: a mask in one colour, else orange for positive and blue for negative values."""
    rows, columns = matrix.values.shape
    size = max(min(150 / max(rows, columns), 15.0), 2.0)
    width, height = columns * size, rows * size
    cells = _runs(matrix.values) if matrix.is_mask else _shades(matrix.values)
    return (
        f'<svg role="img" aria-label="{escape(matrix.title)}" viewBox="0 0 {columns} {rows}" '
        f'style="width:{width:.0f}px;height:{height:.0f}px">{cells}'
        f'<rect class="edge" width="{columns}" height="{rows}"/></svg>'
    )


def _runs(values: np.ndarray) -> str:
    """One path with the runs of ones in each row."""
    path = []
    for row, line in enumerate(np.asarray(values, bool)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        path += [f"M{start} {row}h{end - start}v1h-{end - start}z" for start, end in edges.reshape(-1, 2).tolist()]
    return f'<path class="on" d="{"".join(path)}"/>'


def _shades(values: np.ndarray) -> str:
    """A square for each nonzero number; the square root makes small ones visible."""
    largest = float(np.abs(values).max()) or 1.0
    cells = []
    for (row, column), value in np.ndenumerate(values):
        if value:
            kind = "above" if value > 0 else "below"
            opacity = 0.15 + 0.85 * math.sqrt(abs(value) / largest)
            cells.append(
                f'<rect class="{kind}" x="{column}" y="{row}" width="1" height="1" fill-opacity="{opacity:.2f}"/>'
            )
    return "".join(cells)


_LEFT, _RIGHT, _TOP, _BOTTOM, _WIDE, _HIGH = 58.0, 86.0, 14.0, 40.0, 440.0, 270.0
_NAMES = {"log_prob": "below", "sample": "above"}  # blue and orange


def cost_svg(dims: Sequence[int], seconds: dict[str, list[float]]) -> str:
    """Seconds a row against D on logarithmic axes, which are the same for all families that fit in them."""
    times = [time for line in seconds.values() for time in line]
    low, high = min(-6, math.floor(math.log10(min(times)))), max(-2, math.ceil(math.log10(max(times))))
    first, last = math.log10(2), math.log10(max(128, *dims))

    def across(dim: float) -> float:
        return _LEFT + (math.log10(dim) - first) / (last - first) * (_WIDE - _LEFT - _RIGHT)

    def up(time: float) -> float:
        return _TOP + (high - math.log10(time)) / (high - low) * (_HIGH - _TOP - _BOTTOM)

    parts = []
    for power in range(low, high + 1):
        y = up(10.0**power)
        parts.append(f'<path class="rule" d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{_time(10.0**power)}</text>')
    parts += [
        f'<text x="{across(dim):.1f}" y="{_HIGH - _BOTTOM + 18}" text-anchor="middle">{dim}</text>'
        for dim in (2, 8, 32, 128)
    ]
    parts.append(f'<text x="{across(16):.1f}" y="{_HIGH - 4}" text-anchor="middle">D, number of coordinates</text>')
    ends = {name: up(line[-1]) for name, line in seconds.items()}
    gap = ends["sample"] - ends["log_prob"]
    for name, line in seconds.items():
        points = [(across(dim), up(time)) for dim, time in zip(dims, line, strict=False)]
        parts.append(f'<polyline class="{_NAMES[name]}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        parts += [f'<circle class="{_NAMES[name]}" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>' for x, y in points]
        shift = 0.0 if abs(gap) > 15 else (15 - abs(gap)) / 2 * (1 if (name == "sample") == (gap >= 0) else -1)
        x, y = points[-1]
        parts.append(f'<text class="{_NAMES[name]}" x="{x + 9:.1f}" y="{y + 4.5 + shift:.1f}">{name}</text>')
    description = "; ".join(
        f"{name} {', '.join(f'{_time(time)} at D = {dim}' for dim, time in zip(dims, line, strict=False))}"
        for name, line in seconds.items()
    )
    return (
        f'<svg class="cost" role="img" aria-label="Time a row: {escape(description)}" '
        f'viewBox="0 0 {_WIDE:.0f} {_HIGH:.0f}">{"".join(parts)}</svg>'
    )


def _time(seconds: float) -> str:
    """A time in s, ms or µs; with a decimal below 10.

    >>> _time(1.0), _time(0.00123), _time(2.5e-5)
    ('1 s', '1.2 ms', '25 µs')
    """
    unit, size = next(pair for pair in (("s", 1.0), ("ms", 1e-3), ("µs", 0.0)) if seconds >= 0.9995 * pair[1])
    value = seconds / (size or 1e-6)
    rounded = f"{value:.{0 if value >= 9.95 else 1}f}".removesuffix(".0")
    return f"{rounded} {unit}"
