"""Anderson's acceleration of a repetition z <- fn(z), for a whole batch at once.

Under `jax.vmap` a loop of one row carries a selection of every state, history included, and shifts histories by
copying them. Here the rows of a batch take their turns together: one place of a ring is written in each, a row that has
come to its end keeps its z, and the small systems are solved element by element along the batch.

Reference: Anderson 1965; Walker & Ni 2011 (as a least-squares problem); Toth & Kelley 2015 (contractions).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pushforward.networks import vector_norm
from pushforward.numerics.trailing_batch import BatchRule, bind_rule

_MEMORY = 5
_TURNS = 100
_DAMPING = 10.0  # of the least-squares problem, in units of rounding


class Course(NamedTuple):
    """Where the turns have led.

    Attributes:
        z: the point with the least residual.
        residual: fn(z) - z.
        has_stalled: whether a repetition no longer lowered the residual.
        n_iterations: evaluations.
    """

    z: Array
    residual: Array
    has_stalled: Array
    n_iterations: Array


class _State(NamedTuple):
    z: Array  # (B, D)
    residual: Array  # (B, D): fn(z) - z
    size: Array  # (B,): its norm
    changes: Array  # (memory, B, D): what past turns did to the residual, scaled to length one
    images: Array  # (memory, B, D): what they did to fn(z), their moves and changes, on the same scale
    gram: Array  # (memory, memory, B): products of the changes with each other
    n_iterations: Array  # (B,)
    is_plain: Array  # (B,): whether the next turn is a repetition
    has_stalled: Array  # (B,)
    is_open: Array  # (B,)
    turn: Array


def accelerate(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, rate: Array, norm: float, noise: float
) -> Course:
    """Turns of one row (D,) from `start`, until |fn(z) - z| <= noise (|z| + |start|) or nothing is gained any more.

    The candidate (the combination of the last steps whose residuals nearly cancel) is kept where the residual falls;
    where it did not fall by the factor `rate`, the next turn is an ordinary repetition, which must. No turn is made
    where the rate is not below one. Not differentiable.
    """
    leaves, structure = jax.tree.flatten(weights)
    rule = _Rule(fn, structure, norm, noise, start, None)
    return Course(*bind_rule(rule, start, rate, *map(jnp.asarray, leaves)))


class _Rule(BatchRule):
    """The turns of one row, or of a batch whose leaves are mapped along `axes`."""

    def __init__(
        self, fn: Callable, structure: Any, norm: float, noise: float, start: Any, axes: tuple[int | None, ...] | None
    ) -> None:
        self.fn, self.structure, self.norm, self.noise, self.axes = fn, structure, norm, noise, axes
        rows = start.shape[:-1]
        self.avals = [
            jax.core.ShapedArray(start.shape, start.dtype), jax.core.ShapedArray(start.shape, start.dtype),
            jax.core.ShapedArray(rows, jnp.bool_), jax.core.ShapedArray(rows, jnp.int32),
        ]  # fmt: skip

    def __call__(self, *leaves: Any) -> list[Array]:
        start, rate, *weights = leaves

        def one(z: Array, *leaves: Any) -> Array:
            return self.fn(jax.tree.unflatten(self.structure, leaves), z)

        if self.axes is None:
            found = _turns(lambda z: one(z[0], *weights)[None], start[None], rate, self.norm, self.noise)
            return [part[0] for part in found]
        rows = jax.vmap(one, (0, *self.axes))
        return list(_turns(lambda z: rows(z, *weights), start, rate, self.norm, self.noise))

    def batch(self, args: Any, axes: Any) -> tuple[list[Any], list[int]]:
        if self.axes is not None:
            return jax.vmap(self, axes)(*args), [0] * len(self.avals)
        size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
        start, rate, *leaves = args
        start = jnp.broadcast_to(start, (size, *start.shape)) if axes[0] is None else jnp.moveaxis(start, axes[0], 0)
        rate = rate if axes[1] is None else jnp.moveaxis(rate, axes[1], 0)
        rule = _Rule(self.fn, self.structure, self.norm, self.noise, start, tuple(axes[2:]))
        return bind_rule(rule, start, rate, *leaves), [0] * len(self.avals)


def _turns(fn: Callable[[Array], Array], start: Array, rate: Array, norm: float, noise: float) -> Course:
    """The turns of rows (B, D); `rate` is a number or (B,)."""
    n_rows, n = start.shape
    memory = min(_MEMORY, n)

    def size(rows: Array, norm: float = norm) -> Array:
        return jax.vmap(lambda row: vector_norm(row, norm))(rows)

    start_size = size(start)

    def is_far(z: Array, residual_size: Array) -> Array:
        return ~(residual_size <= noise * (size(z) + start_size))

    def turn(state: _State) -> _State:
        plain = state.z + state.residual
        candidate = plain - jnp.where(state.is_plain[:, None], 0, _correction(state))
        candidate = jnp.where(state.is_open[:, None], candidate, state.z)
        residual = fn(candidate) - candidate
        after = size(residual)
        is_better = after < state.size
        change = residual - state.residual
        length = size(change, 2.0)
        scale_down = jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)[:, None]
        image, change = scale_down * (candidate - state.z + change), scale_down * change
        place = state.turn % memory
        changes = jax.lax.dynamic_update_index_in_dim(state.changes, change, place, 0)
        products = jnp.stack([jnp.sum(changes[i] * change, 1) for i in range(memory)])
        gram = jax.lax.dynamic_update_index_in_dim(state.gram, products, place, 0)
        z = jnp.where(is_better[:, None], candidate, state.z)
        residual_size = jnp.where(is_better, after, state.size)
        has_stalled = state.has_stalled | (state.is_open & state.is_plain & ~is_better)
        return _State(
            z,
            jnp.where(is_better[:, None], residual, state.residual),
            residual_size,
            changes,
            jax.lax.dynamic_update_index_in_dim(state.images, image, place, 0),
            jax.lax.dynamic_update_index_in_dim(gram, products, place, 1),
            state.n_iterations + state.is_open,
            ~state.is_plain & ~(after <= rate * state.size),
            has_stalled,
            state.is_open & ~has_stalled & is_far(z, residual_size),
            state.turn + 1,
        )

    residual = fn(start) - start
    residual_size, nothing = size(residual), jnp.zeros((memory, n_rows, n), start.dtype)
    none, counts = jnp.zeros((n_rows,), bool), jnp.zeros((n_rows,), jnp.int32)
    first = _State(
        start, residual, residual_size, nothing, nothing, jnp.zeros((memory, memory, n_rows), start.dtype), counts,
        ~none, none, is_far(start, residual_size) & (rate < 1), jnp.zeros((), jnp.int32),
    )  # fmt: skip
    last = jax.lax.while_loop(lambda state: jnp.any(state.is_open) & (state.turn < _TURNS), turn, first)
    return Course(last.z, last.residual, last.has_stalled, last.n_iterations)


def _correction(state: _State) -> Array:
    """What Anderson's candidate takes off the repetition: past moves, weighted so that their residuals cancel best."""
    damping = _DAMPING * float(jnp.finfo(state.z.dtype).eps)
    right = [jnp.sum(change * state.residual, 1) for change in state.changes]
    weights = _solve([list(row) for row in state.gram], right, damping)
    return sum((w[:, None] * image for w, image in zip(weights, state.images, strict=True)), jnp.zeros_like(state.z))


def _solve(rows: list[list[Array]], right: list[Array], damping: float) -> list[Array]:
    """Small symmetric systems, damped, by elimination written out: each number is an array along the batch."""
    n = len(right)
    for i in range(n):
        rows[i][i] = rows[i][i] + damping
    for i in range(n):
        pivot = jnp.maximum(rows[i][i], damping)
        for j in range(i + 1, n):
            factor = rows[j][i] / pivot
            rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
            right[j] = right[j] - factor * right[i]
    found: list[Array] = [right[0]] * n
    for i in reversed(range(n)):
        known = sum((rows[i][j] * found[j] for j in range(i + 1, n)), jnp.zeros_like(right[i]))
        found[i] = (right[i] - known) / jnp.maximum(rows[i][i], damping)
    return found
