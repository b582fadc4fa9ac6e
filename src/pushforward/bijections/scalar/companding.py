"""Companding: a fixed scale between linear and logarithmic, for signals whose quiet parts matter."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.scalar import AbstractScalarBijection
from pushforward.numerics.elementary import log_cosh


class Companding(AbstractScalarBijection):
    """Logarithmic scale with a linear middle: x = sinh(r z) / sinh(r), z = arcsinh(x sinh(r)) / r. No leaves.

    One standard deviation of the data stays one; below 1 / sinh(r) the scale is linear, above it logarithmic. With
    r = asinh(255) it is the mu-law of telephony with a smooth origin. Speech in units of its standard deviation
    has silences of size 0.001, where a layer on x cannot distinguish adjacent levels.

    Args:
        rate: r, positive; r -> 0 is the identity.

    Cost: O(1) in both directions.

    Raises:
        ValueError: if the rate is not in (0, 40].

    Reference: ITU-T recommendation G.711 (mu-law), as in van den Oord et al. 2016 (WaveNet), section 2.2; the arcsinh
    instead of log(1 + mu |x|) is ours.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Companding
        >>> print(jax.vmap(Companding(7.0).inverse)(jnp.array([0.0, 0.001, 0.03, 1.0])).round(2))
        [0.   0.07 0.5  1.  ]
    """

    rate: float = eqx.field(static=True)
    elementwise: ClassVar[bool] = True
    never_singular: ClassVar[bool] = True

    def __init__(self, rate: float) -> None:
        self.rate = float(rate)

    def __check_init__(self) -> None:
        if not 0 < self.rate <= 40:
            raise ValueError(f"rate: expected a number in (0, 40], got {self.rate}. About 8 suits speech.")

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        inner = self.rate * z
        return jnp.sinh(inner) / math.sinh(self.rate), self._log_slope(inner)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        inner = jnp.arcsinh(x * math.sinh(self.rate))
        return inner / self.rate, -self._log_slope(inner)

    def _log_slope(self, inner: Array) -> Array:
        """log dx/dz = log(r cosh(r z) / sinh(r))."""
        return log_cosh(inner) + math.log(self.rate / math.sinh(self.rate))
