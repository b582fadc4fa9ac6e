"""The report of a fit: which sections it has, and their order."""

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
from pushforward.reporting.report.frame import (
    Section,
    check_target,
    facts_html,
    figure_html,
    scrolled,
    terms_html,
    training_section,
    write_sections,
)
from pushforward.reporting.report.influential_columns import telling
from pushforward.reporting.report.plane import density_section, is_plane, layers_section
from pushforward.reporting.report.template import CORNER_TERMS, FIT_CSS, LEADERBOARD_TERMS
from pushforward.reporting.report.unlikely import unlikely_section
from pushforward.reporting.report.words import NONE, clean, decimals, duration, find, gain, gain_digits, summary

_FEW, _MANY = 3, 5  # columns: a phone can show the corner plot of few nearly whole


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
    """Write one self-contained HTML file that tells what was fitted, how good it is, and which rows stand out.

    In this order, each where its material is there: the result in words, leaderboard, health certificate, columns,
    training curve, corner plot, calibration, log-densities with the rows of lowest density, for a flow of two columns
    its density and what each of its layers does to a grid, facts, and how to read all this.

    The file fetches nothing and runs nothing: its pictures are part of it, and its own policy forbids the rest. All
    text is escaped. It is written beside its place and moved there in one step, so no reader ever sees half of it. It
    stays below 2 MB: of many columns the eight are drawn in which data and samples differ most.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        leaderboard: rows with `name`, `setting`, `test_log_likelihood`, `standard_error` (nats), `fit_seconds`,
            `score_seconds`, `sample_seconds`; numbers may be None. They are shown best first. One with a
            `without_copies`, the nats of the test rows that have no equal training row, adds a column.
        history: of the training, see `pushforward.reporting.plots.training_curve`; also `stop_reason`, `skipped_steps`,
            `compile_seconds`, and `n_validation_copies` with `validation_without_copies` if there are. None, or a
            history without an epoch, leaves the section out.
        data: (n, d) rows, held out from training.
        samples: (m, d) rows drawn from the model; of a conditional flow, at the contexts of rows of the data.
        columns: d names.
        facts: what is to be known about the model, in order: layers, parameters, seed, versions.
        certificate: what `pushforward.check` found, or its `to_dict()`.
        schema: of the columns: objects or mappings with `name`, `kind`, `unit`, `note`, or what has such objects
            as its `columns`.
        flow: the model. Only a `Flow` of two columns without a context has pictures of its own.
        scores: (n,) log-densities of the rows of data, in nats.
        sample_scores: (m,) those of the samples.
        row_numbers: (n,) where the rows of data stand in the user's file, counted from 1.
        draws: (k, n', d) samples at the own contexts of the first n' rows of data; these are then calibrated by them.
        model: name of the leaderboard's row that this report is about; the first one by default.
        baseline: name of the row that gains are counted from; without such a row gains are left out.
        attribution: where the data come from, at the foot of the page.
        no_gain: why the difference of two scores is no gain, which is then not stated.
        remarks: sentences to stand below the result.
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
    subject = leaderboard[0] if model is None else find(leaderboard, model)
    if subject is None:
        raise ValueError(f"model: expected one of {[row.name for row in leaderboard]}, got {model!r}.")
    rows = table("data", data)
    drawn = table("samples", samples, rows.shape[1])
    reference = find(leaderboard, baseline)
    sentences = [escape(clean(sentence)) for sentence in summary(leaderboard, subject, reference, no_gain)]
    sentences += [escape(clean(remark)) for remark in remarks]
    lines = _leaderboard(leaderboard, subject, None if no_gain else reference)
    sections = [Section("Leaderboard", scrolled(lines), LEADERBOARD_TERMS)]
    if certificate is not None:
        sections.append(certificate_section(certificate))
        if not is_healthy(certificate):
            sentences.append("<b>The model is not healthy: see its certificate below.</b>")
    if schema is not None:
        sections.append(columns_section(schema))
    if course := training_section(history):
        sections.append(course)
    sections.append(_corner_section(rows, drawn, columns))
    ranked = rows if draws is None else rows[: np.shape(draws)[1] if np.ndim(draws) == 3 else len(rows)]
    sections.append(calibration_section(ranked, drawn, columns, draws))
    if scores is not None:
        sections.append(unlikely_section(rows, scores, columns, sample_scores, row_numbers))
    if is_plane(flow):
        sections += [density_section(flow, rows, drawn, columns), layers_section(flow)]
    sections.append(Section("The model", facts_html({clean(name): clean(value) for name, value in facts.items()})))
    terms = [term for section in sections for term in section.terms]
    sections.append(Section("How to read this", terms_html(terms)))
    return write_sections(
        target, clean(title), sentences, [section.html() for section in sections], attribution, overwrite, FIT_CSS
    )


def _corner_section(rows: np.ndarray, samples: np.ndarray, columns: Sequence[str]) -> Section:
    """All columns, or the eight of many that tell most, with a sentence that says so."""
    width = rows.shape[1]
    if len(columns) != width:
        raise ValueError(f"columns: expected {width} names, one for each column of data, got {len(columns)}.")
    shown = telling(rows, samples, MOST_COLUMNS)
    caption = "Every column alone, and every pair. Where orange follows blue, the model has learned the data."
    if len(shown) < width:
        caption = (
            f"Of {width} columns the {len(shown)} are drawn in which data and samples differ most, alone or in the "
            f"rank correlation of a pair. {caption}"
        )
    picture = corner(rows[:, shown], samples[:, shown], [columns[j] for j in shown])
    svg = inline_svg(picture, "corner", "Corner plot: data against samples of the model")
    kind = "square" if len(shown) <= _FEW else "wide" if len(shown) <= _MANY else "widest"
    return Section("Data against samples", figure_html(svg, caption, kind), CORNER_TERMS)


def _leaderboard(rows: Sequence[Any], subject: Any, reference: Any | None) -> str:
    """Best first, the report's own model in bold; columns in which nothing was measured are left out."""
    heads = ["Model", "Setting", "Held-out nats per row"]
    is_copied = any(getattr(row, "without_copies", None) is not None for row in rows)
    if is_copied:
        heads.append("Without copies of training rows")
    if reference is not None:
        heads.append(f"Gain over the {reference.name}")
    clocks = [("Fit", "fit_seconds"), ("Score", "score_seconds"), ("Sample", "sample_seconds")]
    clocks = [(head, field) for head, field in clocks if any(getattr(row, field) is not None for row in rows)]
    heads += [head for head, _ in clocks]
    lines = []
    for row in sorted(rows, key=_rank):
        error = (
            "" if row.standard_error is None else f" <small>\N{PLUS-MINUS SIGN} {decimals(row.standard_error)}</small>"
        )
        cells = [f'<th scope="row">{escape(clean(row.name))}</th>', f"<td>{escape(clean(row.setting or NONE))}</td>"]
        cells.append(f'<td class="number">{decimals(row.test_log_likelihood)}{error}</td>')
        if is_copied:
            cells.append(f'<td class="number">{decimals(getattr(row, "without_copies", None))}</td>')
        if reference is not None:
            gained, error = gain(row, reference), getattr(row, "gain_error", None)
            digits = gain_digits(error)
            words = decimals(gained, digits, sign=True)
            if gained is not None and error is not None:
                words += f" <small>\N{PLUS-MINUS SIGN} {decimals(error, digits)}</small>"
            cells.append(f'<td class="number">{words}</td>')
        cells += [f'<td class="number">{duration(getattr(row, field))}</td>' for _, field in clocks]
        lines.append(f"<tr{' class=subject' if row is subject else ''}>{''.join(cells)}</tr>")
    numeric = ["", ""] + [' class="number"'] * (len(heads) - 2)
    head = "".join(f'<th scope="col"{kind}>{escape(word)}</th>' for word, kind in zip(heads, numeric, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _rank(row: Any) -> float:
    """Sorts the best score first; one that is missing or not a number goes last."""
    return (
        math.inf if row.test_log_likelihood is None or math.isnan(row.test_log_likelihood) else -row.test_log_likelihood
    )
