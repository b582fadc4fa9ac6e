"""Parts common to all reports: sections, figures with captions, facts, and the atomic write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from pushforward.persistence.atomic_write import write_atomically
from pushforward.reporting.plots import training_curve
from pushforward.reporting.plots.inline import inline_svg
from pushforward.reporting.plots.sheet import document
from pushforward.reporting.report.template import CSS, TRAINING_TERMS
from pushforward.reporting.report.text import describe_training


@dataclass(frozen=True)
class Section:
    """A section of a page: a heading, its content, and terms to explain.

    Attributes:
        heading: plain text.
        body: HTML.
        terms: pairs of a term and its explanation, both HTML, for the end of the page.
    """

    heading: str
    body: str
    terms: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        return f"<section><h2>{escape(self.heading)}</h2>{self.body}</section>"


def write_page(
    target: Path, title: str, summary_lines: Sequence[str], leaderboard: str, history: Any, pictures: str,
    facts: Mapping[str, object], how_to_read: str, attribution: str | None, overwrite: bool, *,
    headings: tuple[str, str] = ("Leaderboard", "Data against samples"),
) -> Path:  # fmt: skip
    """Write a page of a few sections; summary, leaderboard, pictures and explanations are HTML.

    `headings`: the headings of the leaderboard and of the pictures.
    """
    training = training_section(history)
    sections = [
        Section(headings[0], scrolled(leaderboard)).html(),
        training.html() if training else "",
        Section(headings[1], pictures).html(),
        Section("The model", facts_html(facts)).html(),
        Section("How to read this", how_to_read).html(),
    ]
    return write_sections(target, title, summary_lines, sections, attribution, overwrite)


def write_sections(
    target: Path, title: str, summary_lines: Sequence[str], sections: Sequence[str], attribution: str | None,
    overwrite: bool, css: str = "",
) -> Path:  # fmt: skip
    """Write title, summary and sections as one document, atomically."""
    summary = f"<p>{' '.join(summary_lines[1:])}</p>" if summary_lines[1:] else ""
    footer = f"<p>{escape(attribution)}</p>" if attribution else ""
    lines = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{summary_lines[0]}</p>', summary, *sections]
    body = "<main>\n" + "\n".join(lines) + f"\n</main>\n<footer>{footer}</footer>"
    content = document(escape(title), body, CSS + css, dark=True).encode(errors="replace")
    write_atomically(target, lambda file: file.write(content), lambda: check_target(target, overwrite))
    return target


def training_section(history: Any) -> Section | None:
    """The training curve; None without an epoch."""
    if history is None or not len(history.train):
        return None
    picture = inline_svg(training_curve(history), "training", "Training curve: log-likelihood against epoch")
    return Section("Training", figure_html(picture, describe_training(history)), TRAINING_TERMS)


def figure_html(svg: str, caption: str, kind: str = "plain") -> str:
    """A picture with its caption (plain text)."""
    return f'<figure class="{kind}">{scrolled(svg)}<figcaption>{escape(caption)}</figcaption></figure>'


def scrolled(content: str) -> str:
    """Content in a box that scrolls horizontally, also by keyboard: it may be wider than a phone."""
    return f'<div class="scroll" tabindex="0">{content}</div>'


def facts_html(facts: Mapping[str, object]) -> str:
    """Table of names and values."""
    rows = (
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return scrolled(f"<table class=facts><tbody>{''.join(rows)}</tbody></table>")


def terms_html(terms: Sequence[tuple[str, str]]) -> str:
    """Definition list of terms and explanations, which are HTML."""
    lines = "\n".join(f"<dt>{term}</dt>\n<dd>{explanation}</dd>" for term, explanation in terms)
    return f"<dl>\n{lines}\n</dl>"


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a path that exists, or whose folder does not."""
    if target.is_dir():
        raise ValueError(f"path: {target} is a folder, expected the name of a file. Write {target / 'report.html'}.")
    if not target.parent.is_dir():
        raise ValueError(f"path: the folder {target.parent} does not exist. Make it first, or choose another path.")
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")
