"""Plot of a training run: log-likelihood against the epoch."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.reporting.plots.canvas import DATA, INK, MODEL, PAPER, blank, legend, plain, style
from pushforward.reporting.text import decimals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def training_curve(history: Any, *, title: str | None = None) -> "Figure":
    """Mean log-likelihood of training and validation rows against the epoch, with wall time above.

    Args:
        history: has `train` and `validation` (nats per row, one number an epoch; `validation` may be empty), `seconds`
            (wall time at the end of each epoch), `best_epoch` (index into those lists; None or -1: no epoch) and
            `gaussian` (log-likelihood of a full Gaussian on validation rows, the dashed line, or None).
        title: a heading, none by default.

    Returns:
        The figure. Its vertical axis leaves out the first epochs and single spikes if they are far below; if the
        Gaussian is far from the curves, a text replaces its line.

    Raises:
        ValueError: no epoch, lists of unequal length, or a best epoch out of range.

    >>> from types import SimpleNamespace
    >>> history = SimpleNamespace(train=[0.1, 0.4], validation=[], seconds=[1.5, 2.0], best_epoch=1, gaussian=-0.2)
    >>> training_curve(history).axes[0].get_xlabel()
    'epoch'
    """
    train, validation, seconds = (
        np.asarray(values, dtype=np.float64) for values in (history.train, history.validation, history.seconds)
    )
    epochs = np.arange(1, len(train) + 1)
    if not len(train):
        raise ValueError("history.train: expected at least one epoch, got none. Train the flow first.")
    for name, values in (("validation", validation), ("seconds", seconds)):
        if len(values) not in (0, len(train)):
            raise ValueError(f"history.{name}: expected {len(train)} numbers, one an epoch, got {len(values)}.")
    best = None if history.best_epoch == -1 else history.best_epoch
    if best is not None and not 0 <= best < len(train):
        raise ValueError(f"history.best_epoch: expected an index from 0 to {len(train) - 1}, got {best}.")
    from matplotlib.ticker import MaxNLocator

    with style():
        figure = blank(7.2, 3.7)
        axes = figure.add_subplot()
        marker = "o" if len(train) <= 3 else None
        axes.plot(epochs, train, color=DATA, linewidth=1.3, marker=marker, markersize=3, label="training rows")
        if len(validation):
            axes.plot(
                epochs, validation, color=MODEL, linewidth=1.8, marker=marker, markersize=3, label="validation rows"
            )
        curve = validation if len(validation) else train
        if best is not None:
            axes.plot(
                [best + 1], [curve[best]], "o", color=MODEL if len(validation) else DATA, markersize=7, zorder=5,
                markeredgecolor=PAPER, markeredgewidth=1.2,
                label=f"best: epoch {best + 1}, {decimals(curve[best])} nats",
            )  # fmt: skip
        _draw_baseline(axes, history.gaussian, train, curve)
        pad = max(0.5, 0.02 * len(train))
        axes.set(xlim=(1 - pad, len(train) + pad), xlabel="epoch", ylabel="mean log-likelihood (nats per row)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y")
        if len(seconds):
            _draw_wall_time(axes, seconds)
        legend(axes, loc="best")
        if title:
            plain(axes.set_title(title))
        return figure


def _draw_baseline(axes: "Axes", gaussian: float | None, train: np.ndarray, curve: np.ndarray) -> None:
    """Set the vertical limits, and draw the Gaussian: as a line, or as text if the line would flatten the curves."""
    finite_values = np.concatenate([train, curve])
    finite_values = finite_values[np.isfinite(finite_values)]
    if not len(finite_values):
        raise ValueError("history: expected some finite log-likelihood, got none.")
    low, high = float(np.quantile(finite_values, 0.05)), float(finite_values.max())
    span = max(high - low, 1e-3 * max(abs(high), 1.0))
    if gaussian is not None and np.isfinite(gaussian):
        if len(train) <= 3 or low - 1.5 * span <= gaussian <= high + 1.5 * span:
            axes.axhline(
                gaussian, color=INK, linewidth=1.0, dashes=(5, 3), label=f"Gaussian: {decimals(gaussian)} nats"
            )
            low, high = min(low, gaussian), max(high, gaussian)
        else:
            side, edge = ("below", 0.03) if gaussian < low else ("above", 0.97)
            axes.text(
                0.985, edge, f"Gaussian: {decimals(gaussian)} nats, {side} this picture", transform=axes.transAxes,
                ha="right", va="bottom" if gaussian < low else "top", color=INK, fontsize=8.5,
            )  # fmt: skip
    margin = 0.08 * (high - low) or span
    axes.set_ylim(low - margin, high + margin)


def _draw_wall_time(axes: "Axes", seconds: np.ndarray) -> None:
    """Draw an axis of wall time at the top, not linear since epochs may take unequal times."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    total = float(seconds[-1])
    unit, name = next((u, n) for u, n in ((3600.0, "hours"), (60.0, "minutes"), (0.0, "seconds")) if total >= 2 * u)
    unit = unit or 1.0
    times = np.asarray(MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0.0, total / unit))
    positions = np.interp(times * unit, np.concatenate([[0.0], seconds]), np.arange(len(seconds) + 1))
    low, high = axes.get_xlim()
    ticks: list[tuple[float, str]] = []
    for time, position in zip(times, positions, strict=True):
        is_apart = not ticks or position - ticks[-1][0] > 0.05 * (high - low)
        if is_apart and low <= position <= high and time * unit <= total * (1 + 1e-9):
            ticks.append((float(position), f"{time:g}"))
    top_axis = axes.secondary_xaxis("top")
    top_axis.xaxis.set_major_locator(FixedLocator([position for position, _ in ticks]))
    top_axis.xaxis.set_major_formatter(FixedFormatter([label for _, label in ticks]))
    top_axis.set_xlabel(f"wall time ({name})")
    top_axis.spines["top"].set_visible(True)
