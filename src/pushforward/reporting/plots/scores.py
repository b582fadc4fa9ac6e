"""Plot of the distribution of log-densities: rows of data and samples of the model."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.plots.canvas import DATA, INK, MODEL, PAPER, blank, legend, plain, style
from pushforward.reporting.text import decimals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REACH = 1.5  # extension of the axis to the left, in widths of the middle 98 %
_MAX_BINS = 160
_TICKS = 10  # lowest rows, marked individually


def log_densities(
    scores: Any,
    sample_scores: Any = None,
    *,
    labels: tuple[str, str] = ("rows of data", "samples of the model"),
    title: str | None = None,
) -> "Figure":
    """Histograms of log p(x) over rows of data and over samples, with the data's 1 % quantile and ten lowest rows.

    If the model is right, both have one distribution. Data further left than samples mean that the model is
    overconfident, data further right that its density is too wide.

    Args:
        scores: (n,) log-densities of rows of data, in nats; -inf where the density is zero.
        sample_scores: (m,) log-densities of samples; none by default.
        labels: names of the blue and the orange series.
        title: a heading, none by default.

    Returns:
        The figure. It extends to the left of the middle 98 % of the data by 1.5 times their width; rows beyond are
        counted in a text, and in the heights.

    Cost: O(n + m).

    Raises:
        ShapeError: not one axis, or empty.
        NumericError: a log-density is NaN or +inf.

    >>> import numpy as np
    >>> figure = log_densities(np.linspace(-9.0, 0.0, 100), np.linspace(-8.0, 0.0, 50))
    >>> figure.axes[0].get_xlabel()
    'log-density (nats)'
    """
    rows = _checked("scores", scores)
    samples = None if sample_scores is None else _checked("sample_scores", sample_scores)
    low, high, bulk_start = _limits(rows, samples)
    # Choose the width of bins for the bulk, however far the axis extends to the left of it.
    count = np.clip(2.0 * len(rows) ** (1 / 3), 16, 48) * (high - low) / (high - bulk_start)
    edges = np.linspace(low, high, round(min(count, _MAX_BINS)) + 1)
    with style():
        figure = blank(7.2, 3.2)
        axes = figure.add_subplot()
        heights = np.histogram(rows, edges)[0] / len(rows)
        axes.stairs(heights, edges, fill=True, color=DATA, alpha=0.35, linewidth=0)
        axes.stairs(heights, edges, color=DATA, linewidth=0.8, label=labels[0])
        if samples is not None:
            model = np.histogram(samples, edges)[0] / len(samples)
            axes.stairs(model, edges, color=MODEL, linewidth=1.3, label=labels[1])
            heights = np.concatenate([heights, model])
        top = max(float(heights.max()), 1e-9)
        edge = float(np.quantile(rows, 0.01, method="lower"))
        if low <= edge <= high:
            axes.axvline(edge, color=INK, linewidth=0.9, dashes=(4, 3), label=f"1 % of the rows: {decimals(edge, 2)}")
        lowest = np.sort(rows)[:_TICKS]
        axes.vlines(
            lowest[lowest >= low], -0.07 * top, -0.02 * top, color=DATA, linewidth=1.0,
            label=f"the {len(lowest)} lowest rows" if len(lowest) > 1 else "the lowest row",
        )  # fmt: skip
        if beyond := int((rows < low).sum()):
            note = f"\N{LEFTWARDS ARROW} {beyond:,} row{'' if beyond == 1 else 's'} further left"
            plain(axes.text(0.01, 0.5, note, transform=axes.transAxes, color=DATA, fontsize=8.5))
        margin = 0.02 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(-0.1 * top, 1.1 * top))
        axes.set(xlabel="log-density (nats)", ylabel="share of rows")
        axes.set_yticks([tick for tick in axes.get_yticks() if 0.0 <= tick <= 1.1 * top])
        legend(axes, loc="upper left", frameon=True, facecolor=PAPER, edgecolor="none", framealpha=1.0)
        if title:
            plain(axes.set_title(title))
        return figure


def _checked(name: str, values: Any) -> np.ndarray:
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ShapeError(f"{name}: expected shape (n,) with n >= 1, one log-density a row, got {scores.shape}.")
    is_invalid = np.isnan(scores) | (scores == np.inf)
    if is_invalid.any():
        raise NumericError(
            f"{name}: {int(is_invalid.sum())} of {len(scores)} are NaN or +inf, the first is number "
            f"{int(is_invalid.argmax())}; expected finite numbers or -inf. Check the flow there."
        )
    return scores


def _limits(rows: np.ndarray, samples: np.ndarray | None) -> tuple[float, float, float]:
    """Limits of the axis, whose left end may cut rows off, and the start of the bulk; never an empty axis."""
    both = rows if samples is None else np.concatenate([rows, samples])
    finite, all_finite = rows[np.isfinite(rows)], both[np.isfinite(both)]
    if not len(all_finite):
        return -1.0, 0.0, -1.0
    finite = finite if len(finite) else all_finite
    q1, q99 = (float(quantile) for quantile in np.quantile(finite, [0.01, 0.99]))
    high = float(all_finite.max())
    low = max(min(float(finite.min()), float(np.quantile(all_finite, 1e-3))), q1 - _REACH * (q99 - q1))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):
        pad = max(0.5, 1e-6 * abs(high))
        return low - pad, high + pad, low - pad
    # If most scores are equal, or samples are far above the rows, the bulk is the full range.
    return low, high, min(q1, high - 0.1 * (high - low))
