"""A diagonal matrix with a low-rank update: the covariances of factor analysis at a cost linear in D."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim, check_min_diagonal, positive
from pushforward.core.bijection import AbstractBijection
from pushforward.networks.initial_weights import normal
from pushforward.numerics.arrays import zeros

_START_DEVIATION = 0.01


class LowRank(AbstractBijection):
    """Diagonal times identity plus low rank: x = d (z + U^T U z) + bias, U of shape (r, D), d positive.

    I + U^T U is positive definite, so the layer cannot become singular. Over a standard normal x has a diagonal
    covariance plus one of rank r, both scaled by d, as in factor analysis. By the determinant lemma log|det| =
    sum_i log d_i + log det(I_r + U U^T); the inverse is Woodbury's, y - U^T (I_r + U U^T)^-1 U y.

    Args:
        dim: number of coordinates D.
        rank: r.
        min_diagonal: floor of the d_i, in (0, 1).
        key: for the small start values of U.

    Leaves (unconstrained): `factor` (r, D), `diagonal` (D,), `bias` (D,).

    Cost: O(r D) forward, O(r D + r^2) inverse, after O(r^2 D + r^3) once a batch, log-determinant included.

    Raises:
        ValueError: if a size or min_diagonal is out of range.

    Reference: determinant lemma and Woodbury identity: Petersen & Pedersen 2012, equations 24 and 156.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import LowRank
        >>> layer = LowRank(4, rank=1, key=jax.random.key(0))
        >>> print(jnp.allclose(layer.inverse(layer.forward(jnp.arange(4.0))), jnp.arange(4.0), atol=1e-5))
        True
    """

    factor: Float[Array, "..."]
    diagonal: Float[Array, "..."]
    bias: Float[Array, "..."]
    min_diagonal: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, rank: int, min_diagonal: float = 1e-3, key: PRNGKeyArray) -> None:
        check_dim(dim)
        if rank < 1:
            raise ValueError(f"rank: expected at least 1, got {rank}.")
        self.factor = normal(key, (rank, dim), _START_DEVIATION)
        self.diagonal, self.bias = zeros(dim), zeros(dim)
        self.min_diagonal, self.shape, self.context_shape = float(min_diagonal), (dim,), None

    def __check_init__(self) -> None:
        check_min_diagonal(self.min_diagonal)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        _, log_det = self._cholesky()
        return diagonal * (z + self.factor.T @ (self.factor @ z)) + self.bias, log_det + jnp.sum(jnp.log(diagonal))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        root, log_det = self._cholesky()
        y = (x - self.bias) / diagonal
        z = y - self.factor.T @ cho_solve((root, True), self.factor @ y)
        return z, -log_det - jnp.sum(jnp.log(diagonal))

    def _cholesky(self) -> tuple[Array, Array]:
        """The Cholesky factor of I_r + U U^T, and its log-determinant."""
        matrix = self.factor @ self.factor.T + jnp.eye(self.factor.shape[0], dtype=self.factor.dtype)
        root, _ = cho_factor(matrix, lower=True)
        return root, 2 * jnp.sum(jnp.log(jnp.diagonal(root)))
