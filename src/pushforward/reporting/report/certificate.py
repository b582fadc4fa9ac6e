"""The certificate: a verdict in the words of the table, and a folded section with all tests."""

from collections.abc import Mapping
from typing import Any

from pushforward.diagnostics.certificate import Certificate
from pushforward.reporting.html import Markup, number_html, render
from pushforward.reporting.report.sections import Section

_MAX_FINDINGS = 5
_RESULTS = {True: ("ok", "ok"), False: ("FAILED", "failed"), None: ("not tested", "untested")}


def certificate_section(certificate: Any) -> Section:
    """The verdict, then failed tests with suggestions, then tests that were not made; tests that passed are folded.

    Args:
        certificate: a `pushforward.diagnostics.Certificate`, or the result of its `to_dict`; older ones are read by
            `Certificate.from_dict`.

    Raises:
        DataError: a mapping that is no certificate.
    """
    facts: Any = as_certificate(certificate).to_dict()
    rows = sorted(facts["rows"], key=lambda row: {False: 0, None: 1, True: 2}[row["ok"]])
    body = render(
        "certificate.html", ok=facts["ok"], verdict=facts["verdict"], results=_RESULTS, number_html=number_html,
        passed=[row for row in rows if row["ok"]], shown=[row for row in rows if not row["ok"]],
    )  # fmt: skip
    return Section("All tests", body, "certificate", is_folded=True)


def verdict_html(certificate: Certificate) -> Markup:
    """The box at the top: whether the model can be used, and up to five faults, each with what to do."""
    has_doubt = any(row.ok is None and row.finding for row in certificate.rows)
    kind = "failed" if not certificate.ok else "doubt" if has_doubt else "ok"
    return render(
        "verdict.html", kind=kind, summary=certificate.summary, findings=certificate.findings, most=_MAX_FINDINGS
    )


def as_certificate(certificate: Any) -> Certificate:
    """A certificate, or what its `to_dict` made, as a certificate.

    Raises:
        DataError: something else.
    """
    return Certificate.from_dict(certificate) if isinstance(certificate, Mapping) else certificate
