"""Health certificate section: the verdict, failed tests with suggestions, and the other tests folded away."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pushforward.reporting.report.sections import Section, scrolled
from pushforward.reporting.report.text import clean, number_html

_RESULTS = {True: ("ok", "ok"), False: ("FAILED", "failed"), None: ("not tested", "untested")}


def certificate_section(certificate: Any) -> Section:
    """The verdict, then failed tests with suggestions, then tests that were not made; tests that passed are folded.

    Args:
        certificate: a `pushforward.diagnostics.Certificate`, or the result of its `to_dict`; older ones are read by
            `Certificate.from_dict`.

    Raises:
        ValueError: a mapping without `ok`, `verdict` and `rows`.
    """
    facts: Any = certificate if isinstance(certificate, Mapping) else certificate.to_dict()
    missing = [name for name in ("ok", "verdict", "rows") if name not in facts]
    if missing:
        raise ValueError(
            f"certificate: expected a certificate or its to_dict(), got a mapping without {', '.join(missing)}."
        )
    rows = sorted(facts["rows"], key=lambda row: {False: 0, None: 1, True: 2}[row["ok"]])
    passed = [row for row in rows if row["ok"]]
    shown = [row for row in rows if not row["ok"]]
    body = f'<p class="verdict {"ok" if facts["ok"] else "failed"}">{escape(clean(facts["verdict"]))}</p>'
    if shown:
        body += scrolled(_table(shown))
    if passed:
        count = "The test that passed" if len(passed) == 1 else f"The {len(passed)} tests that passed"
        body += f"<details><summary>{count}</summary>{scrolled(_table(passed))}</details>"
    return Section("Health certificate", body, _TERMS)


def is_healthy(certificate: Any) -> bool:
    """Whether no test failed."""
    return bool(certificate["ok"] if isinstance(certificate, Mapping) else certificate.ok)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        label, css_class = _RESULTS[row["ok"]]
        message, suggestion = row.get("message"), row.get("fix")
        more = f'<span class="suggestion"><b>Suggestion:</b> {escape(clean(suggestion))}</span>' if suggestion else ""
        lines.append(
            f'<tr><td class="result {css_class}">{label}</td><th scope="row">{escape(clean(row["name"]))}</th>'
            f"{_number('value', row)}{_number('bound', row)}"
            f'<td class="explanation">{escape(clean(message or ""))}{more}</td></tr>'
        )
    heading = (
        '<th scope="col">Result</th><th scope="col">Test</th><th scope="col" class="number">Value</th>'
        '<th scope="col" class="number">Bound</th><th scope="col">Explanation</th>'
    )
    return f"<table class=tests><thead><tr>{heading}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _number(heading: str, row: Mapping[str, Any]) -> str:
    """A cell with its heading as an attribute, which narrow screens show instead of a table head."""
    return f'<td class="number" data-head="{heading}">{number_html(row.get(heading))}</td>'


_TERMS = (
    (
        "Health certificate",
        "Tests of the model, not of the data: whether its numbers are finite, its two directions invert each other, "
        "its log-determinants are right, and its density integrates to one. A test passes if its value does not "
        "exceed its bound.",
    ),
)
