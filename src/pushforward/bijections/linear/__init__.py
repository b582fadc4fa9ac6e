"""Linear flows."""

from pushforward.bijections.linear.permutation import Permutation
from pushforward.bijections.linear.plu import PLU

__all__ = ["PLU", "Permutation"]
