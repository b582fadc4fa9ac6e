"""A dense linear layer by its LU factors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim, check_min_diagonal, positive
from pushforward.bijections.linear.triangular_solve import substitute
from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import zeros
from pushforward.numerics.flat_product import flat_product


class PLU(AbstractBijection):
    """Linear layer in LU form with a fixed permutation: x = P L U z + bias.

    L is unit lower triangular, U upper triangular with diagonal softplus(d + offset) + min_diagonal, so the matrix
    cannot become singular; log|det| = sum_i log U_ii. Starts as the permutation.

    Args:
        dim: number of coordinates D.
        key: for the permutation; None for the identity.
        min_diagonal: floor of the diagonal of U, in (0, 1).

    Leaves (unconstrained): `factors` (D, D): L below, U above the diagonal; `diagonal` (D,); `bias` (D,).

    Cost: O(D^2) in both directions (two triangular products, or two triangular solves, which for a batch of at
        least D vectors become products with the inverted triangles); log-determinant O(D).

    Raises:
        ValueError: if dim or min_diagonal is out of range.

    Reference: Kingma & Dhariwal 2018 (Glow), section 3.2; Oliva et al. 2018. Softplus with a floor is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import PLU
        >>> x, log_det = PLU(3).forward_and_log_det(jnp.ones(3))
        >>> print(x.round(3), f"{abs(log_det):.2f}")
        [1. 1. 1.] 0.00
    """

    factors: Float[Array, "..."]
    diagonal: Float[Array, "..."]
    bias: Float[Array, "..."]
    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    min_diagonal: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, key: PRNGKeyArray | None = None, min_diagonal: float = 1e-3) -> None:
        check_dim(dim)
        order = jnp.arange(dim) if key is None else jax.random.permutation(key, dim)
        self.order, self.inverse_order = order.astype(jnp.int32), jnp.argsort(order).astype(jnp.int32)
        self.factors, self.diagonal, self.bias = zeros((dim, dim)), zeros(dim), zeros(dim)
        self.min_diagonal, self.shape, self.context_shape = float(min_diagonal), (dim,), None

    def __check_init__(self) -> None:
        check_min_diagonal(self.min_diagonal)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        upper = diagonal * z + flat_product(z, jnp.triu(self.factors, 1).T)
        lower = upper + flat_product(upper, jnp.tril(self.factors, -1).T)
        return lower[self.order] + self.bias, jnp.sum(jnp.log(diagonal))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        lower = (x - self.bias)[self.inverse_order]
        upper = substitute(self.factors, lower, lower=True, unit_diagonal=True)
        matrix = jnp.triu(self.factors, 1) + jnp.diag(diagonal)
        return substitute(matrix, upper, lower=False), -jnp.sum(jnp.log(diagonal))
