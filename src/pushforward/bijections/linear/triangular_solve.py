"""Triangular systems of one vector, which a batch of them with one matrix turns into a product.

A triangular solve is a call that nothing fuses with; for the pixels of a batch, in the loop over the layers of Glow, it
took longer than the networks. As soon as there are as many vectors as rows, inverting the triangle once is no more work
than solving for them, and the rest is a matrix product.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from pushforward.numerics.trailing_batch import BatchRule, bind_rule


def substitute(
    matrix: Float[Array, "D D"], right: Float[Array, "D"], *, lower: bool, unit_diagonal: bool = False
) -> Float[Array, "D"]:
    """The x with T x = right, T the lower or upper triangle of `matrix`, with ones on its diagonal if so told.

    Cost: O(D^2) for one vector; in a batch of at least D of them one inversion, O(D^3), and a product.
    """
    return bind_rule(_Rule(lower, unit_diagonal, right), matrix, right)[0]


class _Rule(BatchRule):
    """The system of one vector, and of many with the same matrix."""

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
        return [jnp.moveaxis(right, axes[1], 0) @ inverse.T], [0]
