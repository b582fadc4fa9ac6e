"""The non-linear squared map: an affine map with one bounded rational bump."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import log_one_plus, soft_clamp

_LOG_BOUND = 4.0
_SHARE = 0.95
_SINGULAR_K = 8 * math.sqrt(3) / 9  # the k at which the slope 1 - 2 k u / (1 + u^2)^2 reaches zero


class NonlinearSquared(AbstractByRoot):
    """Affine map with a bump: z = shift + b (x + (k / d) / (1 + u^2)), u = d x + offset, |k| < 0.95 * 8 sqrt(3) / 9.

    b = exp(4 tanh(log_scale / 4)), d = exp(4 tanh(log_width / 4)), k by tanh: the slope stays above 0.05 b. A
    conditional of one such layer can have two modes. Zero leaves are the identity.

    Leaves (unconstrained): `shift`, `log_scale`, `bump`, `log_width`, `offset`, all ().

    Cost: inverse (density) O(1); forward (sampling) O(1) for each step of the root solver, whose bracket is a few units
    around the affine part. (The inverse is also the root of a cubic; near a multiple root its formula loses digits.)

    Reference: Ziegler & Rush 2019, section 4.1, equation 9.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import NonlinearSquared
        >>> x, log_det = NonlinearSquared().forward_and_log_det(jnp.array(1.5))   # zero leaves: the identity
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        1.500 0.000
    """

    shift: Float[Array, "..."]
    log_scale: Float[Array, "..."]
    bump: Float[Array, "..."]
    log_width: Float[Array, "..."]
    offset: Float[Array, "..."]

    def __init__(self) -> None:
        self.shift, self.log_scale, self.bump, self.log_width, self.offset = (zeros(()) for _ in range(5))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        log_scale, log_width = soft_clamp(self.log_scale, _LOG_BOUND), soft_clamp(self.log_width, _LOG_BOUND)
        k = _SHARE * _SINGULAR_K * jnp.tanh(self.bump)
        u = jnp.exp(log_width) * x + self.offset
        bell = 1.0 / (1.0 + u**2)
        z = self.shift + jnp.exp(log_scale) * (x + k * jnp.exp(-log_width) * bell)
        return z, log_scale + log_one_plus(-2.0 * k * (u * bell) * bell)
