"""Linear regression on the context: the fixed layer that makes a new conditional flow linear-Gaussian."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijections.linear.diagonal import check_dim
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import ShapeError


class LinearRegression(AbstractBijection):
    """Fixed shift that is linear in the context: x = z + A c, log|det| = 0; entries of c beyond a limit count as 0.

    The identity until it is filled. `fit` combines it with `Whiten` if a linear-Gaussian start has the better
    validation likelihood: with both, a new flow is N(mean + A c, L L^T). Arrays are in NumPy float64, whatever JAX's
    default.

    Args:
        dim: number of coordinates D.
        context_dim: length C of the context.
        limit: absolute value above which an entry of the context is invalid, such as a code for a missing value.

    Cost: O(C D) in both directions.

    Raises:
        ShapeError: if a size is not positive, or the coefficients have another shape.

    Reference: elementary.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import LinearRegression
        >>> layer = LinearRegression(2, 1).filled(np.array([[1.0], [3.0]]))
        >>> print(layer.forward(jnp.zeros(2), jnp.array([2.0])))
        [2. 6.]
    """

    coefficients: np.ndarray | Array = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    limit: float = eqx.field(static=True)

    def __init__(self, dim: int, context_dim: int, limit: float = math.inf) -> None:
        check_dim(dim)
        check_dim(context_dim)
        if not limit > 0:
            raise ValueError(f"limit: expected a positive number, got {limit}.")
        self.limit = float(limit)
        self.coefficients = np.zeros((dim, context_dim))
        self.shape, self.context_shape = (dim,), (context_dim,)

    def filled(self, coefficients: np.ndarray) -> "LinearRegression":
        """The layer with coefficients A (D, C)."""
        coefficients = np.asarray(coefficients, np.float64)
        if coefficients.shape != self.coefficients.shape:
            raise ShapeError(f"coefficients: expected shape {self.coefficients.shape}, got {coefficients.shape}.")
        if not np.isfinite(coefficients).all():
            raise ValueError("coefficients: expected finite numbers.")
        return eqx.tree_at(lambda layer: layer.coefficients, self, coefficients)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return z + self._shift(context), jnp.zeros((), z.dtype)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return x - self._shift(context), jnp.zeros((), x.dtype)

    def _shift(self, context: Any) -> Array:
        return jnp.asarray(self.coefficients, context.dtype) @ clip_context(context, self.limit)


def clip_context(context: Any, limit: float, xp: Any = jnp) -> Any:
    """The context with entries beyond a limit replaced by 0."""
    return xp.where(xp.abs(context) <= limit, context, 0.0)
