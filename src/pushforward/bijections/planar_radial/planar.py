"""The planar layer: a shift along one direction by a function of another."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.bijections.planar_radial.nonlinearity import NONLINEARITIES, bounded_scale, check_nonlinearity
from pushforward.core.bijection import AbstractBijection
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START_DEVIATION = 0.1


class Planar(AbstractBijection):
    """Planar layer: x = z + v h(w.z + b), v = u m(s) / s with s = w.u and m(s) = s / (1 + max(-s, 0) / 0.998).

    w.v = m > -0.998, so with slopes of h in (0, 1] the layer is invertible for all u and w; v = u where s >= 0.
    log|det| = log(1 + m h'(w.z + b)). With w = 0 it is a translation. The inverse needs only a = w.z + b: for tanh the
    one root of a + m h(a) = w.x + b, for the leaky ReLU (slope 0.1 below zero) a formula. A leaky layer's
    log-determinant jumps where w.z + b = 0, which gradients ignore: such layers train badly, so prefer tanh.

    Args:
        dim: number of coordinates D.
        nonlinearity: h, "tanh" or "leaky_relu".
        key: for the start values of u and w, which make the layer close to the identity.

    Leaves (unconstrained): `u` (D,), `w` (D,), `bias` ().

    Cost: O(D) in both directions; the inverse adds one scalar root for tanh.

    Raises:
        ValueError: if dim is not positive or the nonlinearity is unknown.

    Reference: Rezende & Mohamed 2015, section 4.1 and appendix A.1. Deviation: their projection of u divides by |w|^2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Planar
        >>> layer = Planar(2, key=jax.random.key(0))
        >>> print(jnp.allclose(layer.inverse(layer.forward(jnp.ones(2))), jnp.ones(2), atol=1e-6))
        True
    """

    u: Float[Array, "..."]
    w: Float[Array, "..."]
    bias: Float[Array, "..."]
    nonlinearity: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, nonlinearity: str = "tanh", key: PRNGKeyArray) -> None:
        check_dim(dim)
        key_u, key_w = jax.random.split(key)
        self.u = normal(key_u, (dim,), _START_DEVIATION / dim**0.5)
        self.w = normal(key_w, (dim,), 1 / dim**0.5)
        self.bias, self.nonlinearity, self.shape, self.context_shape = zeros(()), nonlinearity, (dim,), None

    def __check_init__(self) -> None:
        check_nonlinearity(self.nonlinearity)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        h, (scale, factor) = NONLINEARITIES[self.nonlinearity], bounded_scale(self.w @ self.u)
        a = self.w @ z + self.bias
        return z + self.u * (factor * h.value(a)), h.log_derivative(a, scale)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        h, (scale, factor) = NONLINEARITIES[self.nonlinearity], bounded_scale(self.w @ self.u)
        e = self.w @ x + self.bias
        t = h.solve(scale, e)
        return x - self.u * (factor * t), -h.log_derivative(e - scale * t, scale)
