"""A module as a compiled program: flattened once, run over rows that are padded to few sizes and cut into chunks.

The program depends on the module's structure and on a row's shape, never on the number of rows: another number compiles
nothing new, and memory stays flat.
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

_ROWS = (1, 16, 64, 256, 512, 1024)
# Idle rows cost little beside the start of a kernel while they are few; from 1,024 on they cost their share.
_ROWS_ACCELERATOR = (*_ROWS, 2048, 4096, 8192, 16384)
_MAX_ELEMENTS = 1 << 20
_IDLE = 8  # programs of structures that are not in use
_MOST = 128  # programs in all


class Static:
    """The hashable half of a module: structure and whatever is not an array."""

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
    """A module as its list of arrays and a hashable rest: cheaper at each call than a filtered jit."""
    leaves, structure = jax.tree.flatten(module)
    arrays = [leaf for leaf in leaves if is_array(leaf)]
    return arrays, Static(structure, tuple(None if is_array(leaf) else leaf for leaf in leaves))


def unflatten(arrays: list[Any], static: Static) -> Any:
    """The module of `flatten`."""
    parts = iter(arrays)
    return jax.tree.unflatten(static.structure, [next(parts) if leaf is None else leaf for leaf in static.leaves])


def float_type(arrays: list[Any]) -> np.dtype:
    """The floating-point type in which a module computes: that of its JAX arrays, else JAX's default."""
    types = {leaf.dtype for leaf in arrays if isinstance(leaf, jax.Array) and is_inexact(leaf)}
    return np.dtype(jnp.result_type(*types)) if types else np.dtype(jnp.result_type(float))


def is_traced(*leaves: Any) -> bool:
    """Whether any of these is a tracer of somebody's transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


class CompiledModule:
    """What calls of one module share: its arrays on the device, its static half, its floating-point type.

    Modules never change, so this is made once for each, and for each setting of 64-bit arithmetic: what is kept in
    NumPy float64 (standardisation) goes in at the width that is in force.
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


Made = TypeVar("Made")


def once_for_each(make: Callable[[Any], Made]) -> Callable[[Any], Made]:
    """A function of a module that is computed once for each, and for each setting of 64-bit arithmetic.

    What it makes has `is_traced` and `arrays`, as `CompiledModule` has, and must not hold the module itself.
    """
    kept: dict[tuple[int, np.dtype], tuple[Any, Any]] = {}

    @functools.wraps(make)
    def remembered(module: Any) -> Made:
        key = id(module), jax.dtypes.canonicalize_dtype(np.float64)
        known = kept.get(key)
        if known is not None and known[0]() is module:
            return known[1]
        made: Any = make(module)
        if not (made.is_traced or is_traced(*made.arrays)):
            kept[key] = weakref.ref(module, lambda _: kept.pop(key, None)), made
        return made

    return remembered


@once_for_each
def compiled_module(module: Any) -> CompiledModule:
    """The module's `CompiledModule`, from the last call with this very object if there was one."""
    return CompiledModule(module)


def is_on_device(rows: Any, size: int, event_size: int) -> bool:
    """Whether rows lie on an accelerator and run there unpadded: fetching them would cost more than the program."""
    return isinstance(rows, jax.Array) and jax.default_backend() != "cpu" and size in _sizes(event_size)


