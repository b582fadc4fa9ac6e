"""The report of a flow of images: bits per dimension, test images beside samples."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pushforward.reporting.plots import image_grid
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.frame import check_target, figure_html, write_page
from pushforward.reporting.report.words import decimals, duration

_HOW_TO_READ = """<dl>
<dt>Bits per dimension</dt>
<dd>The mean of \N{MINUS SIGN}log2 of the model's probability of an image it has never seen, divided by the count of
numbers in an image (pixels times colours): what a lossless code made of the model would spend on each of them. Lower is
better; 256 levels stored as they are take 8. It is an upper bound: the model is a density of the image with noise that
fills each level, and a better kind of noise would lower it.</dd>
<dt>Gaussian</dt>
<dd>The same figure for a normal distribution with all covariances of the training images; what is added to its
variances, the same number for all of them, is the best on the validation images.</dd>
<dt>\N{PLUS-MINUS SIGN}</dt>
<dd>One standard error of that mean over the test images.</dd>
<dt>Training curve</dt>
<dd>A row is one image; its nats are bits per dimension times the count of numbers times 0.693, with the sign changed:
higher is better. The kept weights are those of the dot. Training rows far above validation rows mean that the model has
begun to learn images by heart.</dd>
<dt>Samples</dt>
<dd>The first that were drawn; none was picked.</dd>
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
    """Write one self-contained HTML file, as `write_report` does: result in words, figures, two grids, facts.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        rows: two, the flow and its floor, with `name`, `validation_bits`, `test_bits`, `standard_error` (or None),
            `fit_seconds`, `score_seconds` (or None).
        history: of the training, see `write_report`.
        test: (n, H, W, C) images of the test.
        samples: (m, H, W, C) drawn from the model.
        levels: number of levels of both.
        facts: what is to be known about the model, in order.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false, or the folder does not.
        DataError, ShapeError: images that cannot be drawn.
    """
    target = Path(path)
    check_target(target, overwrite)
    flow, floor = rows
    gained = floor.test_bits - flow.test_bits
    sentences = [
        f"{flow.name} needs {decimals(flow.test_bits)} bits per dimension for test images, "
        f"{decimals(abs(gained))} {'fewer' if gained > 0 else 'more'} than a {floor.name}.",
        "Both are upper bounds, by noise that fills the levels.",
    ]
    grids = (
        ("test", test, "Images of the test, which the model has never seen."),
        ("samples", samples, "Samples of the model, in the order in which they were drawn."),
    )
    pictures = "".join(
        figure_html(inline_svg(image_grid(images, levels=levels), name, caption), caption)
        for name, images, caption in grids
    )
    board = _board(rows)
    return write_page(
        target, title, [escape(line) for line in sentences], board, history, pictures, facts, _HOW_TO_READ, None,
        overwrite,
    )  # fmt: skip


def _board(rows: Sequence[Any]) -> str:
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
    head = '<th scope="col">Model</th>' + "".join(f'<th scope="col" class="number">{word}</th>' for word in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
