"""Between numbers as they come and the rows of a distribution's program: centred in float64, cast, checked.

Where a distribution lies far from zero, its centre is subtracted from rows before they take the type in which it
computes, and added to samples likewise: in float32 the difference of 5,400,012.3 and 5,400,000 is 12.5.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import DataError
from pushforward.numerics.programs import CompiledModule, compiled_module, is_on_device, is_traced, once_for_each


class Boundary:
    """What a distribution's public methods need between numbers as they come and the rows of its program.

    Attributes:
        inner: the distribution about its centres, which the program is of; None where it is the distribution itself.
        program: `CompiledModule`.
        centre, context_centre: what is subtracted from events and contexts, float64, or None.
    """

    def __init__(self, distribution: Any) -> None:
        self.inner, self.centre, self.context_centre = None, None, None
        if not is_traced(*jax.tree.leaves(distribution)):
            inner, self.centre = distribution.centred()
            inner, self.context_centre = inner.context_centred()
            self.inner = None if inner is distribution else inner
        self.program: CompiledModule = compiled_module(distribution if self.inner is None else self.inner)
        self.is_traced, self.arrays, self.dtype = self.program.is_traced, self.program.arrays, self.program.dtype

    def events(self, distribution: Any, x: Any, lead: tuple[int, ...]) -> np.ndarray | Array:
        """Checked rows (n, *shape) about the centre, in the program's type."""
        rows: Any = _rows(x, lead, distribution.shape, self.dtype, self.centre)
        _check_finite("x", rows, x)
        distribution.check_samples("x", rows if self.centre is None else _wide(x, lead, distribution.shape))
        return rows

    def contexts(self, distribution: Any, context: Any, lead: tuple[int, ...]) -> np.ndarray | Array | None:
        """Checked contexts (n, *context_shape), likewise."""
        rows = _rows(context, lead, distribution.context_shape, self.dtype, self.context_centre)
        _check_finite("context", rows, context)
        return rows

    def in_place(self, parts: tuple[Any, ...]) -> tuple[Any, ...]:
        """What was drawn, the samples, which come first, moved to the centre: in float64 where JAX has it switched on,
        for a centre far from zero leaves few digits to float32."""
        if self.centre is None:
            return parts
        dtype = np.float64 if jax.enable_x64.value else parts[0].dtype
        return ((np.asarray(parts[0], np.float64) + self.centre).astype(dtype), *parts[1:])


@once_for_each
def boundary(distribution: Any) -> Boundary:
    """The `Boundary` of a distribution, made once for each."""
    return Boundary(distribution)


def _rows(
    value: Any, lead: tuple[int, ...], event: tuple[int, ...] | None, dtype: np.dtype, centre: np.ndarray | None
) -> np.ndarray | Array | None:
    """One row for each of `lead` in the given type, with NumPy; or the very array, where it lies on an accelerator.

    A centre is subtracted in float64 before the type is taken.
    """
    if value is None or event is None:
        return None
    if centre is not None:
        value = np.asarray(value, np.float64) - centre
    if value.dtype == dtype and value.shape == (math.prod(lead), *event):  # the common case, at no cost
        return value if is_on_device(value, len(value), math.prod(event)) else np.asarray(value)
    with np.errstate(over="ignore"):  # a number beyond the type becomes infinite, and is then refused
        rows = np.asarray(value, dtype)
    return np.broadcast_to(rows, (*lead, *event)).reshape(math.prod(lead), *event)


def _wide(value: Any, lead: tuple[int, ...], event: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, np.float64), (*lead, *event)).reshape(math.prod(lead), *event)


def _check_finite(name: str, rows: np.ndarray | Array | None, given: Any) -> None:
    """Refuse rows with NaN or infinite values; `given` is what they were before they took the flow's type."""
    if rows is None or (np if isinstance(rows, np.ndarray) else jnp).isfinite(rows).all():
        return
    rows, given = np.asarray(rows), np.asarray(given, np.float64)
    flat = rows.reshape(len(rows), -1)
    bad = ~np.isfinite(flat)
    row, column = np.argwhere(bad)[0]
    beyond = given[np.isfinite(given) & (np.abs(given) > float(jnp.finfo(rows.dtype).max))]
    if beyond.size and np.isfinite(given).all():
        raise DataError(
            f"{name}: {beyond[0]} at row {row}, column {column} is beyond the range of {rows.dtype}, in which this "
            "flow computes. Rescale the data, or use a float64 flow under jax.enable_x64(True)."
        )
    raise DataError(
        f"{name}: expected finite numbers, got {flat[row, column]} at row {row}, column {column} "
        f"({int(bad.any(1).sum())} of {len(rows)} rows hold NaN or infinite values). Remove or fill them first."
    )
