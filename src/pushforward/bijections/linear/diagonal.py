"""The diagonal layer, and positive diagonals of linear layers."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import zeros
from pushforward.numerics.elementary import inverse_softplus


def positive(raw: Float[Array, "*shape"], minimum: float) -> Float[Array, "*shape"]:
    """softplus(raw + offset) + minimum: one at raw = 0, above `minimum`, without an upper bound."""
    return jax.nn.softplus(raw + inverse_softplus(1.0 - minimum)) + minimum


def check_min_diagonal(minimum: float) -> float:
    """Raise unless the floor of a diagonal is in (0, 1)."""
    if not 0 < minimum < 1:
        raise ValueError(
            f"min_diagonal: expected a floor in (0, 1), got {minimum}: without it the matrix could become singular."
        )
    return float(minimum)


def check_dim(dim: int) -> None:
    """Raise unless the number of coordinates is positive."""
    if dim < 1:
        raise ShapeError(f"dim: expected at least 1, got {dim}.")


class Diagonal(AbstractBijection):
    """Diagonal linear layer: x_i = d_i z_i + bias_i, d = softplus(diagonal + offset) + min_diagonal.

    log|det| = sum_i log d_i. Starts as the identity.

    Args:
        dim: number of coordinates D.
        min_diagonal: floor of the d_i, in (0, 1).

    Leaves (unconstrained): `diagonal` (D,), `bias` (D,).

    Cost: O(D) in both directions, log-determinant O(D).

    Raises:
        ValueError: if dim or min_diagonal is out of range.

    Reference: Kobyzev, Prince & Brubaker 2021, section 3.2.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Diagonal
        >>> print(Diagonal(2).forward(jnp.array([1.0, -2.0])).round(3))
        [ 1. -2.]
    """

    diagonal: Float[Array, "..."]
    bias: Float[Array, "..."]
    min_diagonal: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, *, min_diagonal: float = 1e-3) -> None:
        check_dim(dim)
        self.diagonal, self.bias = zeros(dim), zeros(dim)
        self.min_diagonal, self.shape, self.context_shape = float(min_diagonal), (dim,), None

    def __check_init__(self) -> None:
        check_min_diagonal(self.min_diagonal)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        return diagonal * z + self.bias, jnp.sum(jnp.log(diagonal))

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        diagonal = positive(self.diagonal, self.min_diagonal)
        return (x - self.bias) / diagonal, -jnp.sum(jnp.log(diagonal))
