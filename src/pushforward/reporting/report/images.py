"""Report of a flow of images: bits per dimension, test images and samples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.core.arguments import as_path
from pushforward.reporting.html import check_target, figure_html, score_html, table_html
from pushforward.reporting.plots import image_grid
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import Section, training_section, write_sections
from pushforward.reporting.text import decimals, duration


def write_image_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    rows: Sequence[Any],
    history: Any,
    test: Any,
    samples: Any,
    levels: int,
    facts: Mapping[str, object],
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file, as `write_report` does: summary, figures, two grids, facts.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        rows: two, the flow and its baseline, with `name`, `validation_bits`, `test_bits`, `standard_error` (or None),
            `fit_seconds`, `score_seconds` (or None).
        history: the training history, see `write_report`.
        test: (n, H, W, C) test images.
        samples: (m, H, W, C) samples of the model.
        levels: number of levels of both.
        facts: names and values that describe the model, in order.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false, or the folder does not.
        DataError, ShapeError: images that cannot be drawn.
    """
    target = as_path(path)
    check_target(target, overwrite)
    flow, baseline = rows
    gain = baseline.test_bits - flow.test_bits
    summary_lines = [
        f"{flow.name} needs {decimals(flow.test_bits)} bits per dimension for test images, "
        f"{decimals(abs(gain))} {'fewer' if gain > 0 else 'more'} than a {baseline.name}.",
        "Both are upper bounds, because of dequantisation.",
    ]
    grids = (
        ("test", test, "Test images, which were not used in training."),
        ("samples", samples, "Samples of the model, in the order in which they were drawn."),
    )
    columns = {
        "Model": [row.name for row in rows],
        "Test, bits per dimension": [score_html(row.test_bits, row.standard_error) for row in rows],
        "Validation": [decimals(row.validation_bits) for row in rows],
        "Fit": [duration(row.fit_seconds) for row in rows],
        "Score": [duration(row.score_seconds) for row in rows],
    }
    pictures = [
        figure_html(inline_svg(image_grid(images, levels=levels), name, caption), caption)
        for name, images, caption in grids
    ]
    sections = [
        Section("Leaderboard", table_html(columns, zip(*columns.values(), strict=True), subject=0), "images"),
        training_section(history, terms=""),
        Section("Data against samples", pictures[0] + pictures[1]),
    ]
    return write_sections(target, title, summary_lines, sections, facts, overwrite)
