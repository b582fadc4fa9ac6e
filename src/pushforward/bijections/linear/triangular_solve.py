"""Triangular solves of one vector; a batch with one matrix becomes a matrix product.

XLA cannot fuse a triangular solve; for the pixels of a batch, in the loop over the layers of Glow, it took longer than
the networks. For at least as many vectors as rows, inverting the triangle once costs no more than solving, and the rest
is a matrix product.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from pushforward.numerics.flat_product import flat_product
from pushforward.numerics.trailing_batch import BatchRule, bind_rule


def substitute(
    matrix: Float[Array, "D D"], right: Float[Array, "D"], *, lower: bool, unit_diagonal: bool = False
) -> Float[Array, "D"]:
    """The x with T x = right, T the lower or upper triangle of `matrix`, with ones on its diagonal if `unit_diagonal`.

    Cost: O(D^2) for one vector; in a batch of at least D of them one inversion, O(D^3), and a product.
    """
    return bind_rule(_Rule(lower, unit_diagonal, right), matrix, right)[0]


class _Rule(BatchRule):
    """The solve of one vector, and of a batch with one matrix."""

    def __init__(self, lower: bool, unit_diagonal: bool, right: Any) -> None:
        self.lower, self.unit_diagonal = lower, unit_diagonal
        self.avals = [jax.core.ShapedArray(right.shape, right.dtype)]

    def __call__(self, *leaves: Any) -> list[Array]:
        matrix, right = leaves
        return [solve_triangular(matrix, right, lower=self.lower, unit_diagonal=self.unit_diagonal)]

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        matrix, right = args
        if axes[0] is not None or right.shape[axes[1]] < len(matrix):
            return jax.vmap(self, tuple(axes))(matrix, right), [0]
        eye = jnp.eye(len(matrix), dtype=matrix.dtype)
        inverse = solve_triangular(matrix, eye, lower=self.lower, unit_diagonal=self.unit_diagonal)
        return [flat_product(jnp.moveaxis(right, axes[1], 0), inverse.T)], [0]
