"""The health certificate: what can be tested about any composed flow without knowing its parts."""

from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.diagnostics.certify import check

__all__ = ["Certificate", "Row", "check"]
