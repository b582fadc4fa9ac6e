"""Compiled programs of modules, run over batches that are padded to a few sizes and cut into chunks.

A program depends on the module's structure and on the event shape, not on the batch size: another batch size compiles
nothing new, and memory is bounded.
"""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.numerics.arrays import is_array, is_inexact

_BATCH_SIZES = (1, 16, 64, 256, 512, 1024)
# Padding costs little compared to a kernel launch for small batches; from 1,024 on its cost is proportional.
_BATCH_SIZES_ACCELERATOR = (*_BATCH_SIZES, 2048, 4096, 8192, 16384)
_MAX_ELEMENTS = 1 << 20
_MAX_IDLE = 8  # programs whose module structure is not in use
_MAX_PROGRAMS = 128


class Static:
    """The hashable part of a module: tree structure and leaves that are not arrays."""

    def __init__(self, structure: Any, leaves: tuple[Any, ...]) -> None:
        self.structure, self.leaves = structure, leaves
        self._hash = hash((structure, leaves))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Static) and (self.structure, self.leaves) == (other.structure, other.leaves)


def flatten(module: Any) -> tuple[list[Any], Static]:
    """The arrays and the hashable part of a module; `jax.jit` on them has less overhead than `eqx.filter_jit`."""
    leaves, structure = jax.tree.flatten(module)
    arrays = [leaf for leaf in leaves if is_array(leaf)]
    return arrays, Static(structure, tuple(None if is_array(leaf) else leaf for leaf in leaves))


def unflatten(arrays: list[Any], static: Static) -> Any:
    """The inverse of `flatten`."""
    parts = iter(arrays)
    return jax.tree.unflatten(static.structure, [next(parts) if leaf is None else leaf for leaf in static.leaves])


def float_type(arrays: list[Any]) -> np.dtype:
    """The floating-point dtype in which a module computes: that of its JAX arrays, else JAX's default."""
    types = {leaf.dtype for leaf in arrays if isinstance(leaf, jax.Array) and is_inexact(leaf)}
    return np.dtype(jnp.result_type(*types)) if types else np.dtype(jnp.result_type(float))


def is_traced(*leaves: Any) -> bool:
    """Whether any leaf is a tracer of a JAX transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


class CompiledModule:
    """A module prepared for repeated calls: its arrays on the device, its static part, its floating-point dtype.

    Modules are immutable, so one `CompiledModule` is cached for each module and each x64 setting: NumPy float64 arrays
    (standardisation) are cast to the precision in use.
    """

    def __init__(self, module: Any) -> None:
        arrays, self.static = flatten(module)
        self.is_traced = is_traced(*arrays)
        self.dtype = float_type(arrays)
        self.arrays = arrays
        if not self.is_traced:
            self.arrays = [
                jax.device_put(leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype)))
                if isinstance(leaf, np.ndarray)
                else leaf
                for leaf in arrays
            ]
            self.kind = Static(self.static, tuple((leaf.shape, leaf.dtype) for leaf in self.arrays))
            _PROGRAMS.count(self.kind, 1)
            weakref.finalize(self, _PROGRAMS.count, self.kind, -1).atexit = False


Value = TypeVar("Value")


def cached_per_module(function: Callable[[Any], Value]) -> Callable[[Any], Value]:
    """Decorator that caches a function of a module by the module's identity and the x64 setting.

    The result must have `is_traced` and `arrays`, as `CompiledModule` has, and must not reference the module itself.
    """
    cache: dict[tuple[int, np.dtype], tuple[Any, Any]] = {}

    @functools.wraps(function)
    def cached(module: Any) -> Value:
        key = id(module), jax.dtypes.canonicalize_dtype(np.float64)
        entry = cache.get(key)
        if entry is not None and entry[0]() is module:
            return entry[1]
        value: Any = function(module)
        if not (value.is_traced or is_traced(*value.arrays)):
            cache[key] = weakref.ref(module, lambda _: cache.pop(key, None)), value
        return value

    return cached


@cached_per_module
def compiled_module(module: Any) -> CompiledModule:
    """The module's `CompiledModule`, cached."""
    return CompiledModule(module)


def is_on_accelerator(*values: Any) -> bool:
    """Whether any value is an array on an accelerator, from which nothing is copied to the host."""
    return jax.default_backend() != "cpu" and any(isinstance(value, jax.Array) for value in values)


