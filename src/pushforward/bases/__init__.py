"""Base distributions: what a flow pushes forward."""

from pushforward.bases.normal import Normal
from pushforward.distribution import AbstractDistribution

__all__ = ["AbstractDistribution", "Normal"]
