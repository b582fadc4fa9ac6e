"""Bins of piecewise maps: knots from logits, and the search of the bin of a point by comparisons."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

Rows = list[Array]


def sizes_of(logits: Array, bound: float, min_bin: float) -> Rows:
    """The sizes of K bins that fill [-bound, bound], each at least `min_bin` of it; logits (K, ...)."""
    n = logits.shape[0]
    shares = jax.nn.softmax(logits, axis=0)
    return list(2.0 * bound * (min_bin + (1.0 - n * min_bin) * shares))


def edges_of(sizes: Rows, bound: float) -> Rows:
    """The K + 1 edges of bins; the last is exactly the edge of the box, without the rounding of the sums."""
    edges = [jnp.full_like(sizes[0], -bound)]
    for size in sizes[:-1]:
        edges.append(edges[-1] + size)
    return [*edges, jnp.full_like(sizes[0], bound)]


def at_bin(value: Array, edges: Rows, *columns: Rows) -> tuple[Array, ...]:
    """The entry of each column, which has one entry a bin, for the bin that contains `value`."""
    entries = [column[0] for column in columns]
    for k in range(1, len(columns[0])):
        is_right = value >= edges[k]
        entries = [jnp.where(is_right, column[k], entry) for column, entry in zip(columns, entries, strict=True)]
    return tuple(entries)


def clip(value: Array, low: float, high: float) -> Array:
    """`value` clipped to [low, high], with right-hand derivatives at the ends: 1 at `low`, 0 at `high`."""
    return jnp.where(value < low, low, jnp.where(value >= high, high, value))


def straight_through_clip(value: Array, low: float, high: float) -> Array:
    """`value` clipped to [low, high] with derivative 1, for values that exceed the range by rounding only."""
    return value + jax.lax.stop_gradient(jnp.clip(value, low, high) - value)


def identity_outside(bound: float, value: Array, mapped: Array, log_slope: Array) -> tuple[Array, Array]:
    """The mapped value, which rounding may move out of the box, and its log-slope; outside the box the identity."""
    in_box = (value >= -bound) & (value < bound)
    mapped = straight_through_clip(mapped, -bound, bound)
    return jnp.where(in_box, mapped, value), jnp.where(in_box, log_slope, 0.0)


def total(rows: Rows) -> Array:
    """The sum of a list of arrays, unrolled."""
    return functools.reduce(jnp.add, rows)


def check_bins(n_bins: int, min_bin: float) -> None:
    """Raise if there are too few bins, or if they do not fit into the box."""
    if isinstance(n_bins, bool) or not isinstance(n_bins, int) or n_bins < 2:
        raise ValueError(
            f"n_bins: expected a whole number of at least 2, got {n_bins!r}. Use Affine instead of one bin."
        )
    if not 0 < n_bins * min_bin < 1:
        raise ValueError(
            f"min_bin: expected 0 < n_bins * min_bin < 1, got {n_bins} * {min_bin} = {n_bins * min_bin:g}: the floors "
            "fill the box. Use fewer bins or a smaller floor."
        )


def check_min_slope(min_slope: float) -> None:
    """Raise unless a minimum of a slope is in (0, 1)."""
    if not 0 < min_slope < 1:
        raise ValueError(f"min_slope: expected a number in (0, 1), got {min_slope}.")
