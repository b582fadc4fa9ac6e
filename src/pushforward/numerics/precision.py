"""Products of matrices at the precision of their numbers, on accelerators too.

A GPU or TPU multiplies float32 matrices in fewer bits unless told otherwise (TensorFloat-32: an error of 3e-4 of the
largest entry, where float32 itself has 3e-7). A flow's two directions are then no longer inverse to each other, and a
log-determinant is that of another map. So whatever the library multiplies is multiplied in full, unless the user has
said otherwise.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_full_precision(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The same function, its products and convolutions at JAX's precision "highest".

    A caller's own `jax.default_matmul_precision(...)`, as a context or in the configuration, is left in force. What is
    traced late (the backward rule of a `custom_vjp`, a batching rule) is outside of its caller's context and is
    decorated itself. On a CPU nothing changes.
    """

    @functools.wraps(function)
    def precise(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        if jax.config.jax_default_matmul_precision is not None:  # ty: ignore[missing-attribute]
            return function(*args, **kwargs)
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return precise
