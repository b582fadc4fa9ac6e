"""The validation of an ensemble in training: of each member, and of the mixture of their best weights."""

import math

import numpy as np

from pushforward.core.ensemble import Ensemble
from pushforward.errors import NumericError
from pushforward.train.data import Rows
from pushforward.train.epochs import log_probs_or_none
from pushforward.train.units import log_mean_exp


class MemberValidation:
    """Log-likelihoods of the validation rows, in the data's units; NaN where there are no such rows.

    Args:
        rows: the validation rows in the units of training, or None.
        offset: nats to add for the data's units.
        n_members: of the ensemble.

    Attributes:
        best: log-densities (n_members, n) under the weights that each member would return, in the units of training.
    """

    best: np.ndarray

    def __init__(self, rows: Rows | None, offset: float, n_members: int) -> None:
        self.rows, self.offset, self.n_members = rows, offset, n_members

    def log_probs(self, flows: Ensemble) -> np.ndarray:
        """Log-densities (n_members, n) of the rows, in the units of training; NaN for a member without them."""
        if self.rows is None:
            return np.full((self.n_members, 1), math.nan)
        try:
            return np.array(flows.log_probs(self.rows.x, self.rows.context), np.float64)
        except NumericError:
            parts = [log_probs_or_none(member, self.rows) for member in flows]
            return np.stack([np.full(len(self.rows), math.nan) if part is None else part for part in parts])

    def means(self, log_probs: np.ndarray) -> list[float]:
        """The log-likelihood of each member."""
        return [self._mean(part) for part in log_probs]

    def of_mixture(self, log_probs: np.ndarray) -> float:
        """The log-likelihood of the mixture."""
        return self._mean(log_mean_exp(log_probs))

    def _mean(self, log_probs: np.ndarray) -> float:
        return math.nan if self.rows is None else float(np.average(log_probs, weights=self.rows.weights)) + self.offset
