"""The uniform distribution on a box."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.parameters import broadcast, event_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.numerics.arrays import on_device


class Uniform(AbstractDistribution):
    """Uniform distribution on the box low <= x <= high: log p(x) = -sum_i log(high_i - low_i), and -inf outside.

    Args:
        shape: event shape.
        low: lower ends, a number or an array of the event shape.
        high: upper ends, likewise, above `low`.

    Cost: O(D) to score and to sample.

    Raises:
        ValueError: if an interval is empty or too wide for the floating-point type.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(pf.bases.Uniform((1,), high=0.5).log_prob(jnp.array([[0.5], [0.6]])))
        [0.6931472      -inf]
    """

    low: Float[Array, "..."] = frozen()
    high: Float[Array, "..."] = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> None:
        self.shape, self.context_shape = event_shape(shape), None
        lower, upper = broadcast("low", low, self.shape), broadcast("high", high, self.shape)
        check_intervals(lower, upper)
        self.low, self.high = on_device(lower), on_device(upper)

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        in_support = jnp.all((x >= self.low) & (x <= self.high))
        return jnp.where(in_support, -jnp.sum(jnp.log(self.high - self.low)), -jnp.inf)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        width = self.high - self.low
        x = self.low + width * jax.random.uniform(key, self.shape, self.low.dtype)
        return jnp.clip(x, self.low, self.high), -jnp.sum(jnp.log(width))  # rounding could leave the box


def check_intervals(low: np.ndarray, high: np.ndarray) -> None:
    """Raise an error for an empty interval, or one whose length overflows."""
    with np.errstate(over="ignore"):
        is_invalid = ~((high > low) & np.isfinite(high - low))
    if is_invalid.any():
        index = tuple(int(i) for i in np.argwhere(is_invalid)[0])
        raise ValueError(
            f"low, high: expected low < high with a finite difference, got {low[index]:g} and {high[index]:g} at "
            f"coordinate {index} (in {low.dtype})."
        )
