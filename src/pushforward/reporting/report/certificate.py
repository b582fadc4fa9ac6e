"""The health certificate on a page: the verdict, what failed and what to do, and the rest folded away."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pushforward.reporting.report.frame import Section, scrolled
from pushforward.reporting.report.words import clean, measured

_WORDS = {True: ("ok", "ok"), False: ("FAILED", "failed"), None: ("not tested", "untested")}


def certificate_section(certificate: Any) -> Section:
    """Verdict first, failed tests with their remedies next, then those not made; what passed is folded.

    Args:
        certificate: a `pushforward.diagnostics.Certificate`, or what its `to_dict` returns. A row may have a `fix`.

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
        word, kind = _WORDS[row["ok"]]
        remedy = row.get("fix")
        more = f'<span class="remedy"><b>Remedy:</b> {escape(clean(remedy))}</span>' if remedy else ""
        lines.append(
            f'<tr><td class="result {kind}">{word}</td><th scope="row">{escape(clean(row["name"]))}</th>'
            f"{_number('value', row)}{_number('bound', row)}"
            f'<td class="sentence">{escape(clean(row.get("message") or ""))}{more}</td></tr>'
        )
    head = (
        '<th scope="col">Result</th><th scope="col">Test</th><th scope="col" class="number">Value</th>'
        '<th scope="col" class="number">Bound</th><th scope="col">What it says</th>'
    )
    return f"<table class=tests><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _number(head: str, row: Mapping[str, Any]) -> str:
    """A cell that names itself where a narrow screen has no heading for it."""
    return f'<td class="number" data-head="{head}">{measured(row.get(head))}</td>'


_TERMS = (
    (
        "Health certificate",
        "Tests of the model as it is, not of the data: whether its numbers are finite, its two directions undo each "
        "other, its log-determinants are right, and its density integrates to one. A test passes where its value "
        "does not exceed its bound.",
    ),
)
