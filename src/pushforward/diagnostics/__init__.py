"""Diagnostics of any flow: health certificate, importance weights, fidelity to another flow, non-finite values."""

from pushforward.diagnostics.certificate import Certificate
from pushforward.diagnostics.certify import check
from pushforward.diagnostics.fidelity import Fidelity, ModeShare, fidelity
from pushforward.diagnostics.importance import ImportanceSample, importance_sample
from pushforward.diagnostics.non_finite import NonFinite, locate_non_finite
from pushforward.diagnostics.pareto import pareto_k
from pushforward.diagnostics.row import Row

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
