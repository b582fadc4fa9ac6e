"""Checks and broadcasting of the parameters of base distributions, on the host in JAX's default float dtype."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from pushforward.errors import ShapeError


def event_shape(shape: Any) -> tuple[int, ...]:
    """The event shape as a tuple of ints; for a bare number the error suggests the tuple."""
    if not isinstance(shape, tuple) or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
        example = f"({shape},)" if isinstance(shape, int) and shape > 0 else "(2,)"
        raise ShapeError(f"shape: expected a tuple of positive sizes such as {example}, got {shape!r}.")
    return tuple(int(n) for n in shape)


def broadcast(name: str, value: Any, shape: tuple[int, ...], *, may_be_infinite: bool = False) -> np.ndarray:
    """Broadcast a number or an array to the event shape, in the dtype of the base."""
    with np.errstate(over="ignore"):  # overflow of the dtype is refused below, or is an infinite bound
        array = np.asarray(value).astype(jnp.result_type(float))
    if np.isnan(array).any() or not (may_be_infinite or np.isfinite(array).all()):
        kind = "numbers, or inf," if may_be_infinite else f"finite numbers of {array.dtype}"
        raise ValueError(f"{name}: expected {kind} for the event of shape {shape}, got {value}.")
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ShapeError(f"{name}: expected a number or an array of shape {shape}, got {array.shape}.") from error


def broadcast_positive(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`broadcast` for numbers that must be positive."""
    array = broadcast(name, value, shape)
    if not (array > 0).all():
        raise ValueError(f"{name}: expected positive numbers, got {value}.")
    return array
