"""Report of a flow of images: bits per dimension, test images and samples."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pushforward.reporting.plots import image_grid
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import check_target, figure_html, write_page
from pushforward.reporting.report.text import decimals, duration

_HOW_TO_READ = """<dl>
<dt>Bits per dimension</dt>
<dd>The mean of \N{MINUS SIGN}log2 of the model's probability of a test image, divided by the count of numbers in an
image (pixels times colours): the size of each number under a lossless code made from the model. Lower is better; 256
levels without compression take 8. It is an upper bound: the model is a density of the dequantised image, and better
dequantisation noise would lower it.</dd>
<dt>Gaussian</dt>
<dd>The same figure for a normal distribution with the covariance matrix of the training images, plus a ridge that
is best on the validation images.</dd>
<dt>\N{PLUS-MINUS SIGN}</dt>
<dd>One standard error of the mean over the test images.</dd>
<dt>Training curve</dt>
<dd>A row is one image; its nats are bits per dimension times the count of numbers times 0.693, with the sign changed:
higher is better. The dot marks the selected weights. Training rows far above validation rows mean that the model
overfits.</dd>
<dt>Samples</dt>
<dd>The first samples drawn, without selection.</dd>
</dl>"""


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
    target = Path(path)
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
    pictures = "".join(
        figure_html(inline_svg(image_grid(images, levels=levels), name, caption), caption)
        for name, images, caption in grids
    )
    leaderboard = _leaderboard(rows)
    return write_page(
        target, title, [escape(line) for line in summary_lines], leaderboard, history, pictures, facts, _HOW_TO_READ,
        None, overwrite,
    )  # fmt: skip


def _leaderboard(rows: Sequence[Any]) -> str:
    lines = []
    for index, row in enumerate(rows):
        error = (
            "" if row.standard_error is None else f" <small>\N{PLUS-MINUS SIGN} {decimals(row.standard_error)}</small>"
        )
        cells = (
            f'<th scope="row">{escape(row.name)}</th>',
            f'<td class="number">{decimals(row.test_bits)}{error}</td>',
            f'<td class="number">{decimals(row.validation_bits)}</td>',
            *(f'<td class="number">{duration(value)}</td>' for value in (row.fit_seconds, row.score_seconds)),
        )
        lines.append(f"<tr{'' if index else ' class=subject'}>{''.join(cells)}</tr>")
    heads = ("Test, bits per dimension", "Validation", "Fit", "Score")
    head = '<th scope="col">Model</th>' + "".join(f'<th scope="col" class="number">{heading}</th>' for heading in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
