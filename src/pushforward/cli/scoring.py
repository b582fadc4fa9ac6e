"""Scores and samples as the command line gives them: in double precision, in the data's own units."""

import dataclasses
import math
import time
from typing import Any

import numpy as np

from pushforward.errors import NumericError


@dataclasses.dataclass
class Row:
    """One line of a leaderboard: mean nats per test row, standard error, seconds (compilation included)."""

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


def draw_rows(flow: Any, n: int | tuple[int, ...], seed: int, context: np.ndarray | None = None) -> np.ndarray:
    """Samples in float64, so that a column of large numbers, such as a time stamp, keeps its last digits."""
    import jax

    from pushforward.fields import cast

    with jax.enable_x64(True):
        rows = np.asarray(cast(flow, np.float64).sample(n, key=seed, context=context))
    bad = ~np.isfinite(rows).all(axis=tuple(range(-len(flow.shape), 0)))
    if bad.any():
        raise NumericError(
            f"{int(bad.sum())} of {bad.size} samples are infinite, first number {int(bad.argmax()) + 1}: look at the "
            "model with pushforward check, or fit it with a smaller --learning-rate."
        )
    return rows


def leaderboard_row(name: str, setting: str, flow: Any, test: np.ndarray, context: np.ndarray | None = None) -> Row:
    """Held-out nats of a flow, with the time that scoring took (compilation included)."""
    start = time.perf_counter()
    scores = score_rows(flow, test, context)
    took = time.perf_counter() - start
    error = float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None
    return Row(name, setting, float(scores.mean()), error, score_seconds=took)


def versions() -> dict[str, str]:
    """The versions that decide a model's numbers."""
    import equinox
    import jax

    from pushforward._version import __version__

    return {"pushforward": __version__, "jax": jax.__version__, "equinox": equinox.__version__}
