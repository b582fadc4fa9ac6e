"""Log-densities and samples in double precision, whatever the dtype in which a flow was trained."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.fields import cast
from pushforward.errors import NumericError


def log_prob_float64(flow: Any, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    """Log-density of every sample in float64: the weights are cast to float64, and x64 is enabled for the call."""
    return log_prob_function(flow)(x, context)


def log_prob_function(flow: Any) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """`log_prob_float64` of one flow for many calls: the weights are cast once. The function is thread-safe."""
    with jax.enable_x64(True):
        flow_float64 = cast(flow, np.float64)

    def log_prob(x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(flow_float64.log_prob(x, context))

    return log_prob


def sample_float64(
    flow: Any, n: int | tuple[int, ...], seed: int | PRNGKeyArray, context: np.ndarray | None = None
) -> np.ndarray:
    """Samples in float64, so that columns of large numbers, such as time stamps, keep their last digits."""
    with jax.enable_x64(True):
        samples = np.asarray(cast(flow, np.float64).sample(n, key=seed, context=context))
    bad = ~np.isfinite(samples).all(axis=tuple(range(-len(flow.shape), 0)))
    if bad.any():
        raise NumericError(
            f"{int(bad.sum())} of {bad.size} samples are infinite, first number {int(bad.argmax()) + 1}: look at the "
            "model with pushforward check, or fit it with a smaller learning rate."
        )
    return samples
