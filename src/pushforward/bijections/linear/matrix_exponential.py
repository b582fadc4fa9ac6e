"""The linear layer whose matrix is the exponential of a free matrix."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection
from pushforward.numerics.arrays import zeros


class MatrixExponential(AbstractBijection):
    """Linear layer with an exponential matrix: x = exp(A) z + bias, log|det| = trace(A).

    The inverse matrix is exp(-A), so no A is singular. Every matrix with a real logarithm is reached; its determinant
    is positive. Starts as the identity. The condition number can reach exp(2 |A|): at norms
    above 8 the round trip loses most digits of float32.

    Args:
        dim: number of coordinates D.

    Leaves (unconstrained): `weight` A (D, D), `bias` (D,).

    Cost: O(D^2) in both directions, after O(D^3) once a batch for the exponential (scaling and squaring); the
    log-determinant O(D). With a context O(D^3) for each sample.

    Raises:
        ValueError: if dim is not positive.

    Reference: Xiao & Liu 2020 (generative flows with matrix exponential), section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MatrixExponential
        >>> print(MatrixExponential(2).forward(jnp.array([1.0, 2.0])))
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
        return expm(self.weight) @ z + self.bias, jnp.trace(self.weight)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return expm(-self.weight) @ (x - self.bias), -jnp.trace(self.weight)
