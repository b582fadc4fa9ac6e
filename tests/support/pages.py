"""A parser of HTML pages, and a small report, for tests of pages that the library writes."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np

from pushforward.reporting.report import write_report

# Words that a reader of a table need not know: they occur in folded details and with --details only.
TECHNICAL = re.compile(
    r"log-det|T\^-1|autodiff|\|z\||latent|coordinate|Jacobian|condition number|"
    r"round trip|the base\b|splines' box|float32",
    re.IGNORECASE,
)


class Page(HTMLParser):
    """Collects tags, attributes and text, and asserts that every tag is closed.

    `main` is the text outside folded parts.
    `bare` lists tables and pictures outside a scroll box: on a phone they would widen the page.
    """

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.bare, self.boxes, self.main = [], [], "", [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("table", "svg") and not any(self.boxes):
            self.bare.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
            self.boxes.append(dict(attrs).get("class") == "scroll")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.boxes.pop()

    def handle_data(self, data):
        self.text += data
        self.main += "" if {"details", "style"} & {*self.open} else data


HOSTILE = "<script>alert('x')</script>"


def row(name, log_likelihood, error=0.01, **changes):
    fields = {"setting": "s", "fit_seconds": 1.0, "score_seconds": 0.002, "sample_seconds": None}
    return SimpleNamespace(name=name, test_log_likelihood=log_likelihood, standard_error=error, **{**fields, **changes})


BOARD = [row("Flow", 3.0), row("Gaussian", -0.4), row("Kernel density", 1.0, None), row("Broken", None, None)]


def history():
    return SimpleNamespace(
        train=[0.0, 1.0, 2.0], validation=[0.0, 0.9, 0.8], seconds=[3.0, 4.0, 5.0], best_epoch=1, gaussian=-0.4,
        stop_reason="patience ran out", skipped_steps=0, compile_seconds=1.5,
    )  # fmt: skip


def report_text(path, **changes):
    """The text of a report with some of its arguments changed."""
    random = np.random.default_rng(0)
    arguments = {
        "title": "A title", "leaderboard": BOARD, "history": history(), "data": random.normal(size=(200, 2)),
        "samples": random.normal(size=(100, 2)), "columns": ["a", "b"], "facts": {"Seed": 0},
    }  # fmt: skip
    return write_report(path, **{**arguments, **changes}).read_text(encoding="utf-8")
