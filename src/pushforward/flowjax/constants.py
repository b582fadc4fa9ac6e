"""What is trained and what is constant, so that each library finds its own mark of constants.

pushforward declares constants at the field of a class, FlowJAX wraps them in `NonTrainable`.
"""

from typing import Any

import equinox as eqx
import jax
from paramax import NonTrainable

from pushforward.core.fields import trainable
from pushforward.numerics.arrays import is_array
from pushforward.numerics.programs import Static, flatten, unflatten


def split_pushforward(module: Any) -> tuple[tuple[Any, ...], Static]:
    """The arrays of a module of pushforward, constant floats in `NonTrainable`, and its hashable part.

    The arrays are no tree of modules, because FlowJAX unwraps every node of a tree before a call, also those of
    FlowJAX's own modules in it, which unwrap themselves.
    """
    arrays, static = flatten(module)
    leaves, flags = jax.tree.leaves(module), jax.tree.leaves(trainable(module))
    trained = [flag for leaf, flag in zip(leaves, flags, strict=True) if is_array(leaf)]
    pairs = zip(arrays, trained, strict=True)
    return tuple(leaf if flag or not eqx.is_inexact_array(leaf) else NonTrainable(leaf) for leaf, flag in pairs), static


def join_pushforward(arrays: tuple[Any, ...], static: Static) -> Any:
    """The module again, from arrays that may be unwrapped."""
    return unflatten([leaf.tree if _is_constant(leaf) else leaf for leaf in arrays], static)


def split_flowjax(module: Any) -> tuple[Any, Any]:
    """A module of FlowJAX without its `NonTrainable` nodes, and a tree of equal structure with these only."""
    return eqx.partition(module, lambda node: not _is_constant(node), is_leaf=_is_constant)


def join_flowjax(trained: Any, constants: Any) -> Any:
    """The module again."""
    return eqx.combine(trained, constants)


def _is_constant(node: Any) -> bool:
    return isinstance(node, NonTrainable)
