"""What layers remember, changed only by pure functions of a tree.

`initialise` once before training (standardisation, activation normalisation), `refresh` after each step inside the
compiled loop (power-iteration vectors), `finalise` after training (exact norms, stored bounds). `certify` computes
stored bounds anew and leaves the rest; `reseed` gives other random numbers to what estimates in evaluation. A module
takes part by having a method `initialised(x, context)`, `refreshed()`, `finalised()`, `recertified()` or
`reseeded(number)` that returns its successor.
"""

import math
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.repeat import Repeat
from pushforward.core.standardise import Standardise
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array
from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.programs import compiled_module, run_batched

Tree = TypeVar("Tree")

_MOST_NUMBERS = 1 << 20


@in_full_precision
def refresh(tree: Tree) -> Tree:
    """Every module that has `refreshed()` replaced by its result; pure, so it runs inside compiled loops."""
    return _replace(tree, "refreshed")


@in_full_precision
def finalise(tree: Tree) -> Tree:
    """Every module that has `finalised()` replaced by its result."""
    return _replace(tree, "finalised")


@in_full_precision
def certify(tree: Tree) -> Tree:
    """Every module that has `recertified()` replaced by its result: stored bounds become those of the weights."""
    return _replace(tree, "recertified")


def reseed(tree: Tree, number: int | Array) -> Tree:
    """Every module that has `reseeded(number)` replaced by its result; number 0 changes nothing."""
    return _replace(tree, "reseeded", number)


def initialise(bijection: AbstractBijection, x: np.ndarray, context: np.ndarray | None = None) -> AbstractBijection:
    """Data-dependent start values, layer by layer from the data inwards, through `Chain`, `Repeat` and what shows its
    inner bijection a view of the event (`Reshape`, `Squeeze`, splits).

    Args:
        bijection: what to initialise.
        x: rows (n, *shape) in the data's units, kept in float64 on the host where no layer must be applied to them.
            Where one must, about a million numbers of them go on: moments of a channel need no more.
        context: rows (n, *context_shape), or None.

    Returns:
        The bijection with every `initialised(x, context)` applied to the data as that layer sees them.

    Raises:
        ShapeError: if such a layer sits inside a wrapper through which data cannot be passed.
    """
    if not has_hook(bijection, "initialised"):
        return bijection
    start = getattr(bijection, "initialised", None)
    if start is not None:
        return start(x, context)
    if isinstance(bijection, Chain):
        layers = list(bijection.bijections)
        for index in reversed(range(len(layers))):
            layers[index] = initialise(layers[index], x, context)
            if any(has_hook(layer, "initialised") for layer in layers[:index]):
                x, context = _inverse_rows(layers[index], x, context)
        return eqx.tree_at(lambda chain: chain.bijections, bijection, tuple(layers))
    if isinstance(bijection, Repeat):
        layers = [bijection.layer(index) for index in range(bijection.n_layers)]
        for index in reversed(range(len(layers))):
            layers[index] = initialise(layers[index], x, context)
            if index:
                x, context = _inverse_rows(layers[index], x, context)
        return Repeat(layers, unroll=bijection.unroll, recompute=bijection.recompute)
    inner_samples = getattr(bijection, "inner_samples", None)
    if inner_samples is not None:
        wrapper: Any = bijection
        return eqx.tree_at(lambda w: w.inner, bijection, initialise(wrapper.inner, inner_samples(x), context))
    raise ShapeError(
        f"initialise: {type(bijection).__name__} holds a layer that starts from data, but data cannot be passed "
        "through it. Put that layer into a Chain, a Repeat or a Squeeze."
    )


def _inverse_rows(
    bijection: AbstractBijection, x: np.ndarray, context: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows as the layer next to the base sees them, and their contexts; a subset where there are very many numbers."""
    if isinstance(bijection, Standardise) and not bijection.compress:  # in float64, or an offset would cost digits
        return (x - np.asarray(bijection.mean)) / np.asarray(bijection.scale), context
    every = max(1, x.size // _MOST_NUMBERS)
    x, context = x[::every], None if context is None else context[::every]
    given = None if bijection.context_shape is None else context
    module = compiled_module(bijection)
    rows = [np.asarray(x, module.dtype), None if given is None else np.asarray(given, module.dtype)]
    ran = run_batched(_inverse, module, rows, len(x), math.prod(bijection.shape))
    return np.asarray((_inverse(bijection, *rows) if ran is None else ran)[0]), context


def _inverse(bijection: AbstractBijection, x: Any, context: Any) -> tuple[Array]:
    axes = (0, None if context is None else 0)
    return (jax.vmap(lambda x, c: bijection.inverse_and_log_det(x, c)[0], axes)(x, context),)


def is_estimated(tree: Any) -> bool:
    """Whether scores depend on random numbers that a tree stores: whether a module says so by `is_estimated`."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: hasattr(type(node), "is_estimated"))
    return any(getattr(node, "is_estimated", False) for node in nodes)


def has_hook(tree: Any, name: str) -> bool:
    """Whether any module of a tree has the method of one of these functions."""
    found = jax.tree.leaves(tree, is_leaf=lambda node: hasattr(type(node), name))
    return any(hasattr(type(node), name) for node in found)


def _replace(tree: Tree, name: str, *args: Any) -> Tree:
    """Stacked layers of a Repeat are mapped over, so that a module only ever sees itself."""

    def stop(node: Any) -> bool:
        return hasattr(type(node), name) or isinstance(node, Repeat)

    def step(node: Any) -> Any:
        if hasattr(type(node), name):
            return getattr(node, name)(*args)
        if isinstance(node, Repeat) and has_hook(node.layers, name):
            arrays, static = eqx.partition(node.layers, is_array)
            mapped = jax.vmap(lambda part: eqx.filter(_replace(eqx.combine(part, static), name, *args), is_array))(
                arrays
            )
            return eqx.tree_at(lambda repeat: repeat.layers, node, eqx.combine(mapped, static))
        return node

    return jax.tree.map(step, tree, is_leaf=stop)
