"""Plots of a distillation: the divergences during training, and the log-ratio of the two densities."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.reporting.plots.canvas import DATA, GRID, INK, MODEL, PAPER, blank, legend, plain, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def divergences(fidelity: Any, *, title: str | None = None) -> "Figure":
    """Left: both divergences against the block of steps. Right: the distribution of log q - log p.

    Args:
        fidelity: a `Fidelity` with `history` (its `reverse_kl`, `forward_kl`, `best_block`); without a history only
            the right plot is drawn.
        title: a heading, none by default.

    Returns:
        The figure. The log-ratio of a perfect student is 0 everywhere; its mean over samples of the student is
        KL(student | teacher), over samples of the teacher -KL(teacher | student).

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> fidelity = SimpleNamespace(history=None, log_ratios=(np.linspace(-1, 1, 99), np.linspace(-2, 1, 99)))
    >>> len(divergences(fidelity).axes)
    1
    """
    history = fidelity.history if fidelity.history is not None and len(fidelity.history.reverse_kl) else None
    with style():
        figure = blank(7.2 if history else 4.2, 3.2)
        panels = figure.subplots(1, 2 if history else 1, squeeze=False)[0]
        if history:
            _draw_curves(panels[0], history)
        _draw_ratios(panels[-1], *fidelity.log_ratios)
        if title:
            plain(figure.suptitle(title, x=0.01, ha="left", fontsize=10.5))
        return figure


def _draw_curves(axes: "Axes", history: Any) -> None:
    """Draw both curves on a logarithmic axis; estimates below zero, which noise can cause, are left out."""
    blocks = np.arange(1, len(history.reverse_kl) + 1)
    for values, colour, name in (
        (history.reverse_kl, MODEL, "KL(student | teacher)"),
        (history.forward_kl, DATA, "KL(teacher | student)"),
    ):
        curve = np.asarray(values, np.float64)
        curve = np.where(curve > 0, curve, np.nan)
        if np.isfinite(curve).any():
            axes.plot(blocks, curve, color=colour, linewidth=1.4, label=name)
            if history.best_block >= 0:
                axes.plot(
                    history.best_block + 1, curve[history.best_block], "o", color=colour, markersize=6,
                    markeredgecolor=PAPER,
                )  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlabel="block of steps", ylabel="held-out divergence (nats)")
    axes.grid(axis="y", color=GRID)
    legend(axes, loc="upper right")


def _draw_ratios(axes: "Axes", students: np.ndarray, teachers: np.ndarray) -> None:
    both = np.concatenate([students, teachers])
    both = both[np.isfinite(both)]
    low, high = np.quantile(both, [0.005, 0.995]) if len(both) else (0.0, 0.0)
    low, high = min(float(low), -1e-3), max(float(high), 1e-3)
    edges = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), 61)
    for values, colour, name in ((students, MODEL, "student's samples"), (teachers, DATA, "teacher's samples")):
        shares = np.histogram(values, edges)[0] / max(len(values), 1)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, label=name)
    axes.axvline(0.0, color=INK, linewidth=0.8, dashes=(4, 3))
    axes.set(xlabel="log student density \N{MINUS SIGN} log teacher density (nats)", ylabel="share of samples")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0.0, 1.3 * axes.get_ylim()[1])  # space for the legend
    legend(axes, loc="upper left")
