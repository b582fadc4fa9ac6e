"""Orthogonal matrices: rotations and reflections; the inverse is the transpose, the log-determinant zero."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros


class Householder(AbstractBijection):
    """Product of reflections: x = Q z, Q = H_1 ... H_k, H_i = I - 2 u_i u_i^T with u_i = v_i / |v_i|.

    Computed in the compact WY form, Q = I - U^T T U with T^-1 = I / 2 + (the part of U U^T above its diagonal): two
    products with U (k, D) and one triangular solve, instead of k successive reflections. With k >= D the layer reaches
    every orthogonal matrix of one sign of the determinant. Reflections start in equal pairs: with k even Q starts as
    the identity. For v_i = 0, H_i is the identity.

    Args:
        dim: number of coordinates D.
        n_reflections: k; the next even number from D on by default.
        key: for the start vectors.

    Leaves (unconstrained): `vectors` (k, D).

    Cost: O(k D + k^2) in both directions, after O(k^2 D) once a batch; log-determinant 0.

    Raises:
        ValueError: if a size is not positive.

    Reference: Tomczak & Welling 2016, section 3; compact form: Schreiber & Van Loan 1989.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Householder
        >>> layer = Householder(2, 1, key=jax.random.key(0))
        >>> print(jnp.linalg.norm(layer.forward(jnp.array([3.0, 4.0]))).round(4))
        5.0
    """

    vectors: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, n_reflections: int | None = None, *, key: PRNGKeyArray) -> None:
        check_dim(dim)
        count = dim + dim % 2 if n_reflections is None else n_reflections
        if count < 1:
            raise ValueError(f"n_reflections: expected at least 1, got {n_reflections}.")
        vectors = normal(key, ((count + 1) // 2, dim), 1.0)
        self.vectors = jnp.repeat(vectors, 2, axis=0)[:count]
        self.shape, self.context_shape = (dim,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(z, transposed=False), jnp.zeros((), z.dtype)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(x, transposed=True), jnp.zeros((), x.dtype)

    def _apply(self, value: Array, transposed: bool) -> Array:
        unit = _unit_rows(self.vectors)
        inverse = jnp.triu(unit @ unit.T, 1) + 0.5 * jnp.eye(unit.shape[0], dtype=unit.dtype)
        weights = solve_triangular(inverse, unit @ value, trans=int(transposed))
        return value - unit.T @ weights


class Cayley(AbstractBijection):
    """Rotation by the Cayley transform: x = Q z, Q = (I - A)^-1 (I + A), A = L - L^T with L strictly lower triangular.

    Q is orthogonal with determinant one; rotations by 180 degrees are only approached. Starts as the identity.

    Args:
        dim: number of coordinates D.

    Leaves (unconstrained): `factor` (D, D), used below the diagonal.

    Cost: O(D^2) in both directions, after one LU factorisation, O(D^3), a batch; log-determinant 0.

    Raises:
        ValueError: if dim is not positive.

    Reference: Golinski, Lezcano-Casado & Rainforth 2019, section 3 (improving normalizing flows by orthogonal maps).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Cayley
        >>> print(Cayley(2).forward(jnp.array([3.0, 4.0])))
        [3. 4.]
    """

    factor: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        self.factor, self.shape, self.context_shape = zeros((dim, dim)), (dim,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(z, 1.0), jnp.zeros((), z.dtype)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._apply(x, -1.0), jnp.zeros((), x.dtype)

    def _apply(self, value: Array, sign: float) -> Array:
        """(I - sA)^-1 (I + sA) v = 2 (I - sA)^-1 v - v; s = -1 gives the transpose."""
        lower = jnp.tril(self.factor, -1)
        matrix = jnp.eye(lower.shape[0], dtype=lower.dtype) - sign * (lower - lower.T)
        return 2 * jnp.linalg.solve(matrix, value) - value


def _unit_rows(vectors: Array) -> Array:
    """Rows divided by their lengths, without overflow; rows of zeros stay zero."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=1, keepdims=True))
    scaled = vectors / jnp.where(largest > 0, largest, 1)
    square = jnp.sum(scaled**2, axis=1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.where(square > 0, square, 1))
