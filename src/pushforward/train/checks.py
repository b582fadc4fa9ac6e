"""Checks of the options that `fit`, `fit_target` and `distill` share."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.ensemble import Ensemble
from pushforward.core.stacked import unstack
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array, is_inexact
from pushforward.numerics.programs import flatten, float_type


def check_options(counts: Mapping[str, int | None], sizes: Mapping[str, float | None], ema: float | None) -> None:
    """Refuse counts that are not positive integers, sizes that are not positive, and a decay outside (0, 1)."""
    for name, count in counts.items():
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, Real) or count != int(count) or count < 1
        ):
            raise ValueError(f"{name}: expected a whole number of at least 1, got {count!r}.")
    for name, size in sizes.items():
        if size is not None and not (isinstance(size, Real) and 0 < size < math.inf):
            raise ValueError(f"{name}: expected a positive number, got {size!r}.")
    if ema is not None and not (isinstance(ema, Real) and 0 < ema < 1):
        raise ValueError(f"ema: expected a decay between 0 and 1, such as 0.99, or None, got {ema!r}.")


def check_divergences(gradient: str, forward: float, annealing: float) -> None:
    """Refuse an unknown gradient of the reverse divergence, and shares outside [0, 1]."""
    if gradient not in ("path", "total"):
        raise ValueError(f"gradient: expected 'path' or 'total', got {gradient!r}.")
    for name, share in {"forward": forward, "annealing": annealing}.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name}: expected a share from 0 to 1, got {share}.")


def check_precision(name: str, flow: Any) -> None:
    """Refuse arrays of 16 bits: sums of log-densities and optimiser steps need the precision of float32."""
    narrow = {str(leaf.dtype) for leaf in jax.tree.leaves(flow) if is_inexact(leaf) and leaf.dtype.itemsize < 4}
    if narrow:
        raise ValueError(
            f"{name}: expected arrays of float32 or float64, got {' and '.join(sorted(narrow))}, in which the sums and "
            f'small steps of training are lost. Train pushforward.cast({name}, "float32"); cast the result if need be.'
        )


def check_unstacked(flow: AbstractDistribution) -> None:
    """Refuse a flow whose arrays all have one more leading axis: a stack of flows that is no `Ensemble`."""
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(flow) if is_array(leaf)}
    if isinstance(flow, Ensemble) or len(sizes) != 1 or sizes == {()}:
        return
    first = unstack(flow, 0)
    contexts = [shape for shape in (flow.context_shape,) if shape is not None]
    arguments = [jax.ShapeDtypeStruct(shape, float_type(flatten(flow)[0])) for shape in (flow.shape, *contexts)]

    def fits(candidate: AbstractDistribution) -> bool:
        try:
            return jax.eval_shape(lambda x, c=None: candidate.log_prob_one(x, c, None), *arguments).shape == ()
        except (TypeError, ValueError, IndexError):
            return False

    if fits(first) and not fits(flow):
        raise ShapeError(
            f"flow: expected one flow or an Ensemble, got a {type(flow).__name__} whose arrays all have a leading axis "
            f"of size {sizes.pop()[0]}, as flows stacked by vmap have. Build it by pushforward.ensemble(build, n, "
            "key), or pushforward.Ensemble(flows) from a list."
        )


def trained_flags(flow: AbstractDistribution, chosen: PyTree[Any]) -> tuple[bool | np.ndarray, ...]:
    """For each array of the flow, whether it is trained; for one that is trained in part a mask with as many axes."""
    with_paths, structure = jax.tree_util.tree_flatten_with_path(flow)
    flags = jax.tree.leaves(chosen)
    if jax.tree.structure(chosen) != structure:
        raise ValueError(
            "trainable: expected a tree of bools like pushforward.trainable(flow), got another structure. Use "
            "pushforward.freeze(flow, lambda f: f.layers[0]), or edit that tree with equinox.tree_at."
        )
    pairs = [(path, leaf, flag) for (path, leaf), flag in zip(with_paths, flags, strict=True) if is_array(leaf)]
    trained = tuple(_trained_part(jax.tree_util.keystr(path), leaf, flag) for path, leaf, flag in pairs)
    if not any(np.any(part) for part in trained):
        raise ValueError("trainable: expected at least one trained array, got none.")
    return trained


def _trained_part(path: str, leaf: Any, flag: Any) -> bool | np.ndarray:
    """The flag of an array as a bool, or as a mask that broadcasts to the array."""
    mask = np.asarray(flag) if is_array(flag) or isinstance(flag, bool | np.bool_) else None
    if mask is None or mask.dtype != np.bool_:
        got = type(flag).__name__ if mask is None else f"an array of {mask.dtype}"
        raise ValueError(f"trainable: expected a tree of bools or of arrays of bools, got {got} at {path}.")
    sizes = zip(mask.shape[::-1], leaf.shape[::-1], strict=False)
    if mask.ndim > leaf.ndim or not all(n in (1, size) for n, size in sizes):
        raise ValueError(
            f"trainable: expected a bool, or bools that broadcast to the array's shape {leaf.shape}, got shape "
            f"{mask.shape} at {path}. A mask over the layers of a Repeat has shape (n_layers, 1, ..., 1)."
        )
    if mask.any() and not is_inexact(leaf):
        raise ValueError(f"trainable: expected False for an array of {leaf.dtype}, got True at {path}.")
    if mask.all() or not mask.any():
        return bool(mask.all())
    return mask.reshape((1,) * (leaf.ndim - mask.ndim) + mask.shape)
