"""The frame of all reports: sections in order, figures with captions, facts, and one atomic write."""

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
from pushforward.reporting.report.words import training


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading (plain text), its content (HTML), and what a reader may want explained.

    Attributes:
        heading: plain text.
        body: HTML.
        terms: pairs of a term and its explanation, HTML both, for the foot of the page.
    """

    heading: str
    body: str
    terms: tuple[tuple[str, str], ...] = ()

    def html(self) -> str:
        return f"<section><h2>{escape(self.heading)}</h2>{self.body}</section>"


def write_page(
    target: Path, title: str, sentences: Sequence[str], leaderboard: str, history: Any, pictures: str,
    facts: Mapping[str, object], how_to_read: str, attribution: str | None, overwrite: bool, *,
    headings: tuple[str, str] = ("Leaderboard", "Data against samples"),
) -> Path:  # fmt: skip
    """The page of a few sections that is common to all reports; sentences, leaderboard and the like are HTML already.

    `headings`: those of the leaderboard and of the pictures.
    """
    course = training_section(history)
    sections = [
        Section(headings[0], scrolled(leaderboard)).html(),
        course.html() if course else "",
        Section(headings[1], pictures).html(),
        Section("The model", facts_html(facts)).html(),
        Section("How to read this", how_to_read).html(),
    ]
    return write_sections(target, title, sentences, sections, attribution, overwrite)


def write_sections(
    target: Path, title: str, sentences: Sequence[str], sections: Sequence[str], attribution: str | None,
    overwrite: bool, css: str = "",
) -> Path:  # fmt: skip
    """Title, sentences and sections as one document, written beside its place and moved there in one step."""
    rest = f"<p>{' '.join(sentences[1:])}</p>" if sentences[1:] else ""
    footer = f"<p>{escape(attribution)}</p>" if attribution else ""
    lines = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{sentences[0]}</p>', rest, *sections]
    body = "<main>\n" + "\n".join(lines) + f"\n</main>\n<footer>{footer}</footer>"
    content = document(escape(title), body, CSS + css, dark=True).encode(errors="replace")
    write_atomically(target, lambda file: file.write(content), lambda: check_target(target, overwrite))
    return target


def training_section(history: Any) -> Section | None:
    """The training curve; None where there was no epoch."""
    if history is None or not len(history.train):
        return None
    picture = inline_svg(training_curve(history), "training", "Training curve: log-likelihood against epoch")
    return Section("Training", figure_html(picture, training(history)), TRAINING_TERMS)


def figure_html(svg: str, caption: str, kind: str = "plain") -> str:
    """A picture with its caption, which is plain text."""
    return f'<figure class="{kind}">{scrolled(svg)}<figcaption>{escape(caption)}</figcaption></figure>'


def scrolled(content: str) -> str:
    """What may be wider than a phone, in a box of its own that scrolls, by the keyboard too."""
    return f'<div class="scroll" tabindex="0">{content}</div>'


def facts_html(facts: Mapping[str, object]) -> str:
    """Names and values, a line each."""
    rows = (
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return scrolled(f"<table class=facts><tbody>{''.join(rows)}</tbody></table>")


def terms_html(terms: Sequence[tuple[str, str]]) -> str:
    """Terms and their explanations, HTML already."""
    lines = "\n".join(f"<dt>{term}</dt>\n<dd>{words}</dd>" for term, words in terms)
    return f"<dl>\n{lines}\n</dl>"


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a place that cannot be written, or that is taken."""
    if target.is_dir():
        raise ValueError(f"path: {target} is a folder, expected the name of a file. Write {target / 'report.html'}.")
    if not target.parent.is_dir():
        raise ValueError(f"path: the folder {target.parent} does not exist. Make it first, or choose another place.")
    if target.exists() and not overwrite:
        raise ValueError(f"path: {target} exists already. Choose another name, or pass overwrite=True to replace it.")
