"""Report of a distillation: divergences, modes, times, and samples of the student over those of the teacher."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.core.arguments import as_path
from pushforward.reporting.html import Markup, check_target, figure_html, score_html, table_html
from pushforward.reporting.plots import corner, divergences
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.report.sections import Section, write_sections
from pushforward.reporting.text import decimals, duration


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
    target = as_path(path)
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
    sections = [
        Section("Student and teacher", _figures(fidelity), "distillation"),
        Section("Student against teacher", curves + picture),
    ]
    return write_sections(target, title, messages, sections, facts, overwrite)


def _figures(fidelity: Any) -> Markup:
    """Table of the figures, then of the modes."""
    rows = [
        ("KL(student | teacher), nats", score_html(fidelity.reverse_kl, fidelity.reverse_kl_error)),
        ("KL(teacher | student), nats", score_html(fidelity.forward_kl, fidelity.forward_kl_error)),
        ("Effective samples", f"{fidelity.efficiency:.1%} of {fidelity.n:,}"),
        ("Pareto's k of the weights", decimals(fidelity.pareto_k, 2)),
        ("Weighted samples", "; ".join(fidelity.weight_doubts()) or "can be trusted"),
        ("1,000 samples, teacher", duration(fidelity.teacher_sample_seconds)),
        ("1,000 samples, student", duration(fidelity.student_sample_seconds)),
        ("1,000 scores, teacher", duration(fidelity.teacher_score_seconds)),
        ("1,000 scores, student", duration(fidelity.student_score_seconds)),
    ]
    rows += [
        (f"Mode {index}", f"{mode.student:.1%} of the student's samples, {mode.teacher:.1%} of the teacher's")
        for index, mode in enumerate(fidelity.modes, 1)
    ]
    return table_html([], rows)
