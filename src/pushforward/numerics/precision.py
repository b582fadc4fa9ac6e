"""Full-precision matrix products on accelerators.

By default a GPU or TPU multiplies float32 matrices in lower precision (TensorFloat-32: an error of 3e-4 of the largest
entry, where float32 has 3e-7). The two directions of a flow are then no longer inverse to each other, and a
log-determinant is that of another map. So the library computes all products in full precision, unless the user has
chosen a precision.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_full_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function with its products and convolutions at JAX's precision "highest".

    `jax.default_matmul_precision(...)` set by the caller, as a context or in the configuration, has priority. Functions
    that are traced later (the backward rule of a `custom_vjp`, a batching rule) run outside the caller's context and
    must be decorated themselves. On a CPU nothing changes.
    """

    @functools.wraps(function)
    def precise(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if jax.config.jax_default_matmul_precision is not None:  # ty: ignore[missing-attribute]
            return function(*args, **kwargs)
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return precise
