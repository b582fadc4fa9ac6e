"""Anderson acceleration of the fixed-point iteration z <- fn(z), for a batch.

Under `jax.vmap`, a loop of one sample selects between all old and new states in every iteration, history included. Here
the samples of a batch iterate together: each iteration overwrites one slot of a ring buffer, a finished sample keeps
its z, and the small linear systems are solved element by element along the batch.

Reference: Anderson 1965; Walker & Ni 2011 (as a least-squares problem); Toth & Kelley 2015 (contractions).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import vector_norm
from pushforward.numerics.trailing_batch import BatchRule, bind_rule

_N_HISTORY = 5
_MAX_ITERATIONS = 100
_DAMPING = 10.0  # of the least-squares problem, in units of rounding


class AndersonResult(NamedTuple):
    """Result of Anderson acceleration.

    Attributes:
        z: the point with the smallest residual.
        residual: fn(z) - z.
        has_stalled: whether a plain iteration no longer reduced the residual.
        n_iterations: number of evaluations.
    """

    z: Array
    residual: Array
    has_stalled: Array
    n_iterations: Array


class _SolverState(NamedTuple):
    z: Array  # (B, D)
    residual: Array  # (B, D): fn(z) - z
    residual_norm: Array  # (B,)
    residual_changes: Array  # (history, B, D): changes of the residual in past iterations, scaled to length one
    value_changes: Array  # (history, B, D): changes of fn(z), on the same scale
    gram: Array  # (history, history, B): inner products of the residual changes
    n_iterations: Array  # (B,)
    is_plain: Array  # (B,): whether the next iteration is a plain one
    has_stalled: Array  # (B,)
    is_active: Array  # (B,)
    iteration: Array


def accelerate(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, rate: Array, norm: float, noise: float
) -> AndersonResult:
    """Iterations of one sample (D,) from `start`, until |fn(z) - z| <= noise (|z| + |start|) or they stall.

    Anderson's candidate (the combination of the last steps whose residuals nearly cancel) is accepted if it reduces the
    residual. If it does not reduce it by the factor `rate`, the next iteration is a plain one, which must. There are no
    iterations if the rate is not below one. Not differentiable.
    """
    leaves, structure = jax.tree.flatten(weights)
    rule = _Rule(fn, structure, norm, noise, start, None)
    return AndersonResult(*bind_rule(rule, start, rate, *map(jnp.asarray, leaves)))


class _Rule(BatchRule):
    """The iterations of one sample, or of a batch whose leaves are mapped along `axes`."""

    def __init__(
        self, fn: Callable, structure: Any, norm: float, noise: float, start: Any, axes: tuple[int | None, ...] | None
    ) -> None:
        self.fn, self.structure, self.norm, self.noise, self.axes = fn, structure, norm, noise, axes
        batch_shape = start.shape[:-1]
        self.avals = [
            jax.core.ShapedArray(start.shape, start.dtype), jax.core.ShapedArray(start.shape, start.dtype),
            jax.core.ShapedArray(batch_shape, jnp.bool_), jax.core.ShapedArray(batch_shape, jnp.int32),
        ]  # fmt: skip

    def __call__(self, *leaves: Any) -> list[Array]:
        start, rate, *weights = leaves

        def one(z: Array, *leaves: Any) -> Array:
            return self.fn(jax.tree.unflatten(self.structure, leaves), z)

        if self.axes is None:
            result = _iterate(lambda z: one(z[0], *weights)[None], start[None], rate, self.norm, self.noise)
            return [part[0] for part in result]
        batched = jax.vmap(one, (0, *self.axes))
        return list(_iterate(lambda z: batched(z, *weights), start, rate, self.norm, self.noise))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        if self.axes is not None:
            return jax.vmap(self, axes)(*args), [0] * len(self.avals)
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        start, rate, *leaves = args
        start = jnp.broadcast_to(start, (size, *start.shape)) if axes[0] is None else jnp.moveaxis(start, axes[0], 0)
        rate = rate if axes[1] is None else jnp.moveaxis(rate, axes[1], 0)
        rule = _Rule(self.fn, self.structure, self.norm, self.noise, start, tuple(axes[2:]))
        return bind_rule(rule, start, rate, *leaves), [0] * len(self.avals)


def _iterate(fn: Callable[[Array], Array], start: Array, rate: Array, norm: float, noise: float) -> AndersonResult:
    """The iterations of a batch (B, D); `rate` is a number or (B,)."""
    n_samples, n = start.shape
    n_history = min(_N_HISTORY, n)

    def norms(vectors: Array, norm: float = norm) -> Array:
        return jax.vmap(lambda vector: vector_norm(vector, norm))(vectors)

    start_norm = norms(start)

    def is_far(z: Array, residual_norm: Array) -> Array:
        return ~(residual_norm <= noise * (norms(z) + start_norm))

    def iterate(state: _SolverState) -> _SolverState:
        plain = state.z + state.residual
        candidate = plain - jnp.where(state.is_plain[:, None], 0, _correction(state))
        candidate = jnp.where(state.is_active[:, None], candidate, state.z)
        residual = fn(candidate) - candidate
        candidate_norm = norms(residual)
        is_better = candidate_norm < state.residual_norm
        change = residual - state.residual
        length = norms(change, 2.0)
        inverse_length = jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)[:, None]
        value_change, change = inverse_length * (candidate - state.z + change), inverse_length * change
        slot = state.iteration % n_history
        residual_changes = jax.lax.dynamic_update_index_in_dim(state.residual_changes, change, slot, 0)
        products = jnp.stack([jnp.sum(residual_changes[i] * change, 1) for i in range(n_history)])
        gram = jax.lax.dynamic_update_index_in_dim(state.gram, products, slot, 0)
        z = jnp.where(is_better[:, None], candidate, state.z)
        residual_norm = jnp.where(is_better, candidate_norm, state.residual_norm)
        has_stalled = state.has_stalled | (state.is_active & state.is_plain & ~is_better)
        return _SolverState(
            z,
            jnp.where(is_better[:, None], residual, state.residual),
            residual_norm,
            residual_changes,
            jax.lax.dynamic_update_index_in_dim(state.value_changes, value_change, slot, 0),
            jax.lax.dynamic_update_index_in_dim(gram, products, slot, 1),
            state.n_iterations + state.is_active,
            ~state.is_plain & ~(candidate_norm <= rate * state.residual_norm),
            has_stalled,
            state.is_active & ~has_stalled & is_far(z, residual_norm),
            state.iteration + 1,
        )

    residual = fn(start) - start
    residual_norm, history = norms(residual), jnp.zeros((n_history, n_samples, n), start.dtype)
    none, counts = jnp.zeros((n_samples,), bool), jnp.zeros((n_samples,), jnp.int32)
    first = _SolverState(
        start, residual, residual_norm, history, history, jnp.zeros((n_history, n_history, n_samples), start.dtype),
        counts, ~none, none, is_far(start, residual_norm) & (rate < 1), jnp.zeros((), jnp.int32),
    )  # fmt: skip
    last = jax.lax.while_loop(
        lambda state: jnp.any(state.is_active) & (state.iteration < _MAX_ITERATIONS), iterate, first
    )
    return AndersonResult(last.z, last.residual, last.has_stalled, last.n_iterations)


def _correction(state: _SolverState) -> Array:
    """Plain iterate minus Anderson's: past changes, weighted so that their residuals cancel best."""
    damping = _DAMPING * float(jnp.finfo(state.z.dtype).eps)
    right = [jnp.sum(change * state.residual, 1) for change in state.residual_changes]
    weights = _solve([list(row) for row in state.gram], right, damping)
    return sum(
        (w[:, None] * change for w, change in zip(weights, state.value_changes, strict=True)), jnp.zeros_like(state.z)
    )


def _solve(rows: list[list[Array]], right: list[Array], damping: float) -> list[Array]:
    """Damped small symmetric systems, by unrolled elimination; every entry is an array along the batch."""
    n = len(right)
    for i in range(n):
        rows[i][i] = rows[i][i] + damping
    for i in range(n):
        pivot = jnp.maximum(rows[i][i], damping)
        for j in range(i + 1, n):
            factor = rows[j][i] / pivot
            rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
            right[j] = right[j] - factor * right[i]
    solution: list[Array] = [right[0]] * n
    for i in reversed(range(n)):
        known = sum((rows[i][j] * solution[j] for j in range(i + 1, n)), jnp.zeros_like(right[i]))
        solution[i] = (right[i] - known) / jnp.maximum(rows[i][i], damping)
    return solution
