"""Lines of a leaderboard, and the versions that decide a model's numbers."""

import dataclasses
import math
import time
from typing import Any

import numpy as np

from pushforward.double import score_rows


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
