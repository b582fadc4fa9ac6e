"""Health certificate section: the verdict, failed tests with suggestions, and the other tests folded away."""

from collections.abc import Mapping
from typing import Any

from pushforward.reporting.html import number_html, render
from pushforward.reporting.report.sections import Section

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
    body = render(
        "certificate.html", ok=facts["ok"], verdict=facts["verdict"], results=_RESULTS, number_html=number_html,
        passed=[row for row in rows if row["ok"]], shown=[row for row in rows if not row["ok"]],
    )  # fmt: skip
    return Section("Health certificate", body, "certificate")


def is_healthy(certificate: Any) -> bool:
    """Whether no test failed."""
    return bool(certificate["ok"] if isinstance(certificate, Mapping) else certificate.ok)
