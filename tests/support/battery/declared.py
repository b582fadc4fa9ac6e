"""A scalar bijection has the support, the box and the slopes that its class declares."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from zoo import CIRCLE, LINE, OPEN, POSITIVE, UNIT

from battery.case import AtWeights, Case, randomised
from pushforward.bijections import AbstractScalarBijection, n_parameters
from pushforward.bijections.scalar.transformer import transformer_fn
from pushforward.core.fields import emitted_leaves
from pushforward.core.scalar import scalar_parts

SUPPORTS = {
    LINE: (-np.inf, np.inf), POSITIVE: (0.0, np.inf), UNIT: (0.0, 1.0), OPEN: (-1.0, 1.0), CIRCLE: (-np.pi, np.pi),
}  # fmt: skip
SIZES = (1.0, 10.0, 100.0, 1000.0)  # of leaves


def as_declared(case: Case, w: AtWeights) -> list[str]:
    row, bijection = case.row, eqx.combine(randomised(w.trained, case.row.spread), case.bijection)
    if not all(isinstance(part, AbstractScalarBijection) for part in scalar_parts(bijection)):
        return []
    wrong = [
        f"{type(p).__name__} does not declare never_singular" for p in scalar_parts(bijection) if not p.never_singular
    ]
    wrong += wrong_slopes(bijection) if row.z_side in (LINE, CIRCLE) else []
    if all(part.elementwise for part in scalar_parts(bijection)):
        wrong += wrong_on_arrays(bijection)
    if isinstance(bijection, AbstractScalarBijection):
        wrong += wrong_box(bijection)
        if bijection.support != SUPPORTS[row.x_side] or bijection.is_circular != (row.x_side == CIRCLE):
            wrong.append(f"the support is {bijection.support}, that of the row {row.x_side}")
    return wrong


def wrong_slopes(bijection: Any) -> list[str]:
    """Leaves at which a map that declares it is never singular does not increase with a finite log-slope."""
    parts = scalar_parts(bijection)
    if not all(part.never_singular for part in parts):
        return []
    _, x, log_slope = apply_at_all_sizes(bijection, np.linspace(-2.0, 2.0, 9), inverse=False)
    is_finite = np.isfinite(x)  # points whose value overflows are not judged
    has_slope = (np.isfinite(log_slope) | ~is_finite).all(1)
    with np.errstate(invalid="ignore"):
        steps = np.where(is_finite[:, 1:] & is_finite[:, :-1], np.diff(x), 0.0)
    rounding = 4 * np.finfo(x.dtype).eps * np.where(is_finite, np.abs(x), 0).max(1, keepdims=True)
    is_increasing = any(part.is_circular for part in parts) | (steps >= -rounding).all(1)
    wrong = [f"leaves {s}: no finite log-slope" for s in np.flatnonzero(~has_slope)]
    return wrong + [f"leaves {s}: not increasing" for s in np.flatnonzero(~is_increasing)]


def wrong_box(bijection: Any) -> list[str]:
    """Leaves at which a map is not linear, or not the identity, outside the box that it declares."""
    if bijection.bound is None:
        return []
    far = bijection.bound * np.array([1.001, 3.0, 10.0])
    x, z, log_slope = apply_at_all_sizes(bijection, np.concatenate([-far, far]), inverse=True)
    left, right = np.split(np.broadcast_to(log_slope, x.shape), 2, axis=1)
    changes = np.abs([left - left[:, :1], right - right[:, :1]]).max((0, 2))
    wrong = [f"leaves {s}: not linear outside the box" for s in np.flatnonzero(changes > 1e-5)]
    is_moved = (z != x).any(1)
    if bijection.identity_outside:
        return wrong + [f"leaves {s}: not the identity outside the box" for s in np.flatnonzero(is_moved)]
    return wrong if is_moved.any() else [*wrong, "the identity outside the box at all leaves"]


def wrong_on_arrays(bijection: Any) -> list[str]:
    """Values and log-slopes on an array that are not those of its numbers one by one.

    The tolerance is for root solvers in float32; a reduction over a wrong axis differs in the first digit.
    """
    fn, weights = transformer_fn(bijection, inverse=False)
    dtype, points = jnp.result_type(float), jnp.linspace(-2.0, 2.0, 3)
    parameters = jnp.asarray(0.3 * np.random.default_rng(1).normal(size=(n_parameters(bijection), 2)), dtype)
    on_array = jax.jit(fn)(weights, parameters[:, :, None], jnp.stack([points, 2 * points]))
    one_by_one = jax.vmap(jax.vmap(lambda p, z: fn(weights, p, z), (None, 0)), (1, 0))
    expected = jax.jit(one_by_one)(parameters, jnp.stack([points, 2 * points]))
    return [
        f"{name} on an array differ from those of its numbers"
        for name, mine, theirs in zip(("values", "log-slopes"), on_array, expected, strict=True)
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=1e-3, atol=1e-4, equal_nan=True)
    ]


def apply_at_all_sizes(bijection: Any, points: np.ndarray, inverse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points, values and log-slopes (S, n) at S leaves."""
    fn, weights = transformer_fn(bijection, inverse)
    dtype, parameters = jnp.result_type(float), leaves_of_all_sizes(bijection)
    points = np.broadcast_to(points.astype(dtype), (parameters.shape[1], len(points)))
    return (points, *map(np.asarray, jax.jit(fn)(weights, jnp.asarray(parameters, dtype), points)))


def leaves_of_all_sizes(bijection: Any) -> np.ndarray:
    """Shifts (P, S, 1) of the start values: none, those to zero leaves, random ones, and all leaves at one end."""
    starts = jax.tree.leaves(eqx.filter(bijection, emitted_leaves(bijection)))
    zero = -np.concatenate([np.ravel(leaf) for leaf in starts]) if starts else np.zeros(0)
    random, n = np.random.default_rng(0), n_parameters(bijection)
    shifts = [np.zeros(n), zero]
    for size in SIZES:
        shifts += [np.full(n, size), np.full(n, -size), *(size * random.normal(size=(4, n)))]
    return np.stack(shifts, 1)[:, :, None]
