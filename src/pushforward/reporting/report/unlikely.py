"""Log-densities on a page: how they are distributed, and the rows that the model finds least likely."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.plots import log_densities
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.frame import Section, figure_html, scrolled
from pushforward.reporting.report.words import MINUS, NONE, clean, decimals, short_html

N_LISTED = 10
_MOST_COLUMNS = 40


def unlikely_section(
    data: Any, scores: Any, columns: Sequence[str], sample_scores: Any = None, row_numbers: Any = None
) -> Section:
    """The histogram of log-densities, and the ten rows of lowest log-density with their values.

    Log-densities that are NaN or +inf take its place with a sentence: a report of a broken model is still a report.

    Args:
        data: (n, d) rows.
        scores: (n,) their log-densities in nats; -inf where the density is zero.
        columns: d names.
        sample_scores: (m,) log-densities of samples, or None.
        row_numbers: (n,) where the rows stand in the user's file, counted from 1, or None.

    Raises:
        ShapeError: lengths that differ.
    """
    rows, given = table("data", data), np.asarray(scores, np.float64)
    numbers = None if row_numbers is None else np.asarray(row_numbers)
    for name, values in (("scores", given), ("row_numbers", numbers)):
        if values is not None and values.shape != (len(rows),):
            raise ShapeError(f"{name}: expected shape ({len(rows)},), one for each row of data, got {values.shape}.")
    try:
        figure = log_densities(given, sample_scores)
    except NumericError as fault:
        return Section("Log-densities", f"<p>The log-densities cannot be shown: {escape(clean(fault))}</p>")
    picture = inline_svg(figure, "scores", "Log-densities of rows and of samples")
    edge = float(np.quantile(given, 0.01, method="lower"))
    lowest = np.argsort(given, kind="stable")[:N_LISTED]
    body = figure_html(picture, _in_words(given, edge, sample_scores))
    head = "The row" if len(lowest) == 1 else f"The {len(lowest)} rows"
    body += f"<h3>{head} of lowest log-density</h3><p>{_listing(len(columns))}</p>"
    return Section("Log-densities", body + scrolled(_table(rows, given, columns, numbers, lowest, edge)), _TERMS)


def _in_words(scores: np.ndarray, edge: float, sample_scores: Any) -> str:
    words = (
        f"One row in a hundred has a log-density of {decimals(edge, 2)} or less"
        if np.isfinite(edge)
        else ("One row in a hundred or more has a density of zero")
    )
    if sample_scores is not None:
        drawn = np.asarray(sample_scores, np.float64)
        below = float((scores < np.quantile(drawn, 0.01)).mean())
        words += f"; {below:.1%} of the rows lie below the lowest hundredth of the model's own samples"
    nothing = int((scores == -np.inf).sum())
    if nothing:
        words += f"; {nothing:,} row{' has' if nothing == 1 else 's have'} a density of zero, off the picture"
    return words + "."


def _listing(width: int) -> str:
    words = (
        "What one looks at first in a new table: mistakes of entry, broken instruments, rare events. Underlined values "
        "are among the lowest or highest hundredth of their column."
    )
    if width > _MOST_COLUMNS:
        words += f" The {_MOST_COLUMNS} columns shown are those that have most of them, and the first of the others."
    return words


def _table(
    rows: np.ndarray, scores: np.ndarray, columns: Sequence[str], numbers: np.ndarray | None, lowest: np.ndarray,
    edge: float,
) -> str:  # fmt: skip
    """A line for each row: where it stands, its log-density, how far that is below the quantile, its values."""
    ends = np.quantile(rows, [0.01, 0.99], axis=0)
    far = (rows[lowest] < ends[0]) | (rows[lowest] > ends[1])
    # Of very many columns those are shown that make the rows unusual; a stable sort keeps the others in order.
    kept = np.sort(np.argsort(-far.sum(axis=0), kind="stable")[:_MOST_COLUMNS])
    heads = [*(["Row"] if numbers is not None else []), "Log-density", "Below the 1 % quantile"]
    head = "".join(f'<th scope="col" class="number">{word}</th>' for word in heads)
    head += "".join(f'<th scope="col" class="number">{short_html(columns[j])}</th>' for j in kept)
    lines = []
    for place, index in enumerate(lowest):
        score = float(scores[index])
        below = edge - score if score < edge else None
        cells = [] if numbers is None else [f'<th scope="row" class="number">{escape(str(numbers[index]))}</th>']
        cells += [f'<td class="number">{_nats(score)}</td>', f'<td class="number">{_nats(below)}</td>']
        for j in kept:
            value = f"{rows[index, j]:.6g}".replace("-", MINUS)
            cells.append(f'<td class="number">{f"<span class=far>{value}</span>" if far[place, j] else value}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table class=cells><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _nats(value: float | None) -> str:
    if value is None:
        return NONE
    return decimals(value, 2) if np.isfinite(value) else f"{MINUS if value < 0 else ''}\N{INFINITY}"


_TERMS = (
    (
        "Log-densities",
        "The natural logarithm of the model's density at each row, in the units of the data. If the model is right, "
        "rows (blue) and its own samples (orange) follow one distribution. Blue further left: the model is too sure of "
        "itself, or some rows are unlike the rest. Ticks below the axis are the ten lowest rows.",
    ),
)
