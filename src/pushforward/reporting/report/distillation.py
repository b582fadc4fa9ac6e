"""Report of a distillation: divergences, modes, times, and samples of the student over those of the teacher."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pushforward.reporting.plots import corner, divergences
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import check_target, figure_html, write_page
from pushforward.reporting.report.text import decimals, duration

_HOW_TO_READ = """<dl>
<dt>KL(student | teacher)</dt>
<dd>The mean, over samples of the student, of its log-density minus the teacher's. Large where the student puts mass
that the teacher does not have. Zero for equal densities only.</dd>
<dt>KL(teacher | student)</dt>
<dd>The same over samples of the teacher. Large where the student lacks mass, such as a whole mode.</dd>
<dt>Effective samples</dt>
<dd>How many samples of the teacher the student's samples are worth when weighted by the ratio of the densities.
Weighted samples can be trusted with 100 effective samples or more and Pareto's k below min(1 - 1 / log10 n, 0.7).</dd>
<dt>Modes</dt>
<dd>Peaks of the teacher's density that are at least one nat above the saddle to a higher peak. A sample belongs to the
mode of the nearest sample of the teacher.</dd>
<dt>Corner plot</dt>
<dd>Samples of the teacher are blue, samples of the student orange. Filled and outlined regions are the smallest that
contain 25, 50, 75 and 95 % of them.</dd>
</dl>"""


def write_distillation_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    fidelity: Any,
    columns: Sequence[str],
    doubts: Sequence[str],
    facts: Mapping[str, object],
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file, as `write_report` does: summary, figures, pictures, facts.

    Args:
        path: where to write; the folder must exist.
        title: the heading.
        fidelity: a `Fidelity` of flows of vectors.
        columns: names of their coordinates.
        doubts: reasons against trusting the student.
        facts: names and values that describe both models, in order.
        overwrite: replace an existing file.

    Returns:
        The path written.

    Raises:
        ValueError: the file exists and `overwrite` is false, or the folder does not.
    """
    target = Path(path)
    check_target(target, overwrite)
    verdict = "The student is faithful to its teacher." if not doubts else "The student is not faithful to its teacher."
    messages = [
        verdict,
        *(f"{doubt[0].upper()}{doubt[1:]}." for doubt in doubts),
        f"It draws 1,000 samples in {duration(fidelity.student_sample_seconds)}, the teacher in "
        f"{duration(fidelity.teacher_sample_seconds)}.",
    ]
    curves = figure_html(
        inline_svg(divergences(fidelity), "divergences", "Divergences, and the log-ratio of the densities"),
        "Where the two densities agree, the log-ratio is zero. Dots mark the selected weights.",
    )
    student_samples, teacher_samples = fidelity.samples
    labels = ("samples of the teacher", "samples of the student")
    picture = figure_html(
        inline_svg(
            corner(teacher_samples, student_samples, columns, labels=labels),
            "corner",
            "Corner plot: teacher against student",
        ),
        "Every coordinate alone, and every pair. Where orange follows blue, the student has learned its teacher.",
        kind="wide",
    )
    lines = [escape(message) for message in messages]
    return write_page(
        target, title, lines, _figures_html(fidelity), None, curves + picture, facts, _HOW_TO_READ, None, overwrite,
        headings=("Student and teacher", "Student against teacher"),
    )  # fmt: skip


def _figures_html(fidelity: Any) -> str:
    """Table of the figures, then of the modes."""

    def estimate(value: float, error: float) -> str:
        return f"{decimals(value)} <small>\N{PLUS-MINUS SIGN} {decimals(error)}</small>"

    rows = [
        (
            "KL(student | teacher), nats",
            estimate(fidelity.reverse_kl, fidelity.reverse_kl_error),
        ),
        (
            "KL(teacher | student), nats",
            estimate(fidelity.forward_kl, fidelity.forward_kl_error),
        ),
        ("Effective samples", f"{fidelity.efficiency:.1%} of {fidelity.n:,}"),
        ("Pareto's k of the weights", decimals(fidelity.pareto_k, 2)),
        ("Weighted samples", escape("; ".join(fidelity.weight_doubts())) or "can be trusted"),
        ("1,000 samples, teacher", duration(fidelity.teacher_sample_seconds)),
        ("1,000 samples, student", duration(fidelity.student_sample_seconds)),
        ("1,000 scores, teacher", duration(fidelity.teacher_score_seconds)),
        ("1,000 scores, student", duration(fidelity.student_score_seconds)),
    ]
    for index, mode in enumerate(fidelity.modes, 1):
        rows.append((
            f"Mode {index}", f"{mode.student:.1%} of the student's samples, {mode.teacher:.1%} of the teacher's"
        ))  # fmt: skip
    body = "".join(f'<tr><th scope="row">{name}</th><td class="number">{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>"
