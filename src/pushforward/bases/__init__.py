"""Base distributions of flows."""

from pushforward.bases.conditional import ConditionalBase
from pushforward.bases.logistic import Logistic
from pushforward.bases.mixture import Mixture
from pushforward.bases.normal import MultivariateNormal, Normal
from pushforward.bases.product import Product
from pushforward.bases.student_t import StudentT
from pushforward.bases.truncated_normal import TruncatedNormal
from pushforward.bases.uniform import Uniform
from pushforward.core.distribution import AbstractDistribution

__all__ = [
    "AbstractDistribution",
    "ConditionalBase",
    "Logistic",
    "Mixture",
    "MultivariateNormal",
    "Normal",
    "Product",
    "StudentT",
    "TruncatedNormal",
    "Uniform",
]
