"""Checks of the options that `fit`, `fit_target` and `distill` share."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from pushforward.core.distribution import AbstractDistribution
from pushforward.numerics.arrays import is_array, is_inexact


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


def trained_flags(flow: AbstractDistribution, chosen: PyTree[bool]) -> tuple[bool, ...]:
    """For each array of the flow, whether it is trained."""
    leaves = jax.tree.leaves(flow)
    flags = jax.tree.leaves(chosen)
    if jax.tree.structure(chosen) != jax.tree.structure(flow) or not all(isinstance(f, bool | np.bool_) for f in flags):
        raise ValueError(
            "trainable: expected a tree of bools like pushforward.trainable(flow), got another structure. Edit that "
            "tree with equinox.tree_at."
        )
    if not any(flags):
        raise ValueError("trainable: expected at least one trained array, got none.")
    return tuple(bool(flag) for leaf, flag in zip(leaves, flags, strict=True) if is_array(leaf))
