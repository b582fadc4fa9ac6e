"""A triangular matrix with a positive diagonal, the Cholesky factor of a covariance."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim, check_min_diagonal, positive
from pushforward.bijections.linear.triangular_solve import substitute
from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import zeros


class Triangular(AbstractBijection):
    """Triangular linear layer: x = L z + bias, L lower (or upper) triangular with a positive diagonal.

    The diagonal is softplus(diagonal + offset) + min_diagonal; log|det| = sum_i log L_ii. Over a standard normal, L is
    the Cholesky factor of the covariance of x, so one layer reaches every Gaussian. Starts as the identity.

    Args:
        dim: number of coordinates D.
        lower: whether L is lower or upper triangular.
        min_diagonal: floor of the diagonal, in (0, 1).

    Leaves (unconstrained): `factor` (D, D), of which one triangle is used; `diagonal` (D,); `bias` (D,).

    Cost: O(D^2) in both directions (a product, or a triangular solve); log-determinant O(D).

    Raises:
        ValueError: if dim or min_diagonal is out of range.

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021, section 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Triangular
        >>> x, log_det = Triangular(3).forward_and_log_det(jnp.ones(3))
        >>> print(x.round(3), f"{abs(log_det):.2f}")
        [1. 1. 1.] 0.00
    """

    factor: Float[Array, "..."]
    diagonal: Float[Array, "..."]
    bias: Float[Array, "..."]
    lower: bool = eqx.field(static=True)
    min_diagonal: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, lower: bool = True, min_diagonal: float = 1e-3) -> None:
        check_dim(dim)
        self.factor, self.diagonal, self.bias = zeros((dim, dim)), zeros(dim), zeros(dim)
        self.lower, self.min_diagonal = bool(lower), float(min_diagonal)
        self.shape, self.context_shape = (dim,), None

    def __check_init__(self) -> None:
        check_min_diagonal(self.min_diagonal)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        return self._off_diagonal() @ z + diagonal * z + self.bias, jnp.sum(jnp.log(diagonal))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        matrix = self._off_diagonal() + jnp.diag(diagonal)
        return substitute(matrix, x - self.bias, lower=self.lower), -jnp.sum(jnp.log(diagonal))

    def _off_diagonal(self) -> Array:
        return jnp.tril(self.factor, -1) if self.lower else jnp.triu(self.factor, 1)