def _sizes(event_size: int) -> list[int]:
    """The numbers of rows that programs are compiled for, where a row holds `event_size` numbers."""
    sizes = _ROWS if jax.default_backend() == "cpu" else _ROWS_ACCELERATOR
    limit = max(_MAX_ELEMENTS // max(event_size, 1), 1)
    return [s for s in sizes if s <= limit] or [1]


def run_batched(
    batched: Callable[..., tuple[Array, ...]],
    module: CompiledModule,
    rows: list[Any],
    size: int,
    event_size: int,
    *more: Any,
) -> tuple[Any, ...] | None:
    """`batched(module, *more, *rows)` compiled, over all rows, in chunks padded to one of a few sizes.

    Args:
        batched: a function at module level, for it is part of the program's identity.
        module: from `compiled_module`.
        rows: arrays (size, ...), NumPy or JAX, or None.
        size: number of rows.
        event_size: numbers in a row, which limits the rows of a chunk.
        more: further arrays, the same for all rows.

    Returns:
        One array for each of the program's outputs; None under somebody's trace, where concrete arrays do not help.
    """
    sizes = _sizes(event_size)
    program, whole = _PROGRAMS.program(batched, module.kind, module.static), None
    for start in range(0, max(size, 1), sizes[-1]):
        here = min(sizes[-1], size - start)
        padded = next(s for s in sizes if s >= here)
        chunk = [None if row is None else _pad(row, start, here, padded) for row in rows]
        out = program(module.arrays, chunk, more)
        if is_traced(*out):
            return None
        if here == padded == size:
            return out
        if whole is None:
            whole = tuple(np.empty((size, *part.shape[1:]), part.dtype) for part in out)
        for column, part in zip(whole, out, strict=True):
            column[start : start + here] = np.asarray(part)[:here]
    return whole


def compiled(
    n_static: int, *, keep: int = _IDLE, donate: tuple[int, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator like `jax.jit` whose programs are released but for the last `keep` that were used.

    `jax.jit` keeps a program for every static argument and every shape that it ever met, 1 to 10 MB each.

    Args:
        n_static: how many arguments, the first ones, are hashable parts of the program; the others are trees of arrays
            and numbers, given by position.
        keep: number of programs.
        donate: which arguments give their memory away, counted from the first that is not static.

    >>> @compiled(1, keep=2)
    ... def power(exponent, x):
    ...     return x**exponent
    >>> [float(power(exponent, 2.0)) for exponent in (1, 2, 3, 1)]
    [2.0, 4.0, 8.0, 2.0]
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        kept: dict[Any, Any] = {}
        lock = threading.Lock()

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            static, given = arguments[:n_static], arguments[n_static:]
            leaves, structure = jax.tree.flatten(given)
            key = static, structure, tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
            with lock:
                program = kept.pop(key, None)
                if program is None:
                    program = jax.jit(functools.partial(function, *static), donate_argnums=donate)
                    while len(kept) >= keep:
                        kept.pop(next(iter(kept))).clear_cache()  # the longest unused comes first
                kept[key] = program
            return program(*given)

        return call

    return decorate


class _Programs:
    """The compiled programs of this process, by function and structure.

    Those of a structure that no module in use has are released, but for the last few, which may well come again; and
    those that were not used for longest, where there are many.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a module may end, and be counted out, while the lock is held
        self.kept: dict[tuple[Any, Static], Any] = {}
        self.users: dict[Static, int] = {}

    def count(self, kind: Static, change: int) -> None:
        """One module of this structure and these shapes more in use, or less."""
        with self.lock:
            self.users[kind] = self.users.get(kind, 0) + change
            if not self.users[kind]:
                del self.users[kind]

    def program(
        self, batched: Callable[..., tuple[Array, ...]], kind: Static, static: Static
    ) -> Callable[..., tuple[Array, ...]]:
        """The program of a function for modules of this kind."""
        key = batched, kind
        with self.lock:
            found = self.kept.pop(key, None)
            if found is None:
                found = jax.jit(lambda arrays, rows, more: batched(unflatten(arrays, static), *more, *rows))
                idle = [key for key in self.kept if key[1] not in self.users]  # the longest unused comes first
                excess = [*idle[: max(len(idle) - _IDLE, 0)], *list(self.kept)[: max(len(self.kept) - _MOST + 1, 0)]]
                for gone in dict.fromkeys(excess):
                    self.kept.pop(gone).clear_cache()
            self.kept[key] = found
        return found


_PROGRAMS = _Programs()


def _pad(rows: Any, start: int, here: int, size: int) -> Any:
    """Rows from `start`, the last one repeated up to `size` (an empty chunk is filled with zeros)."""
    if here == size == len(rows):
        return rows
    rows = np.asarray(rows)[start : start + here]
    if here == size:
        return rows
    if here == 0:
        return np.zeros((size, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, np.broadcast_to(rows[-1:], (size - here, *rows.shape[1:]))])
