"""Unconstrained monotone maps: the integral of a positive network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.bins import clip
from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.core.fields import shared
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import inverse_softplus

_FLOOR = 1e-3


class MonotoneIntegral(AbstractByRoot):
    """Unconstrained monotone map: z = shift + int_0^x g(t; e) dt, g = 0.001 + softplus(network(t, e)), linear outside.

    All coordinates share the network, of two hidden tanh layers; a conditioner emits the embedding e and the shift.
    Outside [-B, B] g is constant. The integral is computed by Gauss-Legendre quadrature over [0, x] with `n_points`;
    log dz/dx = log g(x) is exact for the integral, and for the quadrature up to its error: with weights of trained
    size, below 1e-6 of z with 32 points. Zero leaves and a new network are the identity.

    Args:
        n_embedded: length of the embedding e.
        width: units of each hidden layer.
        n_points: number of quadrature points.
        bound: half-width B of the box.
        seed: for the network's start weights.

    Leaves (unconstrained): `embedding` (n_embedded,), `shift` (); shared by all coordinates: the network.

    Cost: inverse (density) n_points passes of the network for each coordinate, one for its slope; forward (sampling)
    that for each step of the root solver.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Wehenkel & Louppe 2019, sections 3 and 4. Deviation: Gauss-Legendre points, linear tails.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MonotoneIntegral
        >>> x, log_det = MonotoneIntegral().forward_and_log_det(jnp.array(0.5))
        >>> print(f"{x:.3f} {abs(log_det):.3f}")
        0.500 0.000
    """

    embedding: Float[Array, "..."]
    shift: Float[Array, "..."]
    value_weight: Float[Array, "..."] = shared()
    embedding_weight: Float[Array, "..."] = shared()
    first_bias: Float[Array, "..."] = shared()
    hidden: Float[Array, "..."] = shared()
    hidden_bias: Float[Array, "..."] = shared()
    out: Float[Array, "..."] = shared()
    out_bias: Float[Array, "..."] = shared()
    bound: float = eqx.field(static=True)
    n_points: int = eqx.field(static=True)

    def __init__(
        self, n_embedded: int = 8, *, width: int = 24, n_points: int = 32, bound: float = 5.0, seed: int = 0
    ) -> None:
        if min(n_embedded, width) < 1 or n_points < 2:
            raise ValueError(
                f"n_embedded, width, n_points: expected at least 1, 1 and 2, got {n_embedded}, {width}, {n_points}."
            )
        keys = jax.random.split(jax.random.key(seed), 4)
        self.embedding, self.shift = zeros(n_embedded), zeros(())
        self.value_weight = normal(keys[0], (width,), 1.0)
        self.embedding_weight = normal(keys[1], (width, n_embedded), n_embedded**-0.5)
        self.first_bias = normal(keys[2], (width,), 1.0)
        self.hidden, self.hidden_bias = normal(keys[3], (width, width), width**-0.5), zeros(width)
        self.out, self.out_bias = zeros(width), zeros(())
        self.bound, self.n_points = float(bound), n_points

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        clipped = clip(x, -self.bound, self.bound)
        offset = jnp.tensordot(self.embedding_weight, self.embedding, 1) + _column(self.first_bias, x)

        @jax.checkpoint
        def add(area: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
            share, weight = point
            return area + weight * self._slope(share * clipped, offset), None

        # one point after another: the hidden units of all points would not fit into a cache
        area, _ = jax.lax.scan(add, jnp.zeros_like(x), _rule(self.n_points, x.dtype))
        slope = self._slope(clipped, offset)
        return self.shift + clipped * area + slope * (x - clipped), jnp.log(slope)

    def _slope(self, t: Array, offset: Array) -> Array:
        """g at t, element by element; `offset` is the embedding's part of the first layer."""
        first = jnp.tanh(_column(self.value_weight, t) * (t[None] / self.bound) + offset)
        second = jnp.tanh(jnp.tensordot(self.hidden, first, 1) + _column(self.hidden_bias, t))
        raw = jnp.tensordot(self.out, second, 1) + self.out_bias + inverse_softplus(1.0 - _FLOOR)
        return _FLOOR + jax.nn.softplus(raw)


def _column(vector: Array, like: Array) -> Array:
    """A vector with trailing axes of one, to broadcast against (..., *like.shape)."""
    return vector.reshape((-1,) + (1,) * like.ndim)


def _rule(n_points: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """Gauss-Legendre points and weights on (0, 1)."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    return jnp.asarray((points + 1) / 2, dtype), jnp.asarray(weights / 2, dtype)
