"""Helpers for arrays of JAX and NumPy: type tests, transfer to a device, hashing, substituted gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from pushforward.numerics.trailing_batch import custom_jvp


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX or of NumPy (standardisation is stored in NumPy float64)."""
    return isinstance(leaf, jax.Array | np.ndarray)


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is an array of floating-point numbers."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def on_device(array: Any, dtype: Any = None) -> Array:
    """A copy of a host array on the device, optionally cast, without compilation.

    `jnp.asarray` compiles a program for every shape and dtype, and never releases it.

    >>> on_device(np.arange(3), jnp.int32)
    Array([0, 1, 2], dtype=int32)
    """
    return jax.device_put(np.asarray(array, dtype), may_alias=False)


def zeros(shape: tuple[int, ...] | int) -> Float[Array, "..."]:
    """Zeros in JAX's default float type, made on the host: eager JAX would compile a program for every shape."""
    return on_device(np.zeros(shape, jnp.result_type(float)))


def scalar(value: float) -> Float[Array, ""]:
    """A number in JAX's default float type, not weakly typed, so that a saved and loaded leaf is equal."""
    return on_device(value, jnp.result_type(float))


def bits_of(x: Array) -> UInt32[Array, ""]:
    """A hash of all bits of an array, used as a seed for random numbers that depend on the array."""
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x) + 0.0, jnp.uint32).reshape(-1)
    odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
    return jnp.sum((bits ^ (bits >> 15)) * odd * np.uint32(0x9E3779B1), dtype=jnp.uint32)


@custom_jvp
def with_gradient_of(value: Array, other: Array) -> Array:
    """`value` with the derivative of `other`; without differentiation, `other` is not computed."""
    return value


@with_gradient_of.defjvp
def _tangent_of_other(values: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return values[0], tangents[1]


def arrays_are_traced() -> bool:
    """Whether new arrays are tracers: inside a caller's `jax.jit`, even if all arguments of a call are concrete."""
    return isinstance(jax.device_put(np.zeros((), np.int32)), jax.core.Tracer)
