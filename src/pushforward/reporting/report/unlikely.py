"""Unusual rows section: the distribution of the scores, and the rows with the lowest ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.errors import NumericError, ShapeError
from pushforward.reporting.html import Markup, figure_html, message_html, render, short_html, table_html
from pushforward.reporting.plots import log_densities
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import Section
from pushforward.reporting.text import MINUS, NONE, decimals

N_LISTED = 10
_MAX_COLUMNS = 40
_FAR = Markup("<span class=far>{}</span>")


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
        return Section("Unusual rows", message_html(f"The log-densities cannot be shown: {error}"))
    picture = inline_svg(figure, "scores", "Log-densities of rows and of samples")
    quantile = float(np.quantile(log_density, 0.01, method="lower"))
    lowest = np.argsort(log_density, kind="stable")[:N_LISTED]
    body = render(
        "unlikely.html", figure=figure_html(picture, _describe_scores(log_density, quantile, sample_scores)),
        n_rows=len(lowest), max_columns=_MAX_COLUMNS, n_columns=len(columns),
        table=_table(rows, log_density, columns, numbers, lowest, quantile),
    )  # fmt: skip
    return Section("Unusual rows", body, "log_densities")


def _describe_scores(scores: np.ndarray, quantile: float, sample_scores: Any) -> str:
    text = (
        f"One row in a hundred has a score of {decimals(quantile, 2)} or less"
        if np.isfinite(quantile)
        else ("One row in a hundred or more has a density of zero")
    )
    if sample_scores is not None:
        samples = np.asarray(sample_scores, np.float64)
        below = float((scores < np.quantile(samples, 0.01)).mean())
        text += f"; {below:.1%} of the rows lie below the lowest hundredth of the model's samples, where 1% is expected"
    n_zero = int((scores == -np.inf).sum())
    if n_zero:
        text += f"; {n_zero:,} row{' has' if n_zero == 1 else 's have'} a density of zero, off the picture"
    return text + "."


def _table(
    rows: np.ndarray, scores: np.ndarray, columns: Sequence[str], numbers: np.ndarray | None, lowest: np.ndarray,
    quantile: float,
) -> Markup:  # fmt: skip
    """A line for each row: its number, log-density, distance below the quantile, and values."""
    ends = np.quantile(rows, [0.01, 0.99], axis=0)
    far = (rows[lowest] < ends[0]) | (rows[lowest] > ends[1])
    # With many columns, show those that make the rows unusual; a stable sort keeps the others in order.
    shown = np.sort(np.argsort(-far.sum(axis=0), kind="stable")[:_MAX_COLUMNS])
    heads = [*(["Row"] if numbers is not None else []), "Score (log-density)", "Below the 1 % quantile"]
    cells = []
    for rank, index in enumerate(lowest):
        score = float(scores[index])
        below = quantile - score if score < quantile else None
        values = [f"{rows[index, j]:.6g}".replace("-", MINUS) for j in shown]
        marked = [_FAR.format(value) if far[rank, j] else value for j, value in zip(shown, values, strict=True)]
        number = [] if numbers is None else [str(numbers[index])]
        cells.append([*number, _format_score(score), _format_score(below), *marked])
    heads += [short_html(columns[j]) for j in shown]
    return table_html(heads, cells, n_text=0, row_heads=numbers is not None, kind="cells")


def _format_score(value: float | None) -> str:
    if value is None:
        return NONE
    return decimals(value, 2) if np.isfinite(value) else f"{MINUS if value < 0 else ''}\N{INFINITY}"
