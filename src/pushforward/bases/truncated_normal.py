"""The truncated normal distribution."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.normal import log_standard_normal
from pushforward.bases.parameters import broadcast, broadcast_positive, event_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.numerics.arrays import on_device
from pushforward.numerics.elementary import log_normal_quantile, log_one_plus


class TruncatedNormal(AbstractDistribution):
    """Independent normals conditioned on low <= x <= high, with fixed parameters.

        log p(x) = sum_i log N(x_i; loc_i, scale_i^2) - log(F(b_i) - F(a_i)),  a = (low - loc) / scale, b likewise

    F is the standard normal distribution function; log p is -inf outside the interval. The normalising constant is
    computed once, in float64 on the host. Sampling uses log F, which is accurate in far tails.

    Args:
        shape: event shape.
        low: lower ends, a number or an array of the event shape; -inf for none.
        high: upper ends, likewise, above `low`; inf for none.
        loc: mean before truncation.
        scale: standard deviation before truncation, positive.

    Cost: O(D) to score; O(D) to sample, by inverting log F with eight Newton steps.

    Raises:
        ValueError: if an interval is empty, a scale is not positive, or the mass of the interval underflows float64
            (it begins beyond 37 scales from loc).

    Reference: Robert 1995, section 1. Deviation: samples by inversion in logarithms, without rejection.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> print(f"{pf.bases.TruncatedNormal((1,), low=0.0).log_prob(jnp.zeros(1)):.4f}")
        -0.2258
    """

    low: Float[Array, "..."] = frozen()
    high: Float[Array, "..."] = frozen()
    loc: Float[Array, "..."] = frozen()
    scale: Float[Array, "..."] = frozen()
    log_mass: Float[Array, "..."] = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        low: ArrayLike = -math.inf,
        high: ArrayLike = math.inf,
        *,
        loc: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
    ) -> None:
        self.shape, self.context_shape = event_shape(shape), None
        mean, deviation = broadcast("loc", loc, self.shape), broadcast_positive("scale", scale, self.shape)
        lower = broadcast("low", low, self.shape, may_be_infinite=True)
        upper = broadcast("high", high, self.shape, may_be_infinite=True)
        if not (lower < upper).all():
            raise ValueError(f"low, high: expected low < high in {lower.dtype}, got {low} and {high}.")
        mass = _mass(*((ends.astype(np.float64) - mean) / deviation for ends in (lower, upper)))
        if not (mass > 0.0).all():
            raise ValueError(
                f"low, high: the normal with loc {loc} and scale {scale} has no mass between {low} and {high}. "
                "Move loc towards the interval, or widen scale."
            )
        # Infinite bounds become the largest float, which is equivalent; model files hold finite numbers only.
        largest = np.finfo(lower.dtype).max
        self.low = on_device(np.clip(lower, -largest, largest))
        self.high = on_device(np.clip(upper, -largest, largest))
        self.loc, self.scale = on_device(mean), on_device(deviation)
        self.log_mass = on_device(np.log(mass), lower.dtype)

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        in_support = jnp.all((x >= self.low) & (x <= self.high))
        log_probs = log_standard_normal((x - self.loc) / self.scale) - jnp.log(self.scale) - self.log_mass
        return jnp.where(in_support, jnp.sum(log_probs), -jnp.inf)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        start, end = (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale
        level = jax.random.uniform(key, self.shape, start.dtype, minval=jnp.finfo(start.dtype).eps / 2)
        log_level, log_rest = jnp.log(level), log_one_plus(-level)
        below = jnp.logaddexp(log_ndtr(start) + log_rest, log_ndtr(end) + log_level)
        above = jnp.logaddexp(log_ndtr(-start) + log_rest, log_ndtr(-end) + log_level)
        is_below = below < above
        # the quantile of the smaller tail, whose logarithm is accurate
        tail = log_normal_quantile(jnp.where(is_below, below, above))
        x = jnp.clip(self.loc + self.scale * jnp.where(is_below, tail, -tail), self.low, self.high)
        return x, self.log_prob_one(x, None, None)


def _mass(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """F(end) - F(start), mirrored so that the interval is on the left, where F is accurate."""
    is_right = start > -end
    start, end = np.where(is_right, -end, start), np.where(is_right, -start, end)
    below = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)), otypes=[np.float64])
    return below(end) - below(start)
