"""Numbers given to a base distribution: checked and spread over the event on the host, in JAX's default float type."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from pushforward.errors import ShapeError


def event_shape(shape: Any) -> tuple[int, ...]:
    """An event shape; a bare number is refused with the tuple that was meant."""
    if not isinstance(shape, tuple) or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
        meant = f"({shape},)" if isinstance(shape, int) and shape > 0 else "(2,)"
        raise ShapeError(f"shape: expected a tuple of positive sizes such as {meant}, got {shape!r}.")
    return tuple(int(n) for n in shape)


def spread(name: str, value: Any, shape: tuple[int, ...], *, may_be_infinite: bool = False) -> np.ndarray:
    """A number or an array as an array of the event shape, in the type in which the base will hold it."""
    with np.errstate(over="ignore"):  # what overflows the type is refused below, or is an infinite bound
        array = np.asarray(value).astype(jnp.result_type(float))
    if np.isnan(array).any() or not (may_be_infinite or np.isfinite(array).all()):
        kind = "numbers, or inf," if may_be_infinite else f"finite numbers of {array.dtype}"
        raise ValueError(f"{name}: expected {kind} for the event of shape {shape}, got {value}.")
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ShapeError(f"{name}: expected a number or an array of shape {shape}, got {array.shape}.") from error


def spread_positive(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Like `spread`, for numbers that must be positive."""
    array = spread(name, value, shape)
    if not (array > 0).all():
        raise ValueError(f"{name}: expected positive numbers, got {value}.")
    return array
