"""Log-densities and samples in double precision, whatever the dtype in which a flow was trained."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.fields import cast
from pushforward.errors import NumericError
from pushforward.numerics.programs import cached_per_module, is_traced


class _DoublePrecision:
    """A module in float64, with the attributes that `cached_per_module` asks for."""

    def __init__(self, module: Any) -> None:
        self.module = cast(module, np.float64)
        self.arrays = jax.tree.leaves(self.module)
        self.is_traced = is_traced(*self.arrays)


_double_precision = cached_per_module(_DoublePrecision)


def in_float64(module: Any) -> Any:
    """The module in float64, cast once and cached while the module lives.

    Raises:
        RuntimeError: if x64 is not enabled: JAX would cast to float32 in silence.
    """
    if not jax.enable_x64.value:
        raise RuntimeError("in_float64: expected a call under jax.enable_x64(True), without which JAX has no float64.")
    return _double_precision(module).module


def log_prob_float64(flow: Any, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
    """Log-density of every sample in float64: x64 is enabled for the call. Thread-safe."""
    with jax.enable_x64(True):
        return np.asarray(in_float64(flow).log_prob(x, context))


def sample_float64(
    flow: Any, n: int | tuple[int, ...], seed: int | PRNGKeyArray, context: np.ndarray | None = None
) -> np.ndarray:
    """Samples in float64, so that columns of large numbers, such as time stamps, keep their last digits."""
    with jax.enable_x64(True):
        samples = np.asarray(in_float64(flow).sample(n, key=seed, context=context))
    bad = ~np.isfinite(samples).all(axis=tuple(range(-len(flow.shape), 0)))
    if bad.any():
        raise NumericError(
            f"{int(bad.sum())} of {bad.size} samples are infinite, first number {int(bad.argmax()) + 1}: look at the "
            "model with pushforward check, or fit it with a smaller learning rate."
        )
    return samples
