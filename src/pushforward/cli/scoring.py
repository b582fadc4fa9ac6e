"""Scores as the command line gives them: in double precision, in the data's own units."""

import dataclasses
import math
import time
from typing import Any

import numpy as np


@dataclasses.dataclass
class Row:
    """One line of a leaderboard: mean nats per test row, standard error, seconds."""

    name: str
    setting: str
    test_nats: float
    standard_error: float | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    sample_seconds: float | None = None


def score_rows(flow: Any, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    """Log-density of every row in float64: the weights are cast up and JAX's double precision is on for the call."""
    import jax

    from pushforward.fields import cast

    with jax.enable_x64(True):
        return np.asarray(cast(flow, np.float64).log_prob(x, context))


def leaderboard_row(name: str, setting: str, flow: Any, test: np.ndarray, context: np.ndarray | None) -> Row:
    """Held-out nats of a flow, with the time that scoring took (compilation included)."""
    start = time.perf_counter()
    scores = score_rows(flow, test, context)
    took = time.perf_counter() - start
    error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None
    return Row(name, setting, float(scores.mean()), error, score_seconds=took)
