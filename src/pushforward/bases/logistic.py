"""The logistic distribution."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.parameters import broadcast, broadcast_positive, event_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.numerics.arrays import on_device
from pushforward.numerics.elementary import magnitude


class Logistic(AbstractDistribution):
    """Independent logistic distributions of fixed location and scale; exponential tails.

        log p(x) = sum_i -|u_i| - 2 log(1 + exp(-|u_i|)) - log scale_i,  u = (x - loc) / scale

    Args:
        shape: event shape.
        loc: mean, a number or an array of the event shape.
        scale: positive, a number or an array; the standard deviation is pi / sqrt(3) times the scale.

    Cost: O(D) to score and to sample.

    Raises:
        ValueError: if a scale is not positive, or a number is not finite.

    Reference: Dinh, Krueger & Bengio 2015 (NICE), section 3.4, as the base of a flow.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(f"{pf.bases.Logistic((1,)).log_prob(jnp.zeros(1)):.4f}")
        -1.3863
    """

    loc: Float[Array, "..."] = frozen()
    scale: Float[Array, "..."] = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], loc: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self.shape, self.context_shape = event_shape(shape), None
        self.loc = on_device(broadcast("loc", loc, self.shape))
        self.scale = on_device(broadcast_positive("scale", scale, self.shape))

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return jnp.sum(log_standard_logistic((x - self.loc) / self.scale) - jnp.log(self.scale))

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        noise = jax.random.logistic(key, self.shape, self.loc.dtype)
        return self.loc + self.scale * noise, jnp.sum(log_standard_logistic(noise) - jnp.log(self.scale))


def log_standard_logistic(noise: Array) -> Array:
    """log of the standard logistic density, element by element."""
    size = magnitude(noise)
    return -size - 2.0 * jnp.log1p(jnp.exp(-size))
