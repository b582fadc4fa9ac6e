"""Arguments of public functions: shapes of events and contexts, numbers of samples, paths."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.core.named_rows import as_floats, to_array
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.arrays import is_inexact

Count = int | np.integer | tuple[int | np.integer, ...]


def check_event(x: Any, event: tuple[int, ...]) -> Any:
    """The samples x as an array of shape (..., *event), or a clear error."""
    x = as_array(x, "x")
    if x.ndim < len(event) or x.shape[x.ndim - len(event) :] != event:
        hint = ""
        if event == (1,) and x.ndim == 1:
            hint = " One-dimensional data have shape (n, 1): pass np.asarray(x)[:, None]."
        raise ShapeError(f"x: expected shape (..., {_comma(event)}), got {x.shape}.{hint}")
    return x


def check_context(context: Any, event: tuple[int, ...] | None) -> Any:
    """The context as an array of shape (..., *event), None for an unconditional distribution, or a clear error."""
    if event is None:
        if context is not None:
            raise ShapeError(
                f"context: this distribution is unconditional, got a context of shape {np.shape(context)}. Leave "
                "it out, or build the flow with context_dim=."
            )
        return None
    if context is None:
        raise ShapeError(
            f"context: this distribution is conditional and needs a context of shape (..., {_comma(event)}). Pass "
            "context=."
        )
    context = as_array(context, "context")
    if context.ndim < len(event) or context.shape[context.ndim - len(event) :] != event:
        raise ShapeError(f"context: expected shape (..., {_comma(event)}), got {context.shape}.")
    return context


def as_shape(n: Count) -> tuple[int, ...]:
    """The leading axes of n samples."""
    shape = (n,) if isinstance(n, int | np.integer) and not isinstance(n, bool) else n
    if not isinstance(shape, tuple) or any(not isinstance(s, int | np.integer) or s < 0 for s in shape):
        raise ValueError(f"n: expected a number of samples (0 or more) or a tuple of such numbers, got {n!r}.")
    return tuple(int(s) for s in shape)


def as_array(value: Any, name: str) -> Any:
    """Concrete input as an array of floats: frames and tensors by `to_array`; tracers as they are."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and is_inexact(value)):
        return value
    if not isinstance(value, jax.Array):
        value = to_array(value, name)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"expected an array of numbers, got rows of unequal length ({error}).", name) from None
    if jnp.issubdtype(array.dtype, jnp.floating):  # includes bfloat16, which NumPy does not know
        return array
    if array.dtype.kind not in "iub":
        raise DataError(f"expected real numbers, got an array of type {array.dtype}. Convert it first.", name)
    return as_floats(name, array)


def as_path(path: Any, name: str = "path") -> Path:
    """A path of a file or folder, or a clear error.

    >>> as_path(3)
    Traceback (most recent call last):
        ...
    TypeError: path: expected the path of a file or folder, got int.
    """
    if isinstance(path, str | os.PathLike):
        return Path(path)
    raise TypeError(f"{name}: expected the path of a file or folder, got {type(path).__name__}.")


def leading_axes(value: Any, event: tuple[int, ...] | None) -> tuple[int, ...]:
    """The axes of samples or contexts before those of one of them."""
    return () if value is None or event is None else value.shape[: value.ndim - len(event)]


def broadcast_axes(x: tuple[int, ...], context: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes of a result, of those of the samples and of the contexts."""
    if context in ((), x):
        return x
    try:
        return np.broadcast_shapes(x, context)
    except ValueError:
        raise ShapeError(
            f"context: its leading axes {context} do not broadcast against those of x, {x}: pass one context, one "
            "context for each sample, or insert axes of size one (x[:, None])."
        ) from None


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "()"
