"""Learned tails: from a normal base to power laws, each side with an index of its own."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijection import AbstractBijection
from pushforward.numerics import (
    log_normal_cdf,
    log_normal_hazard,
    log_normal_quantile,
    magnitude,
    scalar,
    soft_clamp,
    zeros,
)

_LEAST, _MOST = 0.02, 1.0
_START = -2.2  # an index near 0.12: about the tails of a Student-t of eight degrees of freedom


class HeavyTails(AbstractBijection):
    """Extreme-value tails: x = shift + scale * s ((2 Phi(-|z|))^(-l) - 1) / l, s = sign(z), l = l_+ or l_- by the sign.

    Over a normal base P(|x| > t) falls like t^(-1/l), the tail of a Student-t with 1/l degrees of freedom. The indices
    l lie in (0.02, 1.02), by sigmoids: with l = 1 the mean does not exist. The scale is exp(10 tanh(log_scale / 10)).

    For one layer of a flow, at the data: what goes in must have normal tails. A second such layer would see values far
    out, of which 2 Phi(-|z|) has hundreds of digits, and overflow.

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
    shape: ClassVar[tuple[int, ...]] = ()
    context_shape: ClassVar[None] = None

    def __init__(self) -> None:
        self.upper, self.lower, self.shift, self.log_scale = scalar(_START), scalar(_START), zeros(()), zeros(())

    def _index(self, is_upper: Array) -> Array:
        return _LEAST + _MOST * jax.nn.sigmoid(jnp.where(is_upper, self.upper, self.lower))

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        size, index = magnitude(z), self._index(z > 0)
        log_tail = _log_tail(size)
        log_scale = soft_clamp(self.log_scale, 10.0)
        out = jnp.exp(log_scale) * jnp.expm1(-index * log_tail) / index
        log_slope = log_scale - index * log_tail + log_normal_hazard(-size)
        return self.shift + jnp.where(z < 0, -out, out), log_slope

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        centred = x - self.shift
        index, log_scale = self._index(centred > 0), soft_clamp(self.log_scale, 10.0)
        log_tail = -jnp.log1p(index * magnitude(centred) * jnp.exp(-log_scale)) / index
        size = -log_normal_quantile(log_tail - jnp.log(2.0).astype(x.dtype))
        log_slope = log_scale - index * log_tail + log_normal_hazard(-size)
        return jnp.where(centred < 0, -size, size), -log_slope


def _log_tail(size: Array) -> Array:
    """log(2 Phi(-|z|)): the share of a normal further out than |z|."""
    return log_normal_cdf(-size) + jnp.log(2.0).astype(size.dtype)
