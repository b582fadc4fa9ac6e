"""Permutations: fixed mixing of coordinates."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device


class Permutation(AbstractBijection):
    """Permutation of the coordinates of a vector: x_i = z_{order[i]}.

    Args:
        order: a permutation of 0..D-1.

    Cost: O(D) in both directions; log-determinant 0.

    Raises:
        ShapeError: if `order` is not a permutation.

    Reference: Dinh, Krueger & Bengio 2015, section 3.2 (exchanging the roles of the parts).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Permutation
        >>> print(Permutation([2, 0, 1]).forward(jnp.array([10.0, 20.0, 30.0])))
        [30. 10. 20.]
    """

    order: Int[Array, "..."]
    inverse_order: Int[Array, "..."]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, order: Sequence[int] | np.ndarray | Array) -> None:
        order = np.asarray(order)
        if order.ndim != 1 or sorted(order.tolist()) != list(range(order.size)) or order.size == 0:
            raise ShapeError(f"order: expected a permutation of 0..D-1, got {order.tolist()}.")
        self.order, self.inverse_order = on_device(order, jnp.int32), on_device(np.argsort(order), jnp.int32)
        self.shape, self.context_shape = (order.size,), None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return z[self.order], jnp.zeros((), z.dtype)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return x[self.inverse_order], jnp.zeros((), x.dtype)
