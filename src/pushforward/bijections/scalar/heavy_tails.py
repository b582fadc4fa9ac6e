"""Learned tails: from a normal base to power laws, with one index for each side."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.arrays import scalar, zeros
from pushforward.numerics.elementary import (
    log_normal_cdf,
    log_normal_hazard,
    log_normal_quantile,
    magnitude,
    soft_clamp,
)

_MIN_INDEX, _INDEX_RANGE = 0.02, 1.0
_START = -2.2  # an index near 0.12: about the tails of a Student-t of eight degrees of freedom


class HeavyTails(AbstractScalarBijection):
    """Extreme-value tails: x = shift + scale * s ((2 Phi(-|z|))^(-l) - 1) / l, s = sign(z), l = l_+ or l_- by the sign.

    Over a normal base P(|x| > t) falls like t^(-1/l), the tail of a Student-t with 1/l degrees of freedom. The indices
    l lie in (0.02, 1.02), by sigmoids: with l = 1 the mean does not exist. The scale is exp(10 tanh(log_scale / 10)).

    Use it for one layer of a flow, next to the data: its input must have normal tails. With heavy-tailed inputs, as
    those of a second such layer, 2 Phi(-|z|) underflows and x overflows.

    Leaves (unconstrained): `upper` (), `lower` (), `shift` (), `log_scale` ().

    Cost: O(1) in both directions; the inverse takes six Newton steps for the quantile of a normal in logarithms.

    Reference: Hickling & Prangle 2024 (flexible tails for normalizing flows), section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import HeavyTails
        >>> x, _ = HeavyTails().forward_and_log_det(jnp.array(-3.0))
        >>> z, _ = HeavyTails().inverse_and_log_det(x)
        >>> print(f"{z:.3f}")
        -3.000
    """

    upper: Float[Array, "..."]
    lower: Float[Array, "..."]
    shift: Float[Array, "..."]
    log_scale: Float[Array, "..."]
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self) -> None:
        self.upper, self.lower, self.shift, self.log_scale = scalar(_START), scalar(_START), zeros(()), zeros(())

    def _index(self, is_upper: Array) -> Array:
        return _MIN_INDEX + _INDEX_RANGE * jax.nn.sigmoid(jnp.where(is_upper, self.upper, self.lower))

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_scale = soft_clamp(self.log_scale, 10.0)
        out, log_slope = with_tails(z, self._index(z >= 0))
        return self.shift + jnp.exp(log_scale) * out, log_scale + log_slope

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_scale = soft_clamp(self.log_scale, 10.0)
        centred = (x - self.shift) * jnp.exp(-log_scale)
        z, log_slope = without_tails(centred, self._index(centred >= 0))
        return z, log_slope - log_scale


def with_tails(z: Array, index: Array) -> tuple[Array, Array]:
    """s ((2 Phi(-|z|))^(-l) - 1) / l, s = sign(z), for indices l > 0, and the logarithm of its slope at z."""
    size = magnitude(z)
    log_tail = _log_tail(size)
    out = jnp.expm1(-index * log_tail) / index
    return jnp.where(z < 0, -out, out), log_normal_hazard(-size) - index * log_tail


def without_tails(x: Array, index: Array) -> tuple[Array, Array]:
    """The inverse of `with_tails`, and the logarithm of its slope at x."""
    log_tail = -jnp.log1p(index * magnitude(x)) / index
    size = -log_normal_quantile(log_tail - jnp.log(2.0).astype(x.dtype))
    return jnp.where(x < 0, -size, size), index * log_tail - log_normal_hazard(-size)


def _log_tail(size: Array) -> Array:
    """log(2 Phi(-|z|)), the log-probability that a normal variate exceeds |z| in absolute value."""
    return log_normal_cdf(-size) + jnp.log(2.0).astype(size.dtype)
