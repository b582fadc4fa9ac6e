"""Lines of a leaderboard, and the versions that decide a model's numbers."""

import dataclasses
import time
from typing import Any

import numpy as np

from pushforward.core.float64 import log_prob_float64
from pushforward.numerics.moments import standard_error


@dataclasses.dataclass
class Row:
    """One line of a leaderboard: mean nats per test row, standard error, seconds (compilation included).

    `gain_error` is the standard error of the gain over the Gaussian, by the differences of single rows, or groups.
    `without_copies` is the mean over the test rows that have no equal training row; None where all have, or none has.
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
    is_copy: np.ndarray | None = None, groups: np.ndarray | None = None, floor: np.ndarray | None = None,
) -> Row:  # fmt: skip
    """Held-out nats of a flow, with the time that scoring took (compilation included).

    `is_copy` says which test rows have an equal training row, `groups` (n,) which of them belong together, `floor` (n,)
    what a Gaussian scores.
    """
    start = time.perf_counter()
    scores = log_prob_float64(flow, test, context)
    took = time.perf_counter() - start
    return Row(
        name, setting, float(scores.mean()), standard_error(scores, groups), score_seconds=took,
        without_copies=mean_without(scores, is_copy),
        gain_error=None if floor is None else standard_error(scores - floor, groups),
    )  # fmt: skip


def mean_without(scores: np.ndarray, is_copy: np.ndarray | None) -> float | None:
    """Mean score of the rows that are no copies; None where all are, or none is, which makes it the mean of all."""
    if is_copy is None or not is_copy.any() or is_copy.all():
        return None
    return float(scores[~is_copy].mean())


def versions() -> dict[str, str]:
    """The versions that decide a model's numbers."""
    import equinox
    import jax

    from pushforward._version import __version__

    return {"pushforward": __version__, "jax": jax.__version__, "equinox": equinox.__version__}
