"""Training: on data, on a target."""

from pushforward.train.history import History
from pushforward.train.likelihood import fit
from pushforward.train.target import TargetHistory, fit_target

__all__ = ["History", "TargetHistory", "fit", "fit_target"]
