"""Rows of a leaderboard, and the versions of the libraries that a model depends on."""

import dataclasses
import time
from typing import Any

import numpy as np

from pushforward.core.float64 import log_prob_float64
from pushforward.numerics.moments import standard_error


@dataclasses.dataclass
class Row:
    """One row of a leaderboard: mean test log-likelihood (nats), its standard error, seconds (compilation included).

    `gain_error` is the standard error of the gain over the Gaussian, from the differences of single rows or groups.
    `without_copies` is the mean over the test rows that equal no training row; None if all do, or none does.
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


def leaderboard_row(
    name: str, setting: str, flow: Any, test: np.ndarray, context: np.ndarray | None = None,
    is_copy: np.ndarray | None = None, groups: np.ndarray | None = None, baseline_scores: np.ndarray | None = None,
) -> Row:  # fmt: skip
    """Test log-likelihood of a flow, with the time that scoring took (compilation included).

    `is_copy` (n,) marks test rows that equal a training row, `groups` (n,) has the group of each test row, and
    `baseline_scores` (n,) are the scores of a Gaussian.
    """
    start = time.perf_counter()
    scores = log_prob_float64(flow, test, context)
    elapsed = time.perf_counter() - start
    return Row(
        name, setting, float(scores.mean()), standard_error(scores, groups), score_seconds=elapsed,
        without_copies=mean_without(scores, is_copy),
        gain_error=None if baseline_scores is None else standard_error(scores - baseline_scores, groups),
    )  # fmt: skip


def mean_without(scores: np.ndarray, is_copy: np.ndarray | None) -> float | None:
    """Mean score of the rows that are not copies; None if all rows are copies, or none is."""
    if is_copy is None or not is_copy.any() or is_copy.all():
        return None
    return float(scores[~is_copy].mean())


def versions() -> dict[str, str]:
    """Versions of the libraries that a model's numbers depend on."""
    import equinox
    import jax

    from pushforward._version import __version__

    return {"pushforward": __version__, "jax": jax.__version__, "equinox": equinox.__version__}
