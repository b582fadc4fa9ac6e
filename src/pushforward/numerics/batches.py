"""Batches run through the compiled program of a module, padded to a few sizes and cut into chunks.

A program depends on the module's structure and on the event shape, not on the batch size: another batch size compiles
nothing new, and memory is bounded. What is on an accelerator stays there.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.numerics.programs import PROGRAMS, CompiledModule

_BATCH_SIZES = (1, 16, 32, 64, 128, 256, 512, 1024)
# Padding costs little compared to a kernel launch for small batches; from 1,024 on its cost is proportional.
_BATCH_SIZES_ACCELERATOR = (1, 16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
_MAX_ELEMENTS = 1 << 20


def is_on_accelerator(*values: Any) -> bool:
    """Whether any value is an array on an accelerator, from which nothing is copied to the host."""
    return jax.default_backend() != "cpu" and any(isinstance(value, jax.Array) for value in values)


@functools.cache
def _sizes(event_size: int, backend: str) -> list[int]:
    """The batch sizes for which programs are compiled, for events of this number of elements."""
    sizes = _BATCH_SIZES if backend == "cpu" else _BATCH_SIZES_ACCELERATOR
    limit = max(_MAX_ELEMENTS // max(event_size, 1), 1)
    return [s for s in sizes if s <= limit] or [1]


def run_batched(
    batched: Callable[..., tuple[Array, ...]],
    module: CompiledModule,
    inputs: list[Any],
    size: int,
    event_size: int,
    *shared: Any,
) -> tuple[Any, ...] | None:
    """The outputs of `run_checked`."""
    run = run_checked(batched, module, inputs, size, event_size, *shared)
    return None if run is None else run[0]


def run_checked(
    batched: Callable[..., tuple[Array, ...]],
    module: CompiledModule,
    inputs: list[Any],
    size: int,
    event_size: int,
    *shared: Any,
) -> tuple[tuple[Any, ...], bool, bool] | None:
    """`batched(module, *shared, *inputs)`, compiled and run in chunks that are padded to one of a few sizes.

    Args:
        batched: a function at module level, because it is part of the cache key of the program.
        module: from `compiled_module`.
        inputs: arrays (size, ...), NumPy or JAX, or None.
        size: batch size.
        event_size: number of elements of an event, which limits the size of a chunk.
        shared: further arrays, the same for all chunks.

    Returns:
        One array for each output of the program; whether an input holds NaN or infinite numbers; whether an output
        holds NaN. The program looks for both, so that the device is asked once. None under a caller's trace.
    """
    sizes = _sizes(event_size, jax.default_backend())
    program, parts, status = PROGRAMS.program(batched, module), [], []
    for start in range(0, max(size, 1), sizes[-1]):
        n = min(sizes[-1], size - start)
        padded = next(s for s in sizes if s >= n)
        chunk = [None if array is None else _pad(array, start, n, padded) for array in inputs]
        outputs, code = program(module.by_layer, chunk, shared)
        if isinstance(code, jax.core.Tracer):
            return None
        parts.append(outputs if n == padded else tuple(_first(part, n) for part in outputs))
        status.append(code)
    codes = [int(np.asarray(code)) for code in status] if size else []
    outputs = parts[0] if len(parts) == 1 else tuple(_join(pieces) for pieces in zip(*parts, strict=True))
    return outputs, any(code >= 2 for code in codes), any(code % 2 for code in codes)


def _first(part: Any, n: int) -> Any:
    """The first n rows: on the host, since JAX compiles a slice for each n, unless they are on an accelerator."""
    return part[:n] if is_on_accelerator(part) else np.asarray(part)[:n]


def _join(pieces: tuple[Any, ...]) -> Any:
    return (jnp if is_on_accelerator(*pieces) else np).concatenate(pieces)


def _pad(array: Any, start: int, n: int, size: int) -> Any:
    """The n entries from `start`, padded to `size` with the last one (with zeros if n is 0)."""
    if n == size == len(array):
        return array
    xp = jnp if is_on_accelerator(array) else np
    chunk = xp.asarray(array)[start : start + n]
    if n == size:
        return chunk
    if n == 0:
        return np.zeros((size, *chunk.shape[1:]), chunk.dtype)
    return xp.concatenate([chunk, xp.broadcast_to(chunk[-1:], (size - n, *chunk.shape[1:]))])
