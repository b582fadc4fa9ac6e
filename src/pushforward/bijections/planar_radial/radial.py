"""The radial layer: contraction towards a point, or expansion away from it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim, positive
from pushforward.bijections.planar_radial.nonlinearity import bounded_scale
from pushforward.core.bijection import AbstractBijection
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import log_one_plus

_MIN_RADIUS = 1e-3
_START_DEVIATION = 0.1


class Radial(AbstractBijection):
    """Radial layer: x = z + beta (z - z0) / (alpha + r), r = |z - z0|, alpha > 0, beta > -alpha.

    With q = r / alpha, k = 1 / (1 + q) and beta = alpha m this is x = z0 + (z - z0) (1 + m k), and
    log|det| = (D - 1) log(1 + m k) + log(1 + m k^2). alpha = softplus(radius + offset) + 0.001, one at the start;
    m = raw_scale / (1 + max(-raw_scale, 0) / 0.998) > -0.998, the identity at raw_scale = 0.
    The inverse has a closed form: q solves q^2 + (1 + m - q') q = q', with q' = |x - z0| / alpha.

    Args:
        dim: number of coordinates D.
        key: for the start values of centre and raw_scale, which make the layer close to the identity.

    Leaves (unconstrained): `centre` (D,), `radius` (), `raw_scale` ().

    Cost: O(D) in both directions.

    Raises:
        ValueError: if dim is not positive.

    Reference: Rezende & Mohamed 2015, section 4.1 and appendix A.2. Deviation: beta in units of alpha.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Radial
        >>> layer = Radial(2, key=jax.random.key(0))
        >>> print(jnp.allclose(layer.inverse(layer.forward(jnp.ones(2))), jnp.ones(2), atol=1e-6))
        True
    """

    centre: Float[Array, "..."]
    radius: Float[Array, "..."]
    raw_scale: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, key: PRNGKeyArray) -> None:
        check_dim(dim)
        key_centre, key_scale = jax.random.split(key)
        self.centre, self.radius = normal(key_centre, (dim,), 1.0), zeros(())
        self.raw_scale = normal(key_scale, (), _START_DEVIATION)
        self.shape, self.context_shape = (dim,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        m, _ = bounded_scale(self.raw_scale)
        difference = z - self.centre
        k = 1.0 / (1.0 + _length(difference) / positive(self.radius, _MIN_RADIUS))
        return z + difference * (m * k), self._log_derivative(m, k)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        m, _ = bounded_scale(self.raw_scale)
        difference = x - self.centre
        radius = _length(difference) / positive(self.radius, _MIN_RADIUS)
        half = 0.5 * (1.0 + m - radius)
        # the root of half^2 + radius, without overflow; the unit changes no digit, so it needs no derivative
        unit = jax.lax.stop_gradient(jnp.maximum(jnp.abs(half), jnp.sqrt(jnp.where(radius > 0, radius, 1.0))))
        root = unit * jnp.sqrt((half / unit) ** 2 + jnp.where(radius > 0, radius, 1.0) / unit / unit)
        root = jnp.where(radius > 0, root, half)
        # q = root - half, in the form without cancellation
        q = jnp.where(half > 0, radius / jnp.where(half > 0, half + root, 1.0), root - half)
        k = 1.0 / (1.0 + q)
        return x - difference * (m * k / (1.0 + m * k)), -self._log_derivative(m, k)

    def _log_derivative(self, m: Array, k: Array) -> Array:
        return (self.shape[0] - 1) * log_one_plus(m * k) + log_one_plus(m * k**2)


def _length(vector: Array) -> Array:
    """|v| without overflow, and with a gradient of zero at v = 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vector)))
    scale = jnp.where(largest > 0, largest, 1.0)
    square = jnp.sum((vector / scale) ** 2)
    return scale * jnp.where(largest > 0, jnp.sqrt(jnp.where(largest > 0, square, 1.0)), 0.0)
