"""Modules in two parts, what is trained and what is constant, so that each library finds its own mark of constants.

pushforward declares constants at the field of a class, FlowJAX wraps them in `NonTrainable`. A wrapper holds a module
as two trees of equal structure, each with None where the other one has a value; the second one carries the mark.
"""

from typing import Any

import equinox as eqx
import jax
from paramax import NonTrainable

from pushforward.core.fields import trainable


def split_pushforward(module: Any) -> tuple[Any, NonTrainable]:
    """A module of pushforward without its constant arrays of floats, and these as one `NonTrainable`."""
    flags = trainable(module)
    keep = jax.tree.map(lambda leaf, is_trained: is_trained or not eqx.is_inexact_array(leaf), module, flags)
    trained, constants = eqx.partition(module, keep)
    return trained, NonTrainable(constants)


def join_pushforward(trained: Any, constants: Any) -> Any:
    """The module again; FlowJAX calls methods of wrappers whose `NonTrainable` are unwrapped."""
    return eqx.combine(trained, constants.tree if isinstance(constants, NonTrainable) else constants)


def split_flowjax(module: Any) -> tuple[Any, Any]:
    """A module of FlowJAX without its `NonTrainable` nodes, and a tree with these only."""
    return eqx.partition(module, lambda node: not _is_constant(node), is_leaf=_is_constant)


def join_flowjax(trained: Any, constants: Any) -> Any:
    """The module again."""
    return eqx.combine(trained, constants)


def _is_constant(node: Any) -> bool:
    return isinstance(node, NonTrainable)
