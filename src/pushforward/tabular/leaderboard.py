"""The row of a leaderboard: the score of one model on test rows, and its times."""

import dataclasses
import time
from typing import Any

import numpy as np

from pushforward.core.float64 import log_prob_float64
from pushforward.numerics.moments import standard_error


@dataclasses.dataclass
class LeaderboardRow:
    """The result of one model, in nats per row and seconds.

    Attributes:
        name: of the model.
        setting: the choices made, or what it was scored on, as text.
        test_log_likelihood: mean log-density of the test rows, in the units of the data.
        standard_error: of that mean.
        fit_seconds: for the fit, choices included.
        score_seconds: for scoring the test rows, compilation included.
        sample_seconds: for drawing samples.
        without_copies: mean over the test rows that equal no training row; None if all do, or none does.
        gain_error: standard error of the gain over a Gaussian, from the differences of single rows or groups.
        scores: (n,) log-densities of the test rows.
    """

    name: str
    setting: str
    test_log_likelihood: float
    standard_error: float | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    sample_seconds: float | None = None
    without_copies: float | None = None
    gain_error: float | None = None
    scores: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the keys of the JSON output, without the scores."""
        values = {name: value for name, value in vars(self).items() if name != "scores"}
        return {"test_nats" if name == "test_log_likelihood" else name: value for name, value in values.items()}


def leaderboard_row(
    name: str, setting: str, flow: Any, test: np.ndarray, context: np.ndarray | None = None,
    is_copy: np.ndarray | None = None, groups: np.ndarray | None = None, baseline_scores: np.ndarray | None = None,
) -> LeaderboardRow:  # fmt: skip
    """Test log-likelihood of a flow, with the time that scoring took (compilation included).

    `is_copy` (n,) marks test rows that equal a training row, `groups` (n,) has the group of each test row, and
    `baseline_scores` (n,) are the scores of a Gaussian.
    """
    start = time.perf_counter()
    scores = log_prob_float64(flow, test, context)
    elapsed = time.perf_counter() - start
    return LeaderboardRow(
        name, setting, float(scores.mean()), standard_error(scores, groups), score_seconds=elapsed,
        without_copies=mean_without(scores, is_copy), scores=scores,
        gain_error=None if baseline_scores is None else standard_error(scores - baseline_scores, groups),
    )  # fmt: skip


def mean_without(scores: np.ndarray, is_copy: np.ndarray | None) -> float | None:
    """Mean score of the rows that are not copies; None if all rows are copies, or none is."""
    if is_copy is None or not is_copy.any() or is_copy.all():
        return None
    return float(scores[~is_copy].mean())
