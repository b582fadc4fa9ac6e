"""The Sylvester layer: several planar units, with a triangular Jacobian between them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear import Cayley, Householder, Permutation
from pushforward.bijections.planar_radial.nonlinearity import NONLINEARITIES, bounded_scale, check_nonlinearity
from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START_DEVIATION = 0.1


class Sylvester(AbstractBijection):
    """Sylvester layer: x = z + Q R h(S Q^T z + b), Q (D, M) with orthonormal columns, R and S (M, M) upper triangular.

    log|det| = sum_i log(1 + m_i h'(a_i)), a = S Q^T z + b, where m_i = m(s_i) > -0.998 bounds s_i = R_ii S_ii from
    below as in `Planar`, and R_ii is multiplied by m(s_i) / s_i. The inverse solves for one unit after another, last
    first: given the later units, unit i is the scalar equation of a planar layer.

    Args:
        rotation: an orthogonal matrix as a bijection, of which Q is the first M columns: a `Householder` (M
            reflections reach every Q of M columns), `Cayley` or `Permutation`, or a `Chain` of such.
        n_units: M, at most D; D by default.
        nonlinearity: h, "tanh" or "leaky_relu".
        key: for the start values of R and S, which make the layer close to the identity.

    Leaves (unconstrained): `outer` (M, M) and `inner` (M, M), whose upper triangles are R and S;
    `bias` (M,); those of the rotation.

    Cost: O(M^2) and two rotations in both directions; the inverse adds M sequential scalar roots for tanh.

    Raises:
        ValueError: if the rotation is another layer, n_units is out of range or the nonlinearity is unknown.

    Reference: Van den Berg, Hasenclever, Tomczak & Welling 2018, sections 3 and 4. Deviation: a bounded product of the
        diagonals instead of two bounded diagonals.

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
                    "inverse must be the transpose."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rotation.shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        h, (outer, inner, scale) = NONLINEARITIES[self.nonlinearity], self._matrices()
        rotated = self.rotation.inverse_and_log_det(z)[0][: len(scale)]
        a = inner @ rotated + self.bias
        return z + self._rotate_back(outer @ h.value(a)), jnp.sum(h.log_derivative(a, scale))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        h, (outer, inner, scale) = NONLINEARITIES[self.nonlinearity], self._matrices()
        rotated = self.rotation.inverse_and_log_det(x)[0][: len(scale)]

        def unit(state: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
            """Solve for one unit. State: rotated z and h(a), zero for the units before it."""
            z, values = state
            is_unit, outer_row, inner_row, bias, x_i, m = row
            remainder = x_i - outer_row @ values  # without the contributions of later units
            # z of the unit itself is unknown: the remainder replaces it
            e = inner_row @ jnp.where(is_unit, remainder, z) + bias
            t = h.solve(m, e)
            unit_z = remainder - jnp.sum(jnp.where(is_unit, outer_row, 0.0)) * t
            return (jnp.where(is_unit, unit_z, z), jnp.where(is_unit, t, values)), e - m * t

        start = jnp.zeros_like(rotated), jnp.zeros_like(rotated)
        rows = jnp.eye(len(scale), dtype=bool), outer, inner, self.bias, rotated, scale
        (_, values), a = jax.lax.scan(unit, start, rows, reverse=True)
        return x - self._rotate_back(outer @ values), -jnp.sum(h.log_derivative(a, scale))

    def _matrices(self) -> tuple[Array, Array, Array]:
        """R with its diagonal bounded, S, and m_i = m(R_ii S_ii)."""
        outer, inner = jnp.triu(self.outer), jnp.triu(self.inner)
        scale, factor = bounded_scale(jnp.diagonal(outer) * jnp.diagonal(inner))
        return jnp.where(jnp.eye(len(factor), dtype=bool), outer * factor[:, None], outer), inner, scale

    def _rotate_back(self, step: Array) -> Array:
        padded = jnp.zeros(self.shape, step.dtype).at[: len(step)].set(step)
        return self.rotation.forward_and_log_det(padded)[0]
