"""Common parts of all plots: the palette, the style, a blank figure, and checks of the input."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pushforward.errors import DataError, MissingExtra, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Blue and vermillion of the palette of Okabe and Ito (2008), distinct under all common types of colour blindness.
DATA, MODEL = "#0072b2", "#d55e00"
INK, MUTED, GRID, PAPER = "#24292f", "#6a737d", "#d8dee4", "#ffffff"

LONGEST_LABEL = 20

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 160.0,
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.dpi": "figure",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.0,
}

# The groups of settings that a plot depends on; others (back end, windows, animation) are left alone.
_FAMILIES = frozenset(
    "axes contour figure font grid hist image legend lines markers mathtext patch path pcolor pcolormesh savefig text "
    "xaxis xtick yaxis ytick".split()
)


@contextmanager
def style() -> Generator[None]:
    """Context that applies our style and then restores the settings of the caller."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "drawing a picture") from error
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name.split(".")[0] in _FAMILIES}
    settings: dict[Any, Any] = {**defaults, **_STYLE}
    with matplotlib.rc_context(settings):
        yield


def blank(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> "Figure":
    """An empty figure of a size in inches. It is not registered with pyplot, so nothing has to be closed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def plain(text: "Text") -> "Text":
    """The text without math mode: a column name such as `a_$b` is not a formula."""
    text.set_parse_math(False)
    return text


def short(name: object) -> str:
    """The name of a column on one line, without control characters, its middle left out if it does not fit an axis."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(name)).split())
    if len(line) <= LONGEST_LABEL:
        return line
    end = LONGEST_LABEL // 2 - 1  # names of one table often differ at their ends only
    return f"{line[: LONGEST_LABEL - end - 1]}\N{HORIZONTAL ELLIPSIS}{line[-end:]}"


def legend(axes: "Axes", **options: Any) -> None:
    """The legend of the axes, without math mode."""
    for text in axes.legend(**options).get_texts():
        plain(text)


def ramp() -> Any:
    """Colour map of model densities: white to deep orange, of decreasing lightness."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("pushforward", [PAPER, "#fbd9b5", "#f2a25c", MODEL, "#8a3300", "#431600"])


def veil() -> Any:
    """Colour map of model densities on light and dark pages: orange, from transparent to opaque."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    red, green, blue = to_rgb(MODEL)
    return LinearSegmentedColormap.from_list("pushforward veil", [(red, green, blue, alpha) for alpha in (0.0, 1.0)])


def table(name: str, values: Any, width: int | None = None) -> np.ndarray:
    """The values as a finite float64 matrix (n, d).

    Raises:
        ShapeError: not two axes, no row, or another number of columns than `width`.
        DataError: a number is missing or infinite.
    """
    matrix = np.asarray(values, dtype=np.float64)
    expected = "(n, d)" if width is None else f"(n, {width})"
    if matrix.ndim != 2 or not len(matrix) or not matrix.shape[1] or matrix.shape[1] != (width or matrix.shape[1]):
        suggestion = " Write a single column as np.asarray(x)[:, None]." if matrix.ndim == 1 else ""
        raise ShapeError(f"{name}: expected an array of shape {expected} with n >= 1, got {matrix.shape}.{suggestion}")
    is_broken = ~np.isfinite(matrix).all(axis=1)
    if is_broken.any():
        raise DataError(
            f"{int(is_broken.sum())} of {len(matrix)} rows have a missing or infinite number, the first is row "
            f"{int(np.argmax(is_broken))}; expected finite numbers. Drop those rows, or find out where they come from.",
            name,
        )
    return matrix


def rectangle(name: str, values: Sequence[float]) -> tuple[float, float, float, float]:
    """The sides (left, right, bottom, top) of a rectangle with positive area."""
    sides = np.asarray(values, dtype=np.float64)
    if sides.shape != (4,) or not np.isfinite(sides).all() or sides[0] >= sides[1] or sides[2] >= sides[3]:
        raise ValueError(
            f"{name}: expected four finite numbers (left, right, bottom, top) with left < right and bottom < top, "
            f"got {values!r}."
        )
    left, right, bottom, top = (float(side) for side in sides)
    return left, right, bottom, top


def limits(values: np.ndarray, tail: float = 1e-3, margin: float = 0.04) -> tuple[float, float]:
    """Axis limits between the quantiles `tail` and 1 - `tail` of the values, with a margin; never an empty axis."""
    low, high = (float(q) for q in np.quantile(values, [tail, 1.0 - tail]))
    pad = margin * (high - low)
    # A constant column, or one whose spread is lost in rounding, needs a range too.
    pad = pad if high - low > 1e-12 * max(abs(low), abs(high)) else max(0.5, 1e-6 * abs(high))
    return low - pad, high + pad