def _sizes(event_size: int) -> list[int]:
    """The batch sizes for which programs are compiled, given the number of elements of an event."""
    sizes = _BATCH_SIZES if jax.default_backend() == "cpu" else _BATCH_SIZES_ACCELERATOR
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
    sizes = _sizes(event_size)
    program, parts, status = _PROGRAMS.program(batched, module.kind, module.static), [], []
    for start in range(0, max(size, 1), sizes[-1]):
        n = min(sizes[-1], size - start)
        padded = next(s for s in sizes if s >= n)
        chunk = [None if array is None else _pad(array, start, n, padded) for array in inputs]
        outputs, found = program(module.arrays, chunk, shared)
        if isinstance(found, jax.core.Tracer):
            return None
        if n == padded == size:
            is_bad_input, is_nan = np.asarray(found).tolist()
            return outputs, is_bad_input, is_nan
        parts.append(tuple(_first(part, n) for part in outputs))
        status.append(found)
    is_bad_input, is_nan = (np.any([np.asarray(found) for found in status], axis=0) & (size > 0)).tolist()
    return tuple(_join(pieces) for pieces in zip(*parts, strict=True)), is_bad_input, is_nan


def _first(part: Any, n: int) -> Any:
    """The first n rows: on the host, since JAX compiles a slice for each n, unless they are on an accelerator."""
    return part[:n] if is_on_accelerator(part) else np.asarray(part)[:n]


def _join(pieces: tuple[Any, ...]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return (jnp if is_on_accelerator(*pieces) else np).concatenate(pieces)


def _with_status(outputs: tuple[Array, ...], inputs: list[Any]) -> tuple[tuple[Array, ...], Array]:
    """The outputs of a program, and whether an input is not finite and whether an output is NaN."""
    bad = [~jnp.isfinite(part).all() for part in inputs if part is not None and is_inexact(part)]
    nan = [jnp.isnan(part).any() for part in outputs if is_inexact(part)]
    return outputs, jnp.stack([functools.reduce(jnp.logical_or, flags, jnp.asarray(False)) for flags in (bad, nan)])


def compiled(
    n_static: int, *, keep: int = _MAX_IDLE, donate: tuple[int, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator like `jax.jit` with a least-recently-used cache of `keep` programs.

    `jax.jit` keeps a program for every combination of static arguments and shapes, 1 to 10 MB each.

    Args:
        n_static: number of leading arguments that are static and hashable; the others are trees of arrays and numbers,
            passed by position.
        keep: number of programs in the cache.
        donate: indices of arguments whose buffers are donated, counted from the first non-static one.

    >>> @compiled(1, keep=2)
    ... def power(exponent, x):
    ...     return x**exponent
    >>> [float(power(exponent, 2.0)) for exponent in (1, 2, 3, 1)]
    [2.0, 4.0, 8.0, 2.0]
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        cache: dict[Any, Any] = {}
        lock = threading.Lock()

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            static, dynamic = arguments[:n_static], arguments[n_static:]
            leaves, structure = jax.tree.flatten(dynamic)
            key = static, structure, tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
            with lock:
                program = cache.pop(key, None)
                if program is None:
                    program = jax.jit(functools.partial(function, *static), donate_argnums=donate)
                    while len(cache) >= keep:
                        cache.pop(next(iter(cache))).clear_cache()  # in order of last use
                cache[key] = program
            return program(*dynamic)

        return call

    return decorate


class _ProgramCache:
    """The compiled programs of this process, by function and module structure.

    Programs whose structure no live module has are released, except the last few, which may be needed again; and the
    least recently used ones beyond a maximum number.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # reentrant: a finaliser may call `count` while the lock is held
        self.programs: dict[tuple[Any, Static], Any] = {}  # in order of last use
        self.n_modules: dict[Static, int] = {}

    def count(self, kind: Static, change: int) -> None:
        """Change the number of live modules of this structure and these shapes."""
        with self.lock:
            self.n_modules[kind] = self.n_modules.get(kind, 0) + change
            if not self.n_modules[kind]:
                del self.n_modules[kind]

    def program(self, batched: Callable[..., tuple[Array, ...]], kind: Static, static: Static) -> Callable[..., Any]:
        """The program of a function for modules of this kind, with the result of `_with_status`."""
        key = batched, kind
        with self.lock:
            program = self.programs.pop(key, None)
            if program is None:
                program = jax.jit(
                    lambda arrays, inputs, shared: _with_status(
                        batched(unflatten(arrays, static), *shared, *inputs), inputs
                    )
                )
                idle = [key for key in self.programs if key[1] not in self.n_modules]
                n_excess = max(len(self.programs) - _MAX_PROGRAMS + 1, 0)
                excess = [*idle[: max(len(idle) - _MAX_IDLE, 0)], *list(self.programs)[:n_excess]]
                for excess_key in dict.fromkeys(excess):
                    self.programs.pop(excess_key).clear_cache()
            self.programs[key] = program
        return program


_PROGRAMS = _ProgramCache()


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
