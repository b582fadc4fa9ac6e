"""The page: pictures as inline SVG in the page's own colours, tables, and one atomic write."""

import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pushforward.atomic_write import write_atomically
from pushforward.plots import corner, training_curve
from pushforward.plots.inline import inline_svg
from pushforward.report.template import HOW_TO_READ, PAGE
from pushforward.report.words import NONE, decimals, duration, find, gain, summary, training


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
    model: str | None = None,
    baseline: str = "Gaussian",
    attribution: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file: the result in words, leaderboard, training curve, corner plot, facts.

    The file fetches nothing and runs nothing: its pictures are part of it, and its own policy forbids the rest. All
    text is escaped. It is written beside its place and moved there in one step, so no reader ever sees half of it.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        leaderboard: rows with `name`, `setting`, `test_nats`, `standard_error` (nats), `fit_seconds`, `score_seconds`,
            `sample_seconds`; numbers may be None. They are shown best first.
        history: of the training, see `pushforward.plots.training_curve`; also `stop_reason`, `skipped_steps`,
            `compile_seconds`. None, or a history without an epoch, leaves the section out.
        data: (n, d) rows of the corner plot, held out from training.
        samples: (m, d) rows drawn from the model.
        columns: d names.
        facts: what is to be known about the model, in order: layers, parameters, seed, versions.
        model: name of the leaderboard's row that this report is about; the first one by default.
        baseline: name of the row that gains are counted from; without such a row gains are left out.
        attribution: where the data come from, at the foot of the page.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false, the folder does not, the leaderboard is empty, or has no
            row named `model`.
        DataError, ShapeError: `data` or `samples` cannot be drawn.
    """
    target = Path(path)
    check_target(target, overwrite)
    if not leaderboard:
        raise ValueError("leaderboard: expected at least one row, got none.")
    subject = leaderboard[0] if model is None else find(leaderboard, model)
    if subject is None:
        raise ValueError(f"model: expected one of {[row.name for row in leaderboard]}, got {model!r}.")
    reference = find(leaderboard, baseline)
    sentences = [escape(sentence) for sentence in summary(leaderboard, subject, reference)]
    picture = figure_html(
        inline_svg(corner(data, samples, columns), "corner", "Corner plot: data against samples of the model"),
        "Every column alone, and every pair of columns. Where orange follows blue, the model has learned the data.",
        kind="wide",
    )
    board = _leaderboard(leaderboard, subject, reference)
    return write_page(target, title, sentences, board, history, picture, facts, HOW_TO_READ, attribution, overwrite)


def write_page(
    target: Path, title: str, sentences: Sequence[str], leaderboard: str, history: Any, pictures: str,
    facts: Mapping[str, object], how_to_read: str, attribution: str | None, overwrite: bool, *,
    headings: tuple[str, str] = ("Leaderboard", "Data against samples"),
) -> Path:  # fmt: skip
    """Fill the frame and write it in one step; sentences, leaderboard, pictures and explanation are HTML already.

    `headings`: those of the leaderboard and of the pictures.
    """
    page = PAGE.substitute(
        title=escape(title),
        board=headings[0],
        against=headings[1],
        lead=sentences[0],
        rest=f"<p>{' '.join(sentences[1:])}</p>" if sentences[1:] else "",
        leaderboard=leaderboard,
        training=_training(history) if history is not None and len(history.train) else "",
        pictures=pictures,
        facts=_facts(facts),
        how_to_read=how_to_read,
        attribution=f"<p>{escape(attribution)}</p>" if attribution else "",
    )
    content = page.encode(errors="replace")
    write_atomically(target, lambda file: file.write(content), lambda: check_target(target, overwrite))
    return target


def _leaderboard(rows: Sequence[Any], subject: Any, reference: Any | None) -> str:
    """Best first, the report's own model in bold; columns in which nothing was measured are left out."""
    heads = ["Model", "Setting", "Held-out nats per row"]
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
        cells = [f'<th scope="row">{escape(row.name)}</th>', f"<td>{escape(str(row.setting or NONE))}</td>"]
        cells.append(f'<td class="number">{decimals(row.test_nats)}{error}</td>')
        if reference is not None:
            cells.append(f'<td class="number">{decimals(gain(row, reference), 2, sign=True)}</td>')
        cells += [f'<td class="number">{duration(getattr(row, field))}</td>' for _, field in clocks]
        lines.append(f"<tr{' class=subject' if row is subject else ''}>{''.join(cells)}</tr>")
    numeric = ["", ""] + [' class="number"'] * (len(heads) - 2)
    head = "".join(f'<th scope="col"{kind}>{escape(word)}</th>' for word, kind in zip(heads, numeric, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _rank(row: Any) -> float:
    """Sorts the best score first; one that is missing or not a number goes last."""
    return math.inf if row.test_nats is None or math.isnan(row.test_nats) else -row.test_nats


def _training(history: Any) -> str:
    picture = inline_svg(training_curve(history), "training", "Training curve: log-likelihood against epoch")
    return f"<section><h2>Training</h2>{figure_html(picture, training(history))}</section>"


def figure_html(svg: str, caption: str, kind: str = "plain") -> str:
    """A picture with its caption, which is plain text."""
    picture = f'<div class="scroll" tabindex="0">{svg}</div>'
    return f'<figure class="{kind}">{picture}<figcaption>{escape(caption)}</figcaption></figure>'


def _facts(facts: Mapping[str, object]) -> str:
    rows = (
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table class=facts><tbody>{''.join(rows)}</tbody></table>"


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a place that cannot be written, or that is taken."""
    if target.is_dir():
        raise ValueError(f"path: {target} is a folder, expected the name of a file. Write {target / 'report.html'}.")
    if not target.parent.is_dir():
        raise ValueError(f"path: the folder {target.parent} does not exist. Make it first, or choose another place.")
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")
