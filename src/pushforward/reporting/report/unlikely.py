"""Log-densities section: their distribution, and the rows with the lowest ones."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.plots import log_densities
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import Section, figure_html, scrolled
from pushforward.reporting.report.text import MINUS, NONE, clean, decimals, short_html

N_LISTED = 10
_MAX_COLUMNS = 40


def unlikely_section(
    data: Any, scores: Any, columns: Sequence[str], sample_scores: Any = None, row_numbers: Any = None
) -> Section:
    """The histogram of log-densities, and the ten rows of lowest log-density with their values.

    If a log-density is NaN or +inf, a message replaces them, so that a broken model still has a report.

    Args:
        data: (n, d) rows.
        scores: (n,) their log-densities in nats; -inf where the density is zero.
        columns: d names.
        sample_scores: (m,) log-densities of samples, or None.
        row_numbers: (n,) numbers of the rows in the user's file, counted from 1, or None.

    Raises:
        ShapeError: lengths that differ.
    """
    rows, log_density = table("data", data), np.asarray(scores, np.float64)
    numbers = None if row_numbers is None else np.asarray(row_numbers)
    for name, values in (("scores", log_density), ("row_numbers", numbers)):
        if values is not None and values.shape != (len(rows),):
            raise ShapeError(f"{name}: expected shape ({len(rows)},), one for each row of data, got {values.shape}.")
    try:
        figure = log_densities(log_density, sample_scores)
    except NumericError as error:
        return Section("Log-densities", f"<p>The log-densities cannot be shown: {escape(clean(error))}</p>")
    picture = inline_svg(figure, "scores", "Log-densities of rows and of samples")
    quantile = float(np.quantile(log_density, 0.01, method="lower"))
    lowest = np.argsort(log_density, kind="stable")[:N_LISTED]
    body = figure_html(picture, _describe_scores(log_density, quantile, sample_scores))
    head = "The row" if len(lowest) == 1 else f"The {len(lowest)} rows"
    body += f"<h3>{head} of lowest log-density</h3><p>{_describe_table(len(columns))}</p>"
    return Section(
        "Log-densities", body + scrolled(_table(rows, log_density, columns, numbers, lowest, quantile)), _TERMS
    )


def _describe_scores(scores: np.ndarray, quantile: float, sample_scores: Any) -> str:
    text = (
        f"One row in a hundred has a log-density of {decimals(quantile, 2)} or less"
        if np.isfinite(quantile)
        else ("One row in a hundred or more has a density of zero")
    )
    if sample_scores is not None:
        samples = np.asarray(sample_scores, np.float64)
        below = float((scores < np.quantile(samples, 0.01)).mean())
        text += f"; {below:.1%} of the rows lie below the lowest hundredth of the model's samples"
    n_zero = int((scores == -np.inf).sum())
    if n_zero:
        text += f"; {n_zero:,} row{' has' if n_zero == 1 else 's have'} a density of zero, off the picture"
    return text + "."


def _describe_table(width: int) -> str:
    text = (
        "Check these rows first: they may be entry errors, faulty measurements or rare events. Underlined values "
        "are among the lowest or highest hundredth of their column."
    )
    if width > _MAX_COLUMNS:
        text += f" The {_MAX_COLUMNS} columns shown have the most underlined values, or are the first of the others."
    return text


def _table(
    rows: np.ndarray, scores: np.ndarray, columns: Sequence[str], numbers: np.ndarray | None, lowest: np.ndarray,
    quantile: float,
) -> str:  # fmt: skip
    """A line for each row: its number, log-density, distance below the quantile, and values."""
    ends = np.quantile(rows, [0.01, 0.99], axis=0)
    far = (rows[lowest] < ends[0]) | (rows[lowest] > ends[1])
    # With many columns, show those that make the rows unusual; a stable sort keeps the others in order.
    shown = np.sort(np.argsort(-far.sum(axis=0), kind="stable")[:_MAX_COLUMNS])
    heads = [*(["Row"] if numbers is not None else []), "Log-density", "Below the 1 % quantile"]
    head = "".join(f'<th scope="col" class="number">{heading}</th>' for heading in heads)
    head += "".join(f'<th scope="col" class="number">{short_html(columns[j])}</th>' for j in shown)
    lines = []
    for rank, index in enumerate(lowest):
        score = float(scores[index])
        below = quantile - score if score < quantile else None
        cells = [] if numbers is None else [f'<th scope="row" class="number">{escape(str(numbers[index]))}</th>']
        cells += [f'<td class="number">{_format_score(score)}</td>', f'<td class="number">{_format_score(below)}</td>']
        for j in shown:
            value = f"{rows[index, j]:.6g}".replace("-", MINUS)
            cells.append(f'<td class="number">{f"<span class=far>{value}</span>" if far[rank, j] else value}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table class=cells><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _format_score(value: float | None) -> str:
    if value is None:
        return NONE
    return decimals(value, 2) if np.isfinite(value) else f"{MINUS if value < 0 else ''}\N{INFINITY}"


_TERMS = (
    (
        "Log-densities",
        "The natural logarithm of the model's density at each row, in the units of the data. If the model is right, "
        "rows (blue) and its samples (orange) follow one distribution. Blue further left: the model is overconfident, "
        "or some rows are unlike the rest. Ticks below the axis are the ten lowest rows.",
    ),
)
