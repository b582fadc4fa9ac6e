"""Parts common to all reports: sections, the training curve, the facts, and the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward.reporting.html import figure_html, table_html, write_page
from pushforward.reporting.plots import training_curve
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.text import describe_training


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        heading: plain text.
        body: HTML.
        terms: name of the macro of `terms.html` that explains its terms at the end of the page, if there is one.
        is_folded: whether the reader has to open it.
    """

    heading: str
    body: str
    terms: str = ""
    is_folded: bool = False


def write_sections(
    target: Path, title: str, summary: Sequence[str], sections: Sequence[Section | None], facts: Mapping[str, object],
    overwrite: bool, *, attribution: str | None = None, verdict: str = "", styles: Sequence[str] = ("report.css",),
) -> Path:  # fmt: skip
    """Write a report: the title, a verdict (HTML), a summary, the sections, a table of facts, and explanations.

    Without a verdict the first line of the summary is in large type.
    """
    present = [section for section in sections if section is not None]
    present.append(Section("The model", table_html([], facts.items(), n_text=2, kind="facts"), is_folded=bool(verdict)))
    values = {"title": title, "summary": summary, "sections": present, "attribution": attribution, "verdict": verdict}
    return write_page(target, "report.html", overwrite, styles=styles, **values)


def training_section(history: Any, terms: str = "training", *, is_folded: bool = False) -> Section | None:
    """The training curve; None without an epoch."""
    if history is None or not len(history.train):
        return None
    picture = inline_svg(training_curve(history), "training", "Training curve: log-likelihood against epoch")
    return Section("Training", figure_html(picture, describe_training(history)), terms, is_folded)
