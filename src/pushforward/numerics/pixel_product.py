"""The product of every pixel's channels with one matrix, as one product of two matrices whatever axes are mapped."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.numerics.trailing_batch import BatchRule, bind_rule


def pixel_product(image: Array, matrix: Array) -> Float[Array, "... out"]:
    """`image @ matrix`, of shapes (..., in) and (in, out), with all leading axes in one.

    Under `jax.vmap` a plain product keeps its axes apart. In the gradient of the matrix it then sums over several axes,
    for which XLA transposes both arrays first, and on a CPU multiplies them in one thread.

    >>> print(pixel_product(jnp.ones((2, 3, 2)), jnp.eye(2)).shape)
    (2, 3, 2)
    """
    rule = _PixelProduct(image, matrix)
    return bind_rule(rule, image, matrix)[0]


class _PixelProduct(BatchRule):
    def __init__(self, image: Any, matrix: Any) -> None:
        dtype = jnp.result_type(image, matrix)
        self.avals = [jax.core.ShapedArray((*image.shape[:-1], matrix.shape[1]), dtype)]

    def __call__(self, image: Array, matrix: Array) -> list[Array]:
        flat = image.reshape(math.prod(image.shape[:-1]), image.shape[-1])
        return [(flat @ matrix).reshape(*image.shape[:-1], matrix.shape[1])]

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        image, matrix = args
        if axes[1] is not None:
            return jax.vmap(self, axes)(image, matrix), [0]
        return [pixel_product(jnp.moveaxis(image, axes[0], 0), matrix)], [0]
