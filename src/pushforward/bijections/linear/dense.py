"""The unconstrained dense matrix, the reference for cheaper parametrisations."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import zeros


class Dense(AbstractBijection):
    """Dense linear layer: x = (I + W) z + bias; log|det| by LU factorisation.

    Only the likelihood, which tends to -inf at a singular matrix, keeps I + W regular. `PLU`, `Triangular` or a product
    with `Householder` cannot become singular and cost less. Starts as the identity.

    Args:
        dim: number of coordinates D.

    Leaves (unconstrained): `weight` (D, D), `bias` (D,).

    Cost: O(D^2) forward and O(D^2) inverse, after O(D^3) once a batch for the log-determinant and the factorisation.

    Raises:
        ValueError: if dim is not positive.

    Reference: Kobyzev, Prince & Brubaker 2021, section 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Dense
        >>> print(Dense(2).forward(jnp.array([1.0, 2.0])))
        [1. 2.]
    """

    weight: Float[Array, "..."]
    bias: Float[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        self.weight, self.bias = zeros((dim, dim)), zeros(dim)
        self.shape, self.context_shape = (dim,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return z + self.weight @ z + self.bias, jnp.linalg.slogdet(self._matrix())[1]

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        matrix = self._matrix()
        return jnp.linalg.solve(matrix, x - self.bias), -jnp.linalg.slogdet(matrix)[1]

    def _matrix(self) -> Array:
        return jnp.eye(self.weight.shape[0], dtype=self.weight.dtype) + self.weight
