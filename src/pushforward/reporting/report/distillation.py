"""The report of a distillation: divergences, modes, times, and the student's samples over the teacher's."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pushforward.reporting.plots import corner, divergences
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.frame import check_target, figure_html, write_page
from pushforward.reporting.report.words import decimals, duration

_HOW_TO_READ = """<dl>
<dt>KL(student | teacher)</dt>
<dd>The mean, over samples of the student, of its log-density minus the teacher's. Large where the student puts mass
that the teacher does not have. Zero for equal densities only.</dd>
<dt>KL(teacher | student)</dt>
<dd>The same over samples of the teacher. Large where the student lacks mass, such as a whole mode.</dd>
<dt>Effective samples</dt>
<dd>How many samples of the teacher the student's samples are worth, once weighed by the ratio of the densities.
Weighed samples can be trusted from 100 effective ones on, where Pareto's k is below min(1 - 1 / log10 n, 0.7).</dd>
<dt>Modes</dt>
<dd>Peaks of the teacher's density that rise by a nat or more over the pass to a higher one. Every sample counts for the
mode to which the nearest sample of the teacher belongs.</dd>
<dt>Corner plot</dt>
<dd>Blue are samples of the teacher, orange those of the student. Filled and outlined regions are the smallest that hold
25, 50, 75 and 95 % of them.</dd>
</dl>"""


def write_distillation_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    found: Any,
    columns: Sequence[str],
    doubts: Sequence[str],
    facts: Mapping[str, object],
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file, as `write_report` does: result in words, figures, pictures, facts.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        found: a `Fidelity` of flows of vectors.
        columns: names of their coordinates.
        doubts: what speaks against the student, a sentence each.
        facts: what is to be known about both models, in order.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false, or the folder does not.
    """
    target = Path(path)
    check_target(target, overwrite)
    verdict = "The student is faithful to its teacher." if not doubts else "The student is not faithful to its teacher."
    sentences = [
        verdict,
        *(f"{doubt[0].upper()}{doubt[1:]}." for doubt in doubts),
        f"It draws 1,000 samples in {duration(found.student_sample_seconds)}, the teacher in "
        f"{duration(found.teacher_sample_seconds)}.",
    ]
    course = figure_html(
        inline_svg(divergences(found), "divergences", "Divergences, and the log-ratio of the densities"),
        "Where the two densities agree, the log-ratio is zero. Dots mark the weights that were kept.",
    )
    drawn, real = found.samples
    picture = figure_html(
        inline_svg(
            corner(real, drawn, columns, labels=("samples of the teacher", "samples of the student")),
            "corner",
            "Corner plot: teacher against student",
        ),
        "Every coordinate alone, and every pair. Where orange follows blue, the student has learned its teacher.",
        kind="wide",
    )
    lines = [escape(sentence) for sentence in sentences]
    return write_page(
        target, title, lines, _board(found), None, course + picture, facts, _HOW_TO_READ, None, overwrite,
        headings=("Student and teacher", "Student against teacher"),
    )  # fmt: skip


def _board(found: Any) -> str:
    """Figures one under the other, then the modes."""
    error = " <small>\N{PLUS-MINUS SIGN} {}</small>"
    rows = [
        ("KL(student | teacher), nats", decimals(found.reverse_kl) + error.format(decimals(found.reverse_kl_error))),
        ("KL(teacher | student), nats", decimals(found.forward_kl) + error.format(decimals(found.forward_kl_error))),
        ("Effective samples", f"{found.efficiency:.1%} of {found.n:,}"),
        ("Pareto's k of the weights", decimals(found.pareto_k, 2)),
        ("Weighed samples", escape("; ".join(found.weight_doubts())) or "can be trusted"),
        ("1,000 samples, teacher", duration(found.teacher_sample_seconds)),
        ("1,000 samples, student", duration(found.student_sample_seconds)),
        ("1,000 scores, teacher", duration(found.teacher_score_seconds)),
        ("1,000 scores, student", duration(found.student_score_seconds)),
    ]
    for index, mode in enumerate(found.modes, 1):
        rows.append((
            f"Mode {index}", f"{mode.student:.1%} of the student's samples, {mode.teacher:.1%} of the teacher's"
        ))  # fmt: skip
    body = "".join(f'<tr><th scope="row">{name}</th><td class="number">{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>"
