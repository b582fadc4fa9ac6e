"""The validation of an ensemble in training: of each member, and of the mixture of their best weights."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from pushforward.numerics.threads import with_jax_settings
from pushforward.train.data import Rows
from pushforward.train.epochs import log_probs_or_none
from pushforward.train.member_steps import member_threads
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

    def log_probs(self, flows: Iterable[Any]) -> np.ndarray:
        """Log-densities (n_members, n) of the rows, in the units of training; NaN for a member without them."""
        rows = self.rows
        if rows is None:
            return np.full((self.n_members, 1), math.nan)

        def of_member(flow: Any) -> np.ndarray:
            log_probs = log_probs_or_none(flow, rows)
            return np.full(len(rows), math.nan) if log_probs is None else log_probs

        with member_threads() as executor:
            return np.stack(list(executor.map(with_jax_settings(of_member), flows)))

    def means(self, log_probs: np.ndarray) -> list[float]:
        """The log-likelihood of each member."""
        return [self._mean(part) for part in log_probs]

    def of_mixture(self, log_probs: np.ndarray) -> float:
        """The log-likelihood of the mixture."""
        return self._mean(log_mean_exp(log_probs))

    def _mean(self, log_probs: np.ndarray) -> float:
        return math.nan if self.rows is None else float(np.average(log_probs, weights=self.rows.weights)) + self.offset
