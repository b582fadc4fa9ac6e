"""Training: on data."""

from pushforward.train.history import History
from pushforward.train.likelihood import fit

__all__ = ["History", "fit"]
