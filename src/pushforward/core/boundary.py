"""Conversion of user arrays to the batches of a distribution's program: centred in float64, cast and checked.

If the data lie far from zero, their centre is subtracted before the cast to the distribution's dtype, and added to
samples afterwards: in float32 the difference of 5,400,012.3 and 5,400,000 is 12.5.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import DataError
from pushforward.numerics.batches import is_on_accelerator
from pushforward.numerics.programs import CompiledModule, cached_per_module, compiled_module, is_traced


class Boundary:
    """The conversion of one distribution: its centres, its dtype and its compiled program.

    Attributes:
        inner: the centred distribution, which the program computes; None if the distribution needs no centring.
        program: `CompiledModule`.
        shape, context_shape, event_size: those of the distribution. Equinox looks up an attribute in a microsecond.
        centre, context_centre: float64 arrays that are subtracted from events and contexts, or None.
    """

    def __init__(self, distribution: Any) -> None:
        self.inner, self.centre, self.context_centre = None, None, None
        if not is_traced(*jax.tree.leaves(distribution)):
            inner, self.centre = distribution.centred()
            inner, self.context_centre = inner.context_centred()
            self.inner = None if inner is distribution else inner
        self.program: CompiledModule = compiled_module(distribution if self.inner is None else self.inner)
        self.is_traced, self.arrays, self.dtype = self.program.is_traced, self.program.arrays, self.program.dtype
        self.shape, self.context_shape = distribution.shape, distribution.context_shape
        self.event_size = math.prod(self.shape)

    def events(self, x: Any, lead: tuple[int, ...]) -> np.ndarray | Array:
        """A batch (n, *shape), centred, in the program's dtype. Entries that are not finite are found by `refuse`."""
        batch: Any = _batch(x, lead, self.shape, self.dtype, self.centre)
        return batch

    def contexts(self, context: Any, lead: tuple[int, ...]) -> np.ndarray | Array | None:
        """A batch of contexts (n, *context_shape), centred, in the program's dtype; likewise."""
        return _batch(context, lead, self.context_shape, self.dtype, self.context_centre)

    def refuse(self, inputs: list[Any], x: Any, context: Any) -> None:
        """Raise an error for entries of the two batches that are not finite; x, context: those before the cast."""
        for name, batch, value in zip(("x", "context"), inputs, (x, context), strict=True):
            _check_finite(name, batch, value)

    def uncentred(self, batch: Any, x: Any, lead: tuple[int, ...], event: tuple[int, ...]) -> np.ndarray | Array:
        """The batch of `events` without centring, in float64 if there is a centre."""
        if self.centre is None:
            return batch
        return np.broadcast_to(np.asarray(x, np.float64), (*lead, *event)).reshape(math.prod(lead), *event)

    def uncentre(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the centre to samples, the first of the outputs.

        The result is float64 where JAX has it enabled: a centre far from zero leaves few digits to float32.
        """
        if self.centre is None:
            return outputs
        dtype = np.float64 if jax.enable_x64.value else outputs[0].dtype
        if is_on_accelerator(outputs[0]):
            high, low = _two_parts(self.centre, outputs[0].ndim, dtype)
            return ((outputs[0].astype(dtype) + low) + high, *outputs[1:])
        return ((np.asarray(outputs[0], np.float64) + self.centre).astype(dtype), *outputs[1:])


@cached_per_module
def boundary_of(distribution: Any) -> Boundary:
    """The `Boundary` of a distribution, cached."""
    return Boundary(distribution)


def _batch(
    value: Any, lead: tuple[int, ...], event: tuple[int, ...] | None, dtype: np.dtype, centre: np.ndarray | None
) -> np.ndarray | Array | None:
    """The value broadcast to (prod(lead), *event) in `dtype`: in NumPy, unless it fits already or is on an accelerator.

    The centre is subtracted in float64 before the cast.
    """
    if value is None or event is None:
        return None
    shape = math.prod(lead), *event
    if centre is None and value.dtype == dtype and value.shape == shape and not _compiles_again(value):
        return value  # the common case, at no cost
    xp: Any = jnp if is_on_accelerator(value) else np
    if centre is not None:
        if xp is jnp:
            high, low = _two_parts(centre, value.ndim, value.dtype)
            value = (value - high) - low
        else:
            value = np.asarray(value, np.float64) - centre
    with np.errstate(over="ignore"):  # numbers beyond the dtype become infinite, and are then refused
        batch = xp.asarray(value, dtype)
    return xp.broadcast_to(batch, (*lead, *event)).reshape(shape)


def _compiles_again(value: Any) -> bool:
    """Whether `jax.jit` would compile again for this array: if it is weakly typed, or bound to the CPU in use anyway.

    An array that is bound to another device is computed there.
    """
    if not isinstance(value, jax.Array):
        return False
    if value.weak_type or not value.committed or is_on_accelerator(value):
        return value.weak_type
    default = jax.config.jax_default_device or jax.devices()[0]  # ty: ignore[missing-attribute]
    return value.devices() == {default} or len(value.devices()) > 1


def _two_parts(centre: np.ndarray, ndim: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """A float64 array as a sum of two arrays of an accelerator's dtype, so that none of its digits is lost there."""
    centre = centre.reshape((1,) * (ndim - centre.ndim) + centre.shape)
    high = centre.astype(dtype)
    return high, (centre - high.astype(np.float64)).astype(dtype)


def _check_finite(name: str, batch: np.ndarray | Array | None, value: Any) -> None:
    """Refuse NaN or infinite entries in a batch; `value` is the array before the cast to the flow's dtype."""
    if batch is None or np.isfinite(batch).all():
        return
    batch, value = np.asarray(batch), np.asarray(value, np.float64)
    flat = batch.reshape(len(batch), -1)
    bad = ~np.isfinite(flat)
    row, column = np.argwhere(bad)[0]
    beyond = value[np.isfinite(value) & (np.abs(value) > float(jnp.finfo(batch.dtype).max))]
    if beyond.size and np.isfinite(value).all():
        raise DataError(
            f"{beyond[0]} at row {row}, column {column} is beyond the range of {batch.dtype}, in which this "
            "flow computes. Rescale the data, or use a float64 flow under jax.enable_x64(True).",
            name,
        )
    raise DataError(
        f"expected finite numbers, got {flat[row, column]} at row {row}, column {column} "
        f"({int(bad.any(1).sum())} of {len(batch)} rows hold NaN or infinite values). Remove or fill them first.",
        name,
    )
