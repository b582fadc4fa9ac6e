"""Modules stacked leaf by leaf, and checks against calling such a stack, or one built under vmap, as one module.

A class that holds a stack, such as `Repeat`, names the field in its attribute `stacked_field`, and has a length. Hooks
then run under vmap (`core.state`), and a loaded file is checked by the first of the stacked modules.

Broadcasting would silently sum the log-densities of such an ensemble. So the shapes that methods return are compared
with the event shape. That happens while tracing, so compiled programs are not slower.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array, on_device
from pushforward.numerics.programs import Static, flatten, is_traced, unflatten

_checked: set[tuple] = set()  # (type, event shape, shapes of the parameters)


def stacked_field(module: Any) -> str | None:
    """The name of the field with the stacked modules; None for a module that holds no stack."""
    return getattr(type(module), "stacked_field", None)


def kind_of(module: Any) -> tuple[Static, tuple[Any, ...]]:
    """What modules of a stack have in common: structure, leaves that are no arrays, shapes and types of the arrays."""
    arrays, static = flatten(module)
    return static, tuple((leaf.shape, leaf.dtype) for leaf in arrays)


def stack(modules: Sequence[Any], name: str, advice: str) -> Any:
    """One module whose arrays are those of the modules, stacked along a new leading axis; NumPy's stay NumPy's.

    Args:
        modules: at least one, all of equal structure.
        name: of the argument, for the error.
        advice: what to do with unlike modules, for the error.

    Raises:
        ShapeError: if there is none, or one differs from the first in structure, static fields or array shapes.
    """
    if not modules:
        raise ShapeError(f"{name}: expected at least one, got an empty list.")
    first = kind_of(modules[0])
    for index, module in enumerate(modules):
        if kind_of(module) != first:
            raise ShapeError(
                f"{name}: expected equal structure, static fields and array shapes, but number {index} "
                f"({type(module).__name__}) differs from number 0 ({type(modules[0]).__name__}). {advice}"
            )
    arrays = zip(*(flatten(module)[0] for module in modules), strict=True)
    return unflatten([_stack_leaves(leaves) for leaves in arrays], first[0])


def unstack(module: Any, index: int) -> Any:
    """Number `index` of the modules that `stack` has stacked."""

    def part(leaf: Any) -> Any:  # on the host: eager JAX compiles a program for every shape
        if not isinstance(leaf, jax.Array) or is_traced(leaf):
            return leaf[index, ...]  # of NumPy an array, too, where it has no axes
        return on_device(np.asarray(leaf)[index])

    return jax.tree.map(lambda leaf: part(leaf) if is_array(leaf) else leaf, module)


def map_stacked(stacked: Any, n: int, function: Callable[[Any, Any], Array], key: PRNGKeyArray | None) -> Array:
    """The results of `function(module, key)` for n stacked modules, under vmap; each has a key of its own."""
    arrays, static = flatten(stacked)
    keys = None if key is None else jax.random.split(key, n)
    indices = jnp.arange(n)  # vmap needs an array even if the modules have none

    def apply_one(leaves: list[Array], key: PRNGKeyArray | None, _: Array) -> Array:
        return function(unflatten(leaves, static), key)

    return jax.vmap(apply_one, (0, None if keys is None else 0, 0))(arrays, keys, indices)


def _stack_leaves(leaves: tuple[Any, ...]) -> Any:
    if is_traced(*leaves):
        return jnp.stack(leaves)
    stacked = np.stack([np.asarray(leaf) for leaf in leaves])
    return on_device(stacked) if any(isinstance(leaf, jax.Array) for leaf in leaves) else stacked


class StackedError(ShapeError):
    """A result does not have the event shape."""


def check_shapes(module: Any, description: str, result: Any, event: tuple[int, ...]) -> None:
    """Raise an error unless the result is a scalar, or a pair of a value of the event shape and a scalar."""
    value, number = result if isinstance(result, tuple) else (None, result)
    if (value is None or value.shape == event) and number.shape == ():
        return
    got = f"{number.shape}" if value is None else f"{value.shape} with a number of shape {number.shape}"
    expected = "()" if value is None else f"{event} with a number of shape ()"
    raise StackedError(
        f"{type(module).__name__}: expected {description} of shape {expected}, got {got}: its parameters do not fit "
        f"its event shape {event}: {_advice()}"
    )


class ExplainStackedErrors:
    """Context manager that re-raises errors as `StackedError` if all arrays of a module have the same leading axis."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, TypeError | ValueError | IndexError) or isinstance(error, StackedError):
            return
        if stacked_field(self.module):  # stacked by design
            return
        sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(self.module) if is_array(leaf)}
        if len(sizes) == 1 and sizes != {()}:
            raise StackedError(
                f"{type(self.module).__name__}: all its arrays have a leading axis of size {sizes.pop()[0]}, and the "
                f"call failed ({error}). If its parameters are stacked, {_advice()}"
            ) from error


def check_parameters(distribution: Any, draw: Callable[[], Any]) -> None:
    """Raise an error if the parameters of a distribution without submodules do not fit its event shape.

    The shape of a sample shows it; the log-density is a sum and does not. Each type and set of shapes is checked once.
    """
    fields: list[Any] = [getattr(distribution, field.name, None) for field in dataclasses.fields(distribution)]
    shapes = tuple(field.shape for field in fields if is_array(field))
    kind = type(distribution), distribution.shape, shapes
    if not shapes or kind in _checked or any(dataclasses.is_dataclass(field) for field in fields):
        return
    if any(isinstance(field, tuple) and any(map(dataclasses.is_dataclass, field)) for field in fields):
        return
    _checked.add(kind)  # before the draw, which may call log_prob_one and so this function
    try:
        jax.eval_shape(draw)
    except NotImplementedError:  # the distribution has no sampler
        return
    except Exception:
        _checked.discard(kind)
        raise


def _advice() -> str:
    return (
        "build the ensemble by pushforward.ensemble; or map over the stacked members, "
        "jax.vmap(lambda member: member.log_prob(x))(stacked), with eqx.filter_vmap if they hold more than arrays; or "
        "give the parameters the shape of one event."
    )
