"""Hooks that update the state of layers: pure functions of a tree of modules.

`initialise_layers` runs once before training (standardisation, activation normalisation), `refresh` after each training
step inside the compiled loop (power-iteration vectors), `finalise` after training (exact norms, stored bounds).
`certify` recomputes stored bounds only; `reseed` changes the random numbers of layers that estimate their
log-determinant, and `for_samples` leaves these log-determinants out. A module has a hook if it has the method
`initialised(x, context)`, `refreshed()`, `finalised()`, `recertified()`, `reseeded(number)` or `without_log_det()`,
which returns an updated copy.
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
from pushforward.core.stacked import stacked_field
from pushforward.core.standardise import Standardise
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array
from pushforward.numerics.batches import run_batched
from pushforward.numerics.precision import in_full_precision
from pushforward.numerics.programs import compiled_module

Tree = TypeVar("Tree")

_MAX_NUMBERS = 1 << 20


@in_full_precision
def refresh(tree: Tree) -> Tree:
    """The tree with every module that has `refreshed()` replaced by its result: power iterations of spectral norms.

    `fit` calls it after each step. A custom training loop does so too, inside its compiled step. Flows without
    such layers are unchanged.

    Args:
        tree: a flow, a bijection, or any tree of them.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.refresh(pf.i_resnet(dim=2, n_layers=2, width=8, key=0))
    """
    return _replace(tree, "refreshed")


@in_full_precision
def finalise(tree: Tree) -> Tree:
    """The tree with every module that has `finalised()` replaced by its result: certified norms, stored bounds.

    `fit` calls it after training. A custom training loop does so too, outside its compiled step. Flows without
    such layers are unchanged.

    Args:
        tree: a flow, a bijection, or any tree of them.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.finalise(pf.i_resnet(dim=2, n_layers=2, width=8, key=0))
    """
    return _replace(tree, "finalised")


@in_full_precision
def certify(tree: Tree) -> Tree:
    """The tree with every module that has `recertified()` replaced by its result: stored bounds fit the weights."""
    return _replace(tree, "recertified")


def reseed(tree: Tree, number: int | Array) -> Tree:
    """The tree with every module that has `reseeded(number)` replaced by its result; 0 is the original seed."""
    return _replace(tree, "reseeded", number)


def for_samples(tree: Tree) -> Tree:
    """The tree for drawing samples without their log-densities, which the caller must drop: some are then wrong.

    Sampling reads the sum of the log-determinants to find points outside a domain, so a compiler cannot leave them out.
    Layers whose log-determinant is an estimate and finite everywhere have a method `without_log_det()`, and its result
    replaces them; other layers stay.
    """

    def has_log_det(node: Any) -> bool:
        return hasattr(type(node), "without_log_det")

    def replace(node: Any) -> Any:  # no vmap over stacked modules: the result only lacks some of their arrays
        return node.without_log_det() if has_log_det(node) else node

    return jax.tree.map(replace, tree, is_leaf=has_log_det)


def initialise_layers(
    bijection: AbstractBijection, x: np.ndarray, context: np.ndarray | None = None
) -> AbstractBijection:
    """Data-dependent initialisation, layer by layer from the data side to the base.

    It descends into `Chain`, `Repeat` and wrappers with a method `inner_samples` (`Reshape`, `Squeeze`, splits).

    Args:
        bijection: the bijection to initialise.
        x: samples (n, *shape) in data units, float64 on the host. After a layer has been applied, a subset of about a
            million numbers is used: moments need no more.
        context: (n, *context_shape), or None.

    Returns:
        The bijection in which `initialised(x, context)` of each layer was called with the input of that layer.

    Raises:
        ShapeError: if a layer to initialise is inside another wrapper.
    """
    if not has_hook(bijection, "initialised"):
        return bijection
    initialised = getattr(bijection, "initialised", None)
    if initialised is not None:
        return initialised(x, context)
    if isinstance(bijection, Chain):
        layers = list(bijection.bijections)
        for index in reversed(range(len(layers))):
            layers[index] = initialise_layers(layers[index], x, context)
            if any(has_hook(layer, "initialised") for layer in layers[:index]):
                x, context = _inverse_samples(layers[index], x, context)
        return eqx.tree_at(lambda chain: chain.bijections, bijection, tuple(layers))
    if isinstance(bijection, Repeat):
        layers = list(bijection)
        for index in reversed(range(len(layers))):
            layers[index] = initialise_layers(layers[index], x, context)
            if index:
                x, context = _inverse_samples(layers[index], x, context)
        return Repeat(layers, unroll=bijection.unroll, recompute=bijection.recompute)
    inner_samples = getattr(bijection, "inner_samples", None)
    if inner_samples is not None:
        wrapper: Any = bijection
        return eqx.tree_at(lambda w: w.inner, bijection, initialise_layers(wrapper.inner, inner_samples(x), context))
    raise ShapeError(
        f"initialise: {type(bijection).__name__} holds a layer that is initialised from data, but data cannot be "
        "passed through it. Put that layer into a Chain, a Repeat or a Squeeze."
    )


def _inverse_samples(
    bijection: AbstractBijection, x: np.ndarray, context: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The inverse of samples and their contexts; a subset if there are more than about a million numbers."""
    if isinstance(bijection, Standardise) and not bijection.compress:  # in float64, so that offsets cost no digits
        return (x - np.asarray(bijection.mean)) / np.asarray(bijection.scale), context
    stride = max(1, x.size // _MAX_NUMBERS)
    x, context = x[::stride], None if context is None else context[::stride]
    layer_context = None if bijection.context_shape is None else context
    module = compiled_module(bijection)
    inputs = [np.asarray(x, module.dtype), None if layer_context is None else np.asarray(layer_context, module.dtype)]
    outputs = run_batched(_inverse, module, inputs, len(x), math.prod(bijection.shape))
    return np.asarray((_inverse(bijection, *inputs) if outputs is None else outputs)[0]), context


def _inverse(bijection: AbstractBijection, x: Any, context: Any) -> tuple[Array]:
    axes = (0, None if context is None else 0)
    return (jax.vmap(lambda x, c: bijection.inverse_and_log_det(x, c)[0], axes)(x, context),)


def is_estimated(tree: Any) -> bool:
    """Whether any module has `is_estimated` set: log-densities are then estimates with stored random numbers."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: hasattr(type(node), "is_estimated"))
    return any(getattr(node, "is_estimated", False) for node in nodes)


def has_hook(tree: Any, name: str) -> bool:
    """Whether any module of a tree has the attribute `name`, such as the method of one of these hooks."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: hasattr(type(node), name))
    return any(hasattr(type(node), name) for node in nodes)


def _replace(tree: Tree, name: str, *args: Any) -> Tree:
    """Replace modules by the result of their hook, under vmap for stacked ones."""

    def is_leaf(node: Any) -> bool:
        return hasattr(type(node), name) or stacked_field(node) is not None

    def replace(node: Any) -> Any:
        if hasattr(type(node), name):
            return getattr(node, name)(*args)
        field = stacked_field(node)
        if field is not None and has_hook(stacked := getattr(node, field), name):
            arrays, static = eqx.partition(stacked, is_array)
            mapped = jax.vmap(lambda part: eqx.filter(_replace(eqx.combine(part, static), name, *args), is_array))(
                arrays
            )
            return eqx.tree_at(lambda module: getattr(module, field), node, eqx.combine(mapped, static))
        return node

    return jax.tree.map(replace, tree, is_leaf=is_leaf)
