"""Unconstrained monotone maps: the integral of a small positive network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.scalar.bins import clip
from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.bijections.scalar.sum_of_squares import check_box
from pushforward.core.fields import shared
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import inverse_softplus

_FLOOR = 1e-3


class MonotoneIntegral(AbstractByRoot):
    """Unconstrained monotone map: z = shift + int_0^x g(t; e) dt, g = 0.001 + softplus(network(t, e)), linear outside.

    The network, two hidden layers of tanh, is one for all coordinates; a conditioner emits the embedding e and the
    shift. Outside [-B, B] g keeps the value at the edge. The integral is Gauss and Legendre's rule over [0, x] with
    `n_points`; log dz/dx = log g(x), exact for the integral, so for the rule up to its error: with weights of the size
    that training leaves, below 1e-6 of z with 32 points. Zero leaves and a fresh network are the identity.

    Args:
        n_embedded: length of the embedding e.
        width: of the hidden layers.
        n_points: of the quadrature rule.
        bound: half-width B of the box.
        seed: for the network's start.

    Leaves (unconstrained): `embedding` (n_embedded,), `shift` (); shared by all coordinates: the network.

    Cost: inverse (density) n_points passes of the small network for each coordinate, its slope one; forward (sampling)
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
    by_place: Float[Array, "..."] = shared()
    by_embedding: Float[Array, "..."] = shared()
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
        self.by_place = normal(keys[0], (width,), 1.0)
        self.by_embedding = normal(keys[1], (width, n_embedded), n_embedded**-0.5)
        self.first_bias = normal(keys[2], (width,), 1.0)
        self.hidden, self.hidden_bias = normal(keys[3], (width, width), width**-0.5), zeros(width)
        self.out, self.out_bias = zeros(width), zeros(())
        self.bound, self.n_points = float(bound), n_points

    def __check_init__(self) -> None:
        check_box(self.bound)

    def _mapped(self, x: Array) -> tuple[Array, Array]:
        inside = clip(x, -self.bound, self.bound)
        constant = jnp.tensordot(self.by_embedding, self.embedding, 1) + _column(self.first_bias, x)

        @jax.checkpoint
        def add(area: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
            share, weight = point
            return area + weight * self._slope(share * inside, constant), None

        # point by point: the hidden values of all points at once would not fit a cache
        area, _ = jax.lax.scan(add, jnp.zeros_like(x), _rule(self.n_points, x.dtype))
        slope = self._slope(inside, constant)
        return self.shift + inside * area + slope * (x - inside), jnp.log(slope)

    def _slope(self, t: Array, constant: Array) -> Array:
        """g at t, element by element; `constant` is what the first layer makes of the embedding."""
        first = jnp.tanh(_column(self.by_place, t) * (t[None] / self.bound) + constant)
        second = jnp.tanh(jnp.tensordot(self.hidden, first, 1) + _column(self.hidden_bias, t))
        raw = jnp.tensordot(self.out, second, 1) + self.out_bias + inverse_softplus(1.0 - _FLOOR)
        return _FLOOR + jax.nn.softplus(raw)


def _column(vector: Array, like: Array) -> Array:
    """A vector along a new first axis, to be broadcast over the others."""
    return vector.reshape((-1,) + (1,) * like.ndim)


def _rule(n_points: int, dtype: jnp.dtype) -> tuple[Array, Array]:
    """Gauss and Legendre's points and weights on (0, 1)."""
    places, weights = np.polynomial.legendre.leggauss(n_points)
    return jnp.asarray((places + 1) / 2, dtype), jnp.asarray(weights / 2, dtype)
