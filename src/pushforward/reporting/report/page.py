"""Report of a fit: its sections and their order."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.core.arguments import as_path
from pushforward.reporting.html import Markup, check_target, figure_html, score_html, table_html
from pushforward.reporting.plots import corner
from pushforward.reporting.plots.canvas import table
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.marginals import MOST_COLUMNS
from pushforward.reporting.report.calibration import calibration_section
from pushforward.reporting.report.certificate import as_certificate, certificate_section, verdict_html
from pushforward.reporting.report.columns import columns_section
from pushforward.reporting.report.influential_columns import influential_columns
from pushforward.reporting.report.marginals import Gaps, columns_table_section, correlations_section
from pushforward.reporting.report.plane import density_section, is_plane, layers_section
from pushforward.reporting.report.sections import Section, training_section, write_sections
from pushforward.reporting.report.unlikely import unlikely_section
from pushforward.reporting.text import best_other, decimals, duration, find_row, gain, gain_digits, gain_error, summary

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
    baseline: str | None = None,
    attribution: str | None = None,
    no_gain: str = "",
    remarks: Sequence[str] = (),
    extent: Any = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file on a fitted model, its quality, and unusual rows.

    First the verdict of the certificate in the words of the table, with what to do, and the gain over the best of the
    other models. Then, each only if its input is given: tables of rows against samples by column and by pair, corner
    plot, calibration, the rows of lowest density, leaderboard, types of the columns, and for a flow of two columns its
    density. Folded: all tests, training curve, a grid after each layer of a flow of two columns, and facts.

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
        baseline: name of the row that gains refer to; by default the best of the other models.
        attribution: source of the data, at the end of the page.
        no_gain: why the difference of two scores is no gain; it replaces the gain.
        remarks: sentences to add below the summary.
        extent: (2, d) least and largest values of all rows of the table; those of `data` by default.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Cost: that of the pictures, some seconds; with a flow of two columns 25,600 scores and a grid through each layer.

    Raises:
        ValueError: the file exists and `overwrite` is false, the folder does not, the leaderboard is empty, or has no
            row named `model`; a schema without a column.
        DataError, ShapeError: `data` or `samples` cannot be drawn; scores that do not belong to them.
    """
    target = as_path(path)
    check_target(target, overwrite)
    if not leaderboard:
        raise ValueError("leaderboard: expected at least one row, got none.")
    subject = leaderboard[0] if model is None else find_row(leaderboard, model)
    if subject is None:
        raise ValueError(f"model: expected one of {[row.name for row in leaderboard]}, got {model!r}.")
    rows = table("data", data)
    model_samples = table("samples", samples, rows.shape[1])
    if len(columns) != rows.shape[1]:
        raise ValueError(f"columns: expected {rows.shape[1]} names, one for each column of data, got {len(columns)}.")
    reference = best_other(leaderboard, subject) if baseline is None else find_row(leaderboard, baseline)
    certificate = None if certificate is None else as_certificate(certificate)
    ranked = rows if draws is None else rows[: np.shape(draws)[1] if np.ndim(draws) == 3 else len(rows)]
    gaps = Gaps.of(ranked, model_samples, draws)
    summary_lines = [*summary(subject, reference, len(rows), no_gain), gaps.describe(columns)]
    summary_lines += [f"{remark[:1].upper()}{remark[1:]}" for remark in remarks]
    sections = [
        columns_table_section(rows, model_samples, columns, gaps, extent),
        correlations_section(rows, model_samples, columns),
        _corner_section(rows, model_samples, columns),
        calibration_section(ranked, model_samples, columns, draws),
        unlikely_section(rows, scores, columns, sample_scores, row_numbers) if scores is not None else None,
        Section("Leaderboard", _leaderboard(leaderboard, subject, None if no_gain else reference), "leaderboard"),
        columns_section(schema) if schema is not None else None,
        density_section(flow, rows, model_samples, columns) if is_plane(flow) else None,
        certificate_section(certificate) if certificate is not None else None,
        training_section(history, is_folded=True),
        dataclasses.replace(layers_section(flow), is_folded=True) if is_plane(flow) else None,
    ]
    return write_sections(
        target, title, summary_lines, sections, facts, overwrite, attribution=attribution,
        verdict="" if certificate is None else verdict_html(certificate),
        styles=("report.css", "fit.css"),
    )  # fmt: skip


def _corner_section(rows: np.ndarray, samples: np.ndarray, columns: Sequence[str]) -> Section:
    """Corner plot of all columns, or of the eight in which data and samples differ most."""
    width = rows.shape[1]
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
    return Section("Data against samples", figure_html(svg, caption, kind), "corner")


def _leaderboard(leaderboard: Sequence[Any], subject: Any, reference: Any | None) -> Markup:
    """The leaderboard, best row first, the model of the report in bold; columns without a value are left out."""
    rows = sorted(leaderboard, key=_rank)
    columns: dict[str, list[Any]] = {
        "Model": [row.name for row in rows],
        "Setting": [row.setting or None for row in rows],
        "Score of test rows, nats per row": [score_html(row.test_log_likelihood, row.standard_error) for row in rows],
    }
    without_copies = [getattr(row, "without_copies", None) for row in rows]
    if any(value is not None for value in without_copies):
        columns["Without copies of training rows"] = [decimals(value) for value in without_copies]
    if reference is not None:
        errors = [gain_error(row, reference) for row in rows]
        columns[f"Gain over the {reference.name}"] = [
            score_html(gain(row, reference), error, gain_digits(error), sign=True)
            for row, error in zip(rows, errors, strict=True)
        ]
    for head, field in (("Fit", "fit_seconds"), ("Score", "score_seconds"), ("Sample", "sample_seconds")):
        if any(getattr(row, field) is not None for row in rows):
            columns[head] = [duration(getattr(row, field)) for row in rows]
    index = [row is subject for row in rows].index(True)
    return table_html(columns, zip(*columns.values(), strict=True), n_text=2, subject=index)


def _rank(row: Any) -> float:
    """Sort key: best score first; a missing score, or NaN, last."""
    return (
        math.inf if row.test_log_likelihood is None or math.isnan(row.test_log_likelihood) else -row.test_log_likelihood
    )
