"""What a flow is worth, whatever its parts: its health, its weights as a proposal, its likeness to another flow."""

from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.diagnostics.certify import check
from pushforward.diagnostics.fidelity import Fidelity, ModeShare, fidelity
from pushforward.diagnostics.importance import ImportanceSample, importance_sample
from pushforward.diagnostics.non_finite import NonFinite, locate_non_finite
from pushforward.diagnostics.pareto import pareto_k

__all__ = [
    "Certificate",
    "Fidelity",
    "ImportanceSample",
    "ModeShare",
    "NonFinite",
    "Row",
    "check",
    "fidelity",
    "importance_sample",
    "locate_non_finite",
    "pareto_k",
]
