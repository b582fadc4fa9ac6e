"""Maps from a standard normal number to a distribution that is uniform in each of many cells, with normal tails."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

_TINY = 1e-30  # minimum probability; its normal score, -11.5, replaces that of a closed end


def pad_cells(cells: Sequence[tuple[Any, Any]]) -> tuple[np.ndarray, ...]:
    """Edges, probabilities below and above them (C, K + 1) and shares (C, K), padded by the last entry of a row."""
    rows = []
    for column, (edges, shares) in enumerate(cells):
        edges, shares = np.asarray(edges, np.float64), np.asarray(shares, np.float64)
        if edges.ndim != 1 or len(edges) < 2 or shares.shape != (len(edges) + 1,):
            raise ValueError(
                f"cells: expected edges (K + 1,) and shares (K + 2,), got {edges.shape} and {shares.shape} for column "
                f"{column} of them."
            )
        is_valid = (np.diff(edges) > 0).all() and (shares[1:-1] > 0).all() and (shares >= 0).all()
        if not (is_valid and np.isfinite(edges).all() and np.isfinite(shares).all()):
            raise ValueError(
                f"cells: expected edges that increase, and shares above 0, got {edges} and {shares} for column "
                f"{column} of them."
            )
        shares = shares / shares.sum()
        below, above = np.cumsum(shares)[:-1], np.cumsum(shares[::-1])[-2::-1]
        rows.append((edges, below, above, shares[1:-1]))
    widths = [max(len(part) for part in parts) for parts in zip(*rows, strict=True)]
    return tuple(
        np.stack([np.pad(part, (0, width - len(part)), mode="edge") for part in parts])
        for width, parts in zip(widths, zip(*rows, strict=True), strict=True)
    )


def unpad_cells(arrays: tuple[np.ndarray | Array, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The edges and shares of which `pad_cells` made these arrays; shares that add to one."""
    pairs = []
    for edges, below, above, shares in zip(*(np.asarray(part) for part in arrays), strict=True):
        count = int((np.diff(edges) > 0).sum())
        pairs.append((edges[: count + 1], np.concatenate([below[:1], shares[:count], above[count : count + 1]])))
    return pairs


def from_cells(z: Array, edges: Array, below: Array, above: Array, shares: Array) -> tuple[Array, Array]:
    """x = F^-1(Phi(z)) of C columns and the log-slopes; z (C,), the arrays of `pad_cells`."""
    ends = _scores(below, above)  # normal scores of the edges
    left, width, low, high, share = _cell(z, ends, edges, below, above, shares)
    lower, upper = jax.scipy.special.ndtr(z), jax.scipy.special.ndtr(-z)
    # computed from the nearer end, so that small probabilities keep their digits
    u = jnp.where(z < 0, (lower - low) / share, 1.0 - (upper - high) / share)
    x, log_slope = left + width * _clip(u, 0.0, 1.0), jnp.log(width / share) + _log_normal(z)
    for at, side, tail in _tails_of(below, above):
        is_beyond = _is_beyond(z, ends[:, at], side, tail) & (tail > 0)
        log_scale = jnp.log(_tail_scale(edges, shares))
        tail_x = edges[:, at] + jnp.exp(log_scale) * (z - jnp.where(tail > 0, ends[:, at], 0.0))
        x, log_slope = jnp.where(is_beyond, tail_x, x), jnp.where(is_beyond, log_scale, log_slope)
    return x, log_slope


def to_cells(x: Array, edges: Array, below: Array, above: Array, shares: Array) -> tuple[Array, Array]:
    """z = Phi^-1(F(x)) of C columns and the log-slopes, -inf beyond an end without a tail."""
    left, width, low, high, share = _cell(x, edges, edges, below, above, shares)
    u = _clip((x - left) / width, 0.0, 1.0)
    z = _scores(low + share * u, high + share * (1.0 - u))
    log_slope = jnp.log(share / width) - _log_normal(z)
    for at, side, tail in _tails_of(below, above):
        is_beyond, log_scale = _is_beyond(x, edges[:, at], side, tail), jnp.log(_tail_scale(edges, shares))
        end = jnp.where(tail > 0, _scores(below[:, at], above[:, at]), 0.0)
        tail_z = jnp.where(tail > 0, end + (x - edges[:, at]) * jnp.exp(-log_scale), 0.0)
        z = jnp.where(is_beyond, tail_z, z)
        log_slope = jnp.where(is_beyond, jnp.where(tail > 0, -log_scale, -jnp.inf), log_slope)
    return z, log_slope


def _cell(value: Array, ends: Array, edges: Array, below: Array, above: Array, shares: Array) -> tuple[Array, ...]:
    """Left edge, width, probabilities below and above, and share of the cell whose `ends` enclose the value."""
    n_cells = jnp.sum(edges[:, 1:] > edges[:, :-1], axis=1)
    index = jnp.minimum(jnp.sum(value[:, None] >= ends[:, 1:], axis=1), n_cells - 1)

    def at(part: Array, shift: int = 0) -> Array:
        return jnp.take_along_axis(part, (index + shift)[:, None], axis=1)[:, 0]

    return at(edges), at(edges, 1) - at(edges), at(below), at(above, 1), at(shares)


def _scores(lower: Array, upper: Array) -> Array:
    """Normal quantile of the probability `lower` = 1 - `upper`, computed from the smaller of the two."""
    smaller = _clip(jnp.where(lower < upper, lower, upper), _TINY, 0.5)
    z = jax.scipy.special.ndtri(smaller)
    return jnp.where(lower < upper, z, -z)


def _clip(value: Array, low: float, high: float) -> Array:
    """`value` clipped to [low, high], with derivative 1 at both ends, where that of `jnp.clip` is 1/2."""
    return jnp.where(value < low, low, jnp.where(value > high, high, value))


def _is_beyond(value: Array, end: Array, side: int, tail: Array) -> Array:
    """Whether a value lies beyond an end; the upper end does if it has a tail, because edges belong to the right."""
    return value < end if side < 0 else (value > end) | ((value == end) & (tail > 0))


def _log_normal(z: Array) -> Array:
    return -0.5 * z * z - 0.5 * jnp.log(2 * jnp.pi).astype(z.dtype)


def _tails_of(below: Array, above: Array) -> tuple[tuple[int, int, Array], ...]:
    """The two tails: index of the edge, direction (-1 lower, 1 upper), probability."""
    return ((0, -1, below[:, 0]), (-1, 1, above[:, -1]))


def _tail_scale(edges: Array, shares: Array) -> Array:
    """Scale of the tails: the standard deviation of the values within the cells."""
    middles, widths = (edges[:, 1:] + edges[:, :-1]) / 2, edges[:, 1:] - edges[:, :-1]
    shares = jnp.where(widths > 0, shares, 0.0)
    shares = shares / jnp.sum(shares, axis=1, keepdims=True)
    middles = middles - middles[:, :1]
    mean = jnp.sum(shares * middles, axis=1, keepdims=True)
    variance = jnp.sum(shares * (jnp.square(middles - mean) + jnp.square(widths) / 12), axis=1)
    return jnp.maximum(jnp.sqrt(variance), jnp.max(widths, axis=1))
