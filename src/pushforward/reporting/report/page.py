"""Report of a fit: its sections and their order."""

import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.reporting.plots import corner
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.marginals import MOST_COLUMNS
from pushforward.reporting.report.calibration import calibration_section
from pushforward.reporting.report.certificate import certificate_section, is_healthy
from pushforward.reporting.report.columns import columns_section
from pushforward.reporting.report.influential_columns import influential_columns
from pushforward.reporting.report.plane import density_section, is_plane, layers_section
from pushforward.reporting.report.sections import (
    Section,
    check_target,
    facts_html,
    figure_html,
    scrolled,
    terms_html,
    training_section,
    write_sections,
)
from pushforward.reporting.report.template import CORNER_TERMS, FIT_CSS, LEADERBOARD_TERMS
from pushforward.reporting.report.text import NONE, clean, decimals, duration, find_row, gain, gain_digits, summary
from pushforward.reporting.report.unlikely import unlikely_section

_SQUARE_UP_TO, _WIDE_UP_TO = 3, 5  # columns: limits of the classes of widths of the corner plot


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    leaderboard: Sequence[Any],
    history: Any,
    data: Any,
    samples: Any,
    columns: Sequence[str],
    facts: Mapping[str, object],
    certificate: Any = None,
    schema: Any = None,
    flow: Any = None,
    scores: Any = None,
    sample_scores: Any = None,
    row_numbers: Any = None,
    draws: Any = None,
    model: str | None = None,
    baseline: str = "Gaussian",
    attribution: str | None = None,
    no_gain: str = "",
    remarks: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file on a fitted model, its quality, and unusual rows.

    The sections, each only if its input is given: summary, leaderboard, health certificate, columns, training curve,
    corner plot, calibration, log-densities with the rows of lowest density, for a flow of two columns its density and
    a grid after each of its layers, facts, and explanations.

    The file contains its pictures, and its content security policy forbids scripts and external resources. All text is
    escaped. The file is written atomically and stays below 2 MB: with many columns, only the eight are drawn in which
    data and samples differ most.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        leaderboard: rows with `name`, `setting`, `test_log_likelihood`, `standard_error` (nats), `fit_seconds`,
            `score_seconds`, `sample_seconds`; numbers may be None. They are sorted, best first. One with
            `without_copies`, the score of the test rows that equal no training row, adds a column.
        history: the training history, see `pushforward.reporting.plots.training_curve`; also `stop_reason`,
            `skipped_steps`, `compile_seconds`, and `n_validation_copies` with `validation_without_copies` if there are
            any. None, or a history without an epoch, leaves the section out.
        data: (n, d) rows that were not used in training.
        samples: (m, d) rows drawn from the model; of a conditional flow, at the contexts of rows of the data.
        columns: d names.
        facts: names and values that describe the model, in order: layers, parameters, seed, versions.
        certificate: the result of `pushforward.check`, or its `to_dict()`.
        schema: the type of each column: objects or mappings with `name`, `kind`, `unit`, `note`, or an object with such
            objects as its `columns`.
        flow: the model. Only a `Flow` of two columns without a context is drawn as a density and layer by layer.
        scores: (n,) log-densities of the rows of data, in nats.
        sample_scores: (m,) log-densities of the samples.
        row_numbers: (n,) numbers of the rows of data in the user's file, counted from 1.
        draws: (k, n', d) samples at the contexts of the first n' rows of data, for the calibration of these rows.
        model: name of the row of the leaderboard that the report is about; the first one by default.
        baseline: name of the row that gains refer to; without such a row gains are left out.
        attribution: source of the data, at the end of the page.
        no_gain: why the difference of two scores is no gain; it replaces the gain.
        remarks: sentences to add below the summary.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Cost: that of the pictures, some seconds; with a flow of two columns 25,600 scores and a grid through each layer.

    Raises:
        ValueError: the file exists and `overwrite` is false, the folder does not, the leaderboard is empty, or has no
            row named `model`; a schema without a column.
        DataError, ShapeError: `data` or `samples` cannot be drawn; scores that do not belong to them.
    """
    target = Path(path)
    check_target(target, overwrite)
    if not leaderboard:
        raise ValueError("leaderboard: expected at least one row, got none.")
    subject = leaderboard[0] if model is None else find_row(leaderboard, model)
    if subject is None:
        raise ValueError(f"model: expected one of {[row.name for row in leaderboard]}, got {model!r}.")
    rows = table("data", data)
    model_samples = table("samples", samples, rows.shape[1])
    reference = find_row(leaderboard, baseline)
    summary_lines = [escape(clean(line)) for line in summary(leaderboard, subject, reference, no_gain)]
    summary_lines += [escape(clean(remark)) for remark in remarks]
    table_html = _leaderboard(leaderboard, subject, None if no_gain else reference)
    sections = [Section("Leaderboard", scrolled(table_html), LEADERBOARD_TERMS)]
    if certificate is not None:
        sections.append(certificate_section(certificate))
        if not is_healthy(certificate):
            summary_lines.append("<b>The model is not healthy: see its certificate below.</b>")
    if schema is not None:
        sections.append(columns_section(schema))
    if training := training_section(history):
        sections.append(training)
    sections.append(_corner_section(rows, model_samples, columns))
    ranked = rows if draws is None else rows[: np.shape(draws)[1] if np.ndim(draws) == 3 else len(rows)]
    sections.append(calibration_section(ranked, model_samples, columns, draws))
    if scores is not None:
        sections.append(unlikely_section(rows, scores, columns, sample_scores, row_numbers))
    if is_plane(flow):
        sections += [density_section(flow, rows, model_samples, columns), layers_section(flow)]
    sections.append(Section("The model", facts_html({clean(name): clean(value) for name, value in facts.items()})))
    terms = [term for section in sections for term in section.terms]
    sections.append(Section("How to read this", terms_html(terms)))
    return write_sections(
        target, clean(title), summary_lines, [section.html() for section in sections], attribution, overwrite, FIT_CSS
    )


def _corner_section(rows: np.ndarray, samples: np.ndarray, columns: Sequence[str]) -> Section:
    """Corner plot of all columns, or of the eight in which data and samples differ most."""
    width = rows.shape[1]
    if len(columns) != width:
        raise ValueError(f"columns: expected {width} names, one for each column of data, got {len(columns)}.")
    shown = influential_columns(rows, samples, MOST_COLUMNS)
    caption = "Every column alone, and every pair. Where orange follows blue, the model has learned the data."
    if len(shown) < width:
        caption = (
            f"Of {width} columns the {len(shown)} are drawn in which data and samples differ most, alone or in the "
            f"rank correlation of a pair. {caption}"
        )
    picture = corner(rows[:, shown], samples[:, shown], [columns[j] for j in shown])
    svg = inline_svg(picture, "corner", "Corner plot: data against samples of the model")
    kind = "square" if len(shown) <= _SQUARE_UP_TO else "wide" if len(shown) <= _WIDE_UP_TO else "widest"
    return Section("Data against samples", figure_html(svg, caption, kind), CORNER_TERMS)


def _leaderboard(rows: Sequence[Any], subject: Any, reference: Any | None) -> str:
    """The leaderboard, best row first, the model of the report in bold; columns without a value are left out."""
    heads = ["Model", "Setting", "Held-out log-likelihood, nats per row"]
    has_copies = any(getattr(row, "without_copies", None) is not None for row in rows)
    if has_copies:
        heads.append("Without copies of training rows")
    if reference is not None:
        heads.append(f"Gain over the {reference.name}")
    times = [("Fit", "fit_seconds"), ("Score", "score_seconds"), ("Sample", "sample_seconds")]
    times = [(head, field) for head, field in times if any(getattr(row, field) is not None for row in rows)]
    heads += [head for head, _ in times]
    table_rows = []
    for row in sorted(rows, key=_rank):
        error = (
            "" if row.standard_error is None else f" <small>\N{PLUS-MINUS SIGN} {decimals(row.standard_error)}</small>"
        )
        cells = [f'<th scope="row">{escape(clean(row.name))}</th>', f"<td>{escape(clean(row.setting or NONE))}</td>"]
        cells.append(f'<td class="number">{decimals(row.test_log_likelihood)}{error}</td>')
        if has_copies:
            cells.append(f'<td class="number">{decimals(getattr(row, "without_copies", None))}</td>')
        if reference is not None:
            difference, error = gain(row, reference), getattr(row, "gain_error", None)
            digits = gain_digits(error)
            text = decimals(difference, digits, sign=True)
            if difference is not None and error is not None:
                text += f" <small>\N{PLUS-MINUS SIGN} {decimals(error, digits)}</small>"
            cells.append(f'<td class="number">{text}</td>')
        cells += [f'<td class="number">{duration(getattr(row, field))}</td>' for _, field in times]
        table_rows.append(f"<tr{' class=subject' if row is subject else ''}>{''.join(cells)}</tr>")
    kinds = ["", ""] + [' class="number"'] * (len(heads) - 2)
    head = "".join(f'<th scope="col"{kind}>{escape(heading)}</th>' for heading, kind in zip(heads, kinds, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(table_rows)}</tbody></table>"


def _rank(row: Any) -> float:
    """Sort key: best score first; a missing score, or NaN, last."""
    return (
        math.inf if row.test_log_likelihood is None or math.isnan(row.test_log_likelihood) else -row.test_log_likelihood
    )
