"""How log-densities are distributed: rows of data beside samples of the model."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.plots.canvas import DATA, INK, MODEL, PAPER, blank, legend, number, plain, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REACH = 1.5  # of the middle 98 %, that the picture goes on to the left of it
_MOST_BINS = 160
_TICKS = 10  # lowest rows marked one by one


def log_densities(
    scores: Any,
    sample_scores: Any = None,
    *,
    labels: tuple[str, str] = ("rows of data", "samples of the model"),
    title: str | None = None,
) -> "Figure":
    """Histograms of log p(x) over rows of data and over samples, with the data's 1 % quantile and ten lowest rows.

    Where the model is right, both are draws of one distribution. Data further left than samples means that the model is
    too sure of itself, data further right that it spreads its mass too far.

    Args:
        scores: (n,) log-densities of rows of data, in nats; -inf where the density is zero.
        sample_scores: (m,) those of samples; none by default.
        labels: what the blue and the orange are called.
        title: a heading, none by default.

    Returns:
        The figure. It goes on to the left of the data's middle 98 % for one and a half times the width of that; what
        lies beyond is counted in a sentence, and in the heights.

    Cost: one pass over the numbers.

    Raises:
        ShapeError: not one axis, or no number.
        NumericError: a log-density is NaN or +inf.

    >>> import numpy as np
    >>> figure = log_densities(np.linspace(-9.0, 0.0, 100), np.linspace(-8.0, 0.0, 50))
    >>> figure.axes[0].get_xlabel()
    'log-density (nats)'
    """
    rows = _checked("scores", scores)
    drawn = None if sample_scores is None else _checked("sample_scores", sample_scores)
    low, high, most = _span(rows, drawn)
    # Bins as fine as the bulk asks for, however far the picture goes on to the left of it.
    count = np.clip(2.0 * len(rows) ** (1 / 3), 16, 48) * (high - low) / (high - most)
    edges = np.linspace(low, high, round(min(count, _MOST_BINS)) + 1)
    with style():
        figure = blank(7.2, 3.2)
        axes = figure.add_subplot()
        heights = np.histogram(rows, edges)[0] / len(rows)
        axes.stairs(heights, edges, fill=True, color=DATA, alpha=0.35, linewidth=0)
        axes.stairs(heights, edges, color=DATA, linewidth=0.8, label=labels[0])
        if drawn is not None:
            model = np.histogram(drawn, edges)[0] / len(drawn)
            axes.stairs(model, edges, color=MODEL, linewidth=1.3, label=labels[1])
            heights = np.concatenate([heights, model])
        top = max(float(heights.max()), 1e-9)
        edge = float(np.quantile(rows, 0.01, method="lower"))
        if low <= edge <= high:
            axes.axvline(edge, color=INK, linewidth=0.9, dashes=(4, 3), label=f"1 % of the rows: {number(edge, 2)}")
        lowest = np.sort(rows)[:_TICKS]
        axes.vlines(
            lowest[lowest >= low], -0.07 * top, -0.02 * top, color=DATA, linewidth=1.0,
            label=f"the {len(lowest)} lowest rows" if len(lowest) > 1 else "the lowest row",
        )  # fmt: skip
        if beyond := int((rows < low).sum()):
            words = f"\N{LEFTWARDS ARROW} {beyond:,} row{'' if beyond == 1 else 's'} further left"
            plain(axes.text(0.01, 0.5, words, transform=axes.transAxes, color=DATA, fontsize=8.5))
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
    wrong = np.isnan(scores) | (scores == np.inf)
    if wrong.any():
        raise NumericError(
            f"{name}: {int(wrong.sum())} of {len(scores)} are NaN or +inf, the first is number {int(wrong.argmax())}; "
            "expected finite numbers or -inf. Check the flow there."
        )
    return scores


def _span(rows: np.ndarray, drawn: np.ndarray | None) -> tuple[float, float, float]:
    """From the lowest row, or not so far, to the highest of either, and where the bulk begins; never an empty axis."""
    both = rows if drawn is None else np.concatenate([rows, drawn])
    finite, all_finite = rows[np.isfinite(rows)], both[np.isfinite(both)]
    if not len(all_finite):
        return -1.0, 0.0, -1.0
    finite = finite if len(finite) else all_finite
    q1, q99 = (float(quantile) for quantile in np.quantile(finite, [0.01, 0.99]))
    high = float(all_finite.max())
    low = max(min(float(finite.min()), float(np.quantile(all_finite, 1e-3))), q1 - _REACH * (q99 - q1))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):
        room = max(0.5, 1e-6 * abs(high))
        return low - room, high + room, low - room
    # Of equal scores with a few others above, or samples far above the rows, the bulk is all of them.
    return low, high, min(q1, high - 0.1 * (high - low))
