"""The Sylvester layer: many planar units at once, with a triangular Jacobian between them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear import Cayley, Householder, Permutation
from pushforward.bijections.planar_radial.nonlinearity import NONLINEARITIES, bounded_strength, check_nonlinearity
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START_DEVIATION = 0.1


class Sylvester(AbstractBijection):
    """Sylvester layer: x = z + Q R h(S Q^T z + b), Q (D, M) with orthonormal columns, R and S (M, M) upper triangular.

    log|det| = sum_i log(1 + m_i h'(a_i)), a = S Q^T z + b, where m_i is what bounds s_i = R_ii S_ii from below as in
    `Planar`: m(s) > -0.998, and R_ii is multiplied by m(s_i) / s_i. The inverse finds the units in turn, last first:
    with those above known, unit i is one scalar equation, that of a planar layer.

    Args:
        rotation: an orthogonal matrix as a bijection, of which Q is the first M columns: a `Householder` (M
            reflections reach every Q of M columns), `Cayley` or `Permutation`, or a `Chain` of such.
        n_units: M, at most D; D by default.
        nonlinearity: h, "tanh" or "leaky_relu".
        key: for the start of R and S, with which the layer is close to the identity.

    Leaves (unconstrained): `outer` (M, M) and `inner` (M, M), of which the part from the diagonal up is R and S;
    `bias` (M,); those of the rotation.

    Cost: O(M^2) and two rotations in both directions; the inverse adds M scalar roots in turn for tanh.

    Raises:
        ValueError: if the rotation is another layer, n_units is out of range or nonlinearity has another name.

    Reference: Van den Berg, Hasenclever, Tomczak & Welling 2018, sections 3 and 4. Deviation: a bounded product of the
        diagonals in the place of two bounded diagonals.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Householder, Sylvester
        >>> layer = Sylvester(Householder(3, 2, key=jax.random.key(0)), 2, key=jax.random.key(1))
        >>> print(jnp.allclose(layer.inverse(layer.forward(jnp.ones(3))), jnp.ones(3), atol=1e-6))
        True
    """

    rotation: AbstractBijection
    outer: Float[Array, "..."]
    inner: Float[Array, "..."]
    bias: Float[Array, "..."]
    nonlinearity: str = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self, rotation: AbstractBijection, n_units: int | None = None, *, nonlinearity: str = "tanh", key: PRNGKeyArray
    ) -> None:
        count = rotation.shape[0] if n_units is None else n_units
        if not 1 <= count <= rotation.shape[0]:
            raise ValueError(f"n_units: expected 1 to {rotation.shape[0]}, the dimension, got {n_units}.")
        key_outer, key_inner = jax.random.split(key)
        self.rotation = rotation
        self.outer = normal(key_outer, (count, count), _START_DEVIATION / count**0.5)
        self.inner = normal(key_inner, (count, count), 1 / count**0.5)
        self.bias, self.nonlinearity, self.context_shape = zeros(count), nonlinearity, None

    def __check_init__(self) -> None:
        check_nonlinearity(self.nonlinearity)
        parts = self.rotation.bijections if isinstance(self.rotation, Chain) else (self.rotation,)
        for part in parts:
            if not isinstance(part, Householder | Cayley | Permutation):
                raise ValueError(
                    f"rotation: expected Householder, Cayley or Permutation layers, got {type(part).__name__}: the "
                    "inverse of another matrix is not its transpose."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rotation.shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        nonlinearity, (outer, inner, strength) = NONLINEARITIES[self.nonlinearity], self._matrices()
        turned = self.rotation.inverse_and_log_det(z)[0][: len(strength)]
        a = inner @ turned + self.bias
        return z + self._turned_back(outer @ nonlinearity.value(a)), jnp.sum(nonlinearity.log_stretch(a, strength))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        nonlinearity, (outer, inner, strength) = NONLINEARITIES[self.nonlinearity], self._matrices()
        seen = self.rotation.inverse_and_log_det(x)[0][: len(strength)]

        def unit(known: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
            """One unit, those after it known: (turned z, h(a)), zero where not yet found."""
            turned, bent = known
            place, out, into, bias, rest, m = row
            left = rest - out @ bent  # what is left of x after the units known
            e = (
                into @ jnp.where(place, left, turned) + bias
            )  # that of the unit itself is not known: `left` in its place
            t = nonlinearity.solve(m, e)
            here = left - jnp.sum(jnp.where(place, out, 0.0)) * t
            return (jnp.where(place, here, turned), jnp.where(place, t, bent)), e - m * t

        places = jnp.eye(len(strength), dtype=bool)
        start = jnp.zeros_like(seen), jnp.zeros_like(seen)
        (_, bent), a = jax.lax.scan(unit, start, (places, outer, inner, self.bias, seen, strength), reverse=True)
        return x - self._turned_back(outer @ bent), -jnp.sum(nonlinearity.log_stretch(a, strength))

    def _matrices(self) -> tuple[Array, Array, Array]:
        """R with its diagonal bounded, S, and the strengths m_i = R_ii S_ii."""
        outer, inner = jnp.triu(self.outer), jnp.triu(self.inner)
        strength, factor = bounded_strength(jnp.diagonal(outer) * jnp.diagonal(inner))
        return jnp.where(jnp.eye(len(factor), dtype=bool), outer * factor[:, None], outer), inner, strength

    def _turned_back(self, step: Array) -> Array:
        padded = jnp.zeros(self.shape, step.dtype).at[: len(step)].set(step)
        return self.rotation.forward_and_log_det(padded)[0]
