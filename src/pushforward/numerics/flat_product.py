"""Vectors times one matrix, as one product of two matrices whatever axes are mapped."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.numerics.trailing_batch import BatchRule, bind_rule


def flat_product(vectors: Array, matrix: Array) -> Float[Array, "... out"]:
    """`vectors @ matrix`, of shapes (..., in) and (in, out), with all leading axes in one.

    Under `jax.vmap` a plain product keeps its axes apart. In the gradient of the matrix it then sums over several axes,
    for which XLA transposes both arrays first, and on a CPU multiplies them in one thread.

    >>> print(flat_product(jnp.ones((2, 3, 2)), jnp.eye(2)).shape)
    (2, 3, 2)
    """
    return bind_rule(_FlatProduct(vectors, matrix), vectors, matrix)[0]


class _FlatProduct(BatchRule):
    def __init__(self, vectors: Any, matrix: Any) -> None:
        dtype = jnp.result_type(vectors, matrix)
        self.avals = [jax.core.ShapedArray((*vectors.shape[:-1], matrix.shape[1]), dtype)]

    def __call__(self, vectors: Array, matrix: Array) -> list[Array]:
        flat = vectors.reshape(math.prod(vectors.shape[:-1]), vectors.shape[-1])
        return [(flat @ matrix).reshape(*vectors.shape[:-1], matrix.shape[1])]

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        vectors, matrix = args
        if axes[1] is not None:
            return jax.vmap(self, axes)(vectors, matrix), [0]
        return [flat_product(jnp.moveaxis(vectors, axes[0], 0), matrix)], [0]
