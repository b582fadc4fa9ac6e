"""Vectors times one matrix, as one product of two matrices whatever axes are mapped."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from pushforward.numerics.precision import in_full_precision


def flat_product(vectors: Array, matrix: Array) -> Float[Array, "... out"]:
    """`vectors @ matrix`, of shapes (..., in) and (in, out), with all leading axes in one.

    Under `jax.vmap` a plain product keeps its axes apart. In the gradient of the matrix it then sums over several axes,
    for which XLA transposes both arrays first, and on a CPU multiplies them in one thread.

    >>> print(flat_product(jnp.ones((2, 3, 2)), jnp.eye(2)).shape)
    (2, 3, 2)
    """
    dtype = jnp.result_type(vectors, matrix)
    return _bind(vectors.astype(dtype), matrix.astype(dtype))


def _rows(vectors: Array) -> Array:
    return vectors.reshape(math.prod(vectors.shape[:-1]), vectors.shape[-1])


@in_full_precision
def _bind(vectors: Array, matrix: Array) -> Array:
    # Read here, where it is never None: the rules below are called when the caller's context is over.
    return _flat_product.bind(vectors, matrix, precision=jax.config.jax_default_matmul_precision)  # ty: ignore[missing-attribute]


def _multiply(vectors: Array, matrix: Array, *, precision: Any) -> Array:
    return jnp.matmul(_rows(vectors), matrix, precision=precision).reshape(*vectors.shape[:-1], matrix.shape[1])


def _shape(vectors: Any, matrix: Any, *, precision: Any) -> Any:
    return vectors.update(shape=(*vectors.shape[:-1], matrix.shape[1]))


def _batch(args: Any, axes: Any, *, precision: Any) -> tuple[Array, int]:
    vectors, matrix = args
    if axes[1] is not None:
        return jax.vmap(functools.partial(_multiply, precision=precision), axes)(vectors, matrix), 0
    return _flat_product.bind(jnp.moveaxis(vectors, axes[0], 0), matrix, precision=precision), 0


def _vectors_cotangent(cotangent: Array, vectors: Any, matrix: Array, *, precision: Any) -> Array:
    return _flat_product.bind(cotangent, matrix.T, precision=precision)


def _matrix_cotangent(cotangent: Array, vectors: Array, matrix: Any, *, precision: Any) -> Array:
    return jnp.matmul(_rows(vectors).T, _rows(cotangent), precision=precision)


_flat_product = Primitive("flat_product")
_flat_product.def_impl(_multiply)
_flat_product.def_abstract_eval(_shape)
batching.primitive_batchers[_flat_product] = _batch
ad.defbilinear(_flat_product, _vectors_cotangent, _matrix_cotangent)
mlir.register_lowering(_flat_product, mlir.lower_fun(_multiply, multiple_results=False))
