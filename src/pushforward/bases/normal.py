"""Normal distributions with fixed or trained moments."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.distribution import AbstractDistribution
from pushforward.fields import fixed


class Normal(AbstractDistribution):
    """Independent normals of fixed mean and scale: log p(x) = sum_i log N(x_i; loc_i, scale_i^2).

    Args:
        shape: event shape.
        loc: mean, a number or an array of the event shape.
        scale: standard deviation, positive, likewise.

    Cost: O(D) to score and to sample.

    Raises:
        ValueError: if a scale is not positive.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(f"{pf.bases.Normal((1,)).log_prob(jnp.zeros(1)):.4f}")
        -0.9189
    """

    loc: Float[Array, "..."] = fixed()
    scale: Float[Array, "..."] = fixed()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], loc: float | Array = 0.0, scale: float | Array = 1.0) -> None:
        if not bool(jnp.all(jnp.asarray(scale) > 0)):
            raise ValueError(f"scale: expected positive standard deviations, got {scale}.")
        self.shape, self.context_shape = tuple(shape), None
        self.loc = jnp.broadcast_to(jnp.asarray(loc, jnp.result_type(float)), self.shape)
        self.scale = jnp.broadcast_to(jnp.asarray(scale, jnp.result_type(float)), self.shape)

    def score_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return jnp.sum(_log_normal((x - self.loc) / self.scale) - jnp.log(self.scale))

    def draw_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        noise = jax.random.normal(key, self.shape, self.loc.dtype)
        return self.loc + self.scale * noise, jnp.sum(_log_normal(noise) - jnp.log(self.scale))


def _log_normal(noise: Array) -> Array:
    return -0.5 * noise**2 - 0.5 * math.log(2.0 * math.pi)
