"""Training: on data, on a target, on a teacher."""

from pushforward.train.distillation import distill
from pushforward.train.divergences import DistillationHistory
from pushforward.train.history import EnsembleHistory, History
from pushforward.train.initialisation import initialise
from pushforward.train.likelihood import fit
from pushforward.train.target import TargetHistory, fit_target

__all__ = [
    "DistillationHistory",
    "EnsembleHistory",
    "History",
    "TargetHistory",
    "distill",
    "fit",
    "fit_target",
    "initialise",
]
