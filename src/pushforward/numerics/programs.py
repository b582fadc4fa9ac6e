"""Compiled programs of modules, cached by structure: modules that differ in their arrays only share one."""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.numerics.arrays import arrays_are_traced, is_array, is_inexact
from pushforward.numerics.compiler_options import compiler_options

_MAX_IDLE = 8  # programs whose module structure is not in use
_MAX_PROGRAMS = 128
_MAX_UNROLLED = 1 << 17  # elements in stacks that are passed by layer


class Static:
    """The hashable part of a module: tree structure and leaves that are not arrays.

    `event_shapes`, of the module's events and contexts, are for the options of the compiler and no part of equality:
    programs are cached by those options too.
    """

    def __init__(self, structure: Any, leaves: tuple[Any, ...], event_shapes: tuple[Any, ...] = ()) -> None:
        self.structure, self.leaves, self.event_shapes = structure, leaves, event_shapes
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
    shapes = getattr(module, "shape", None), getattr(module, "context_shape", None)
    return arrays, Static(structure, tuple(None if is_array(leaf) else leaf for leaf in leaves), shapes)


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

    Attributes:
        arrays: the leaves of the module.
        by_layer: the same for its programs: small stacks of layers that a program unrolls are tuples, an array a layer.
        static: the structure and the other leaves.
        kind: static, shapes and dtypes: modules of one kind share programs.
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
            # inside a caller's jit the layers would be tracers
            self.by_layer = self.arrays if arrays_are_traced() else _by_layer(module, self.arrays)
            PROGRAMS.count(self.kind, 1)
            weakref.finalize(self, PROGRAMS.count, self.kind, -1).atexit = False


def _by_layer(module: Any, arrays: list[Any]) -> list[Any]:
    """The arrays of a module, the matrices of unrolled stacks cut into layers.

    On a CPU a program that slices its matrices is no chain of operations: XLA spreads it over threads, and each change
    of thread costs as much as a small product. Slices of vectors are fused into what reads them.
    """
    if jax.default_backend() != "cpu":
        return arrays
    # not below another stack, where the first axis is no layer: the members of an ensemble, the turns of a loop
    parts = jax.tree.leaves(module, is_leaf=lambda part: hasattr(type(part), "stacked_field"))
    unrolled = [_n_unrolled(part) > 0 for part in parts for leaf in jax.tree.leaves(part) if is_array(leaf)]
    cut = [flag and leaf.ndim > 2 and is_inexact(leaf) for leaf, flag in zip(arrays, unrolled, strict=True)]
    if sum(leaf.size for leaf, flag in zip(arrays, cut, strict=True) if flag) > _MAX_UNROLLED:
        return arrays
    return [_layers(leaf) if flag else leaf for leaf, flag in zip(arrays, cut, strict=True)]


def _layers(leaf: Array) -> tuple[Array, ...]:
    """The arrays along the first axis, cut by NumPy: JAX would compile the slices."""
    return tuple(jax.device_put(list(np.asarray(leaf))))


def _n_unrolled(module: Any) -> int:
    return getattr(module, "n_unrolled", 0)


def _stacked(by_layer: list[Any]) -> list[Any]:
    """The inverse of `_by_layer`, inside a program: XLA takes the slices of what is concatenated here for the parts."""
    return [jnp.stack(leaf) if isinstance(leaf, tuple) else leaf for leaf in by_layer]


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
        if not (arrays_are_traced() or value.is_traced or is_traced(*value.arrays)):
            cache[key] = weakref.ref(module, lambda _: cache.pop(key, None)), value
        return value

    return cached


@cached_per_module
def compiled_module(module: Any) -> CompiledModule:
    """The module's `CompiledModule`, cached."""
    return CompiledModule(module)


def compiled(
    n_static: int,
    *,
    keep: int = _MAX_IDLE,
    donate: tuple[int, ...] = (),
    shapes_of: Callable[..., tuple[Any, ...]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator like `jax.jit` with a least-recently-used cache of `keep` programs.

    `jax.jit` keeps a program for every combination of static arguments and shapes, 1 to 10 MB each.

    Args:
        n_static: number of leading arguments that are static and hashable; the others are trees of arrays and numbers,
            passed by position.
        keep: number of programs in the cache.
        donate: indices of arguments whose buffers are donated, counted from the first non-static one.
        shapes_of: a function of the static arguments that returns shapes of events, for the options of the compiler.

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
            kinds = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
            has_options = shapes_of is not None and not is_traced(*leaves)
            options = compiler_options(*shapes_of(*static)) if has_options else {}
            key = static, structure, kinds, bool(options)
            with lock:
                program = cache.pop(key, None)
                if program is None:
                    program = jax.jit(
                        functools.partial(function, *static), donate_argnums=donate, compiler_options=options
                    )
                    while len(cache) >= keep:
                        cache.pop(next(iter(cache))).clear_cache()  # in order of last use
                cache[key] = program
            return program(*dynamic)

        return call

    return decorate


def _with_status(outputs: tuple[Array, ...], inputs: list[Any]) -> tuple[tuple[Array, ...], Array]:
    """The outputs of a program, and a number: 1 if an output is NaN, plus 2 if an input is not finite."""
    bad = [~jnp.isfinite(part).all() for part in inputs if part is not None and is_inexact(part)]
    nan = [jnp.isnan(part).any() for part in outputs if is_inexact(part)]
    is_bad, is_nan = (functools.reduce(jnp.logical_or, flags, jnp.asarray(False)) for flags in (bad, nan))
    return outputs, 2 * is_bad + is_nan


class _ProgramCache:
    """The compiled programs of this process, by function and module structure.

    Programs whose structure no live module has are released, except the last few, which may be needed again; and the
    least recently used ones beyond a maximum number.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # reentrant: a finaliser may call `count` while the lock is held
        self.programs: dict[tuple[Any, Static, bool], Any] = {}  # in order of last use
        self.n_modules: dict[Static, int] = {}

    def count(self, kind: Static, change: int) -> None:
        """Change the number of live modules of this structure and these shapes."""
        with self.lock:
            self.n_modules[kind] = self.n_modules.get(kind, 0) + change
            if not self.n_modules[kind]:
                del self.n_modules[kind]

    def program(self, batched: Callable[..., tuple[Array, ...]], module: CompiledModule) -> Callable[..., Any]:
        """The program of a function for modules of this module's kind, with the result of `_with_status`."""
        options, static = compiler_options(*module.static.event_shapes), module.static
        key = batched, module.kind, bool(options)
        with self.lock:
            program = self.programs.pop(key, None)
            if program is None:
                program = jax.jit(
                    lambda arrays, inputs, shared: _with_status(
                        batched(unflatten(_stacked(arrays), static), *shared, *inputs), inputs
                    ),
                    compiler_options=options,
                )
                idle = [key for key in self.programs if key[1] not in self.n_modules]
                n_excess = max(len(self.programs) - _MAX_PROGRAMS + 1, 0)
                excess = [*idle[: max(len(idle) - _MAX_IDLE, 0)], *list(self.programs)[:n_excess]]
                for excess_key in dict.fromkeys(excess):
                    self.programs.pop(excess_key).clear_cache()
            self.programs[key] = program
        return program


PROGRAMS = _ProgramCache()
