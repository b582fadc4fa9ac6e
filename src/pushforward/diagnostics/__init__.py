"""What can be said of a flow without knowing its parts: a health certificate, and its worth as a proposal."""

from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.diagnostics.certify import check
from pushforward.diagnostics.importance import ImportanceSample, importance_sample
from pushforward.diagnostics.pareto import pareto_k

__all__ = ["Certificate", "ImportanceSample", "Row", "check", "importance_sample", "pareto_k"]
