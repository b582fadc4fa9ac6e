"""Freezing: which parameters of a flow training leaves unchanged, chosen by functions of the flow."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from pushforward.core.fields import trainable
from pushforward.numerics.arrays import is_array
from pushforward.numerics.programs import flatten, unflatten

_FIRST = 1 << 40  # position of the first number


def freeze(flow: Any, *where: Callable[[Any], Any]) -> PyTree[bool | np.ndarray]:
    """Which parameters are trained if the selected parts of a flow are frozen: `trainable=` of `fit` and the others.

    Frozen parameters keep their bits, whatever the optimiser does, weight decay included. A layer that is initialised
    from data (`ActivationNormalisation`) is so in the first fit, although it is frozen.

    Args:
        flow: a flow, or any tree of modules.
        where: functions that select from the flow what to freeze, such as `lambda f: f.layers[0]`, `lambda f: f.base`,
            `lambda f: f.layers[1].network`, `lambda f: f.layers[-2].network.weights[0]`; a tuple of such parts, or a
            part of an array.

    Returns:
        A tree of the flow's structure: a bool for each leaf; where a part of an array is frozen, as for one layer of a
        `Repeat`, an array of bools that broadcasts to it, of shape (n_layers, 1, ..., 1).

    Raises:
        ValueError: if a function selects no part of the flow.

    Example:
        >>> import equinox as eqx, numpy as np, pushforward as pf
        >>> flow = pf.real_nvp(dim=2, n_layers=2, width=8, key=0)
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> options = {"key": 0, "max_epochs": 1, "validation": 0, "progress": False}
        >>> fitted, _ = pf.fit(flow, x, trainable=pf.freeze(flow, lambda f: f.layers[0]), **options)
        >>> [bool(eqx.tree_equal(a, b)) for a, b in zip(flow.layers, fitted.layers)]
        [True, False, False]
    """
    selected = _selected(flow, where)
    return jax.tree.map(lambda flag, mask: _reduced(~mask) if flag else False, trainable(flow), selected)


def freeze_all_but(flow: Any, *where: Callable[[Any], Any]) -> PyTree[bool | np.ndarray]:
    """Which parameters are trained if only the selected parts of a flow are: the complement of `freeze`.

    Args:
        flow, where: as for `freeze`.

    Raises:
        ValueError: if a function selects no part of the flow, or nothing that is selected is trained.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.real_nvp(dim=2, n_layers=3, width=8, key=0)
        >>> chosen = pf.freeze_all_but(flow, lambda f: f.layers[2])
        >>> print(chosen.bijection.bijections[0].layers.network.out_bias.ravel())
        [False False  True]
    """
    selected = _selected(flow, where)
    chosen = jax.tree.map(lambda flag, mask: _reduced(mask) if flag else False, trainable(flow), selected)
    if not any(np.any(flag) for flag in jax.tree.leaves(chosen)):
        raise ValueError(
            "where: expected a part of the flow with trained parameters, got one that is fixed, such as Standardise or "
            "the Normal base."
        )
    return chosen


def _selected(flow: Any, where: tuple[Callable[[Any], Any], ...]) -> Any:
    """A tree of masks: which numbers of the flow some function selects.

    The functions get a flow whose numbers are their own positions, so what they return says what they select, also
    after a `Repeat` was unstacked. The positions are large, so that numbers computed from them are none.
    """
    arrays, static = flatten(flow)
    total = sum(leaf.size for leaf in arrays)
    positions, start = [], 0
    for leaf in arrays:
        positions.append(_FIRST + np.arange(start, start + leaf.size).reshape(leaf.shape))
        start += leaf.size
    numbered, is_selected = unflatten(positions, static), np.zeros(total, bool)
    for function in where:
        if not callable(function) or isinstance(function, eqx.Module):
            raise ValueError(
                f"where: expected a function of the flow, such as lambda f: f.layers[0], got {type(function).__name__}."
            )
        selection = function(numbered)
        leaves = jax.tree.leaves(selection)
        modules = jax.tree.leaves(selection, is_leaf=lambda node: isinstance(node, eqx.Module))
        parts = [np.asarray(leaf) for leaf in leaves if is_array(leaf) or isinstance(leaf, np.integer)]
        is_part = parts or any(isinstance(node, eqx.Module) for node in modules)  # some layers have no arrays
        if not is_part or not all(np.issubdtype(part.dtype, np.integer) for part in parts):
            raise ValueError(
                "where: expected a function that selects layers or arrays of the flow, such as lambda f: f.layers[0], "
                f"got one that returns {'other arrays' if parts else 'neither'}."
            )
        for part in parts:
            indices = part.reshape(-1).astype(np.int64) - _FIRST
            if ((indices < 0) | (indices >= total)).any():
                raise ValueError(
                    "where: expected a function that selects layers or arrays of the flow, or parts of an array, got "
                    "one that computes with them. Compute masks by jax.tree.map over pushforward.trainable(flow)."
                )
            is_selected[indices] = True
    masks = [np.asarray(is_selected[part - _FIRST]) for part in positions]
    return jax.tree.map(lambda leaf: leaf if is_array(leaf) else False, unflatten(masks, static))


def _reduced(mask: np.ndarray | np.bool_) -> bool | np.ndarray:
    """The mask, in which axes along which it is constant have size one; a bool if it is constant."""
    mask = np.asarray(mask)
    for axis in range(mask.ndim):
        first = mask.take([0], axis) if mask.shape[axis] else mask
        if (mask == first).all():
            mask = first
    return bool(mask.all()) if math.prod(mask.shape) <= 1 else mask
