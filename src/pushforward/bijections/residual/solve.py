"""Fixed points of contractions, fast: Anderson acceleration that never does worse than repetition, then Newton.

    z = fn(weights, z),   |fn(a) - fn(b)| <= rate |a - b|   in the norm `norm`

A turn takes one evaluation. Anderson's candidate (the combination of the last steps whose residuals nearly cancel) is
kept where the residual |fn(z) - z| falls; where it did not fall by the factor `rate`, the next turn is an ordinary
repetition, which must: so two turns gain at least what one repetition gains. It ends when the residual is what rounding
of fn alone may leave, or when a repetition no longer lowers it. Rows still away after a hundred turns go on with
Newton-Krylov as long as a step gains a digit, and then with plain repetition, which needs log(eps) / log(rate) turns at
worst (a rotation, whose steps no combination shortens). The distance from the fixed point is at most
residual / (1 - rate); the last image fn(z), which is known by then, is nearer than z itself by the factor `rate`.

Reference: Anderson 1965; Walker & Ni 2011 (as a least-squares problem); Toth & Kelley 2015 (contractions); Knoll &
Keyes 2004 (Newton-Krylov); derivatives at the solution: implicit function theorem.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pushforward.bijections.residual.anderson import accelerate
from pushforward.bijections.residual.newton import newton_step
from pushforward.networks import vector_norm
from pushforward.numerics.fixed_point import FixedPointProblem, implicit_solution

_NEWTON_TURNS, _REPETITIONS = 20, 100_000
_ROUNDING = 100.0  # units in the last place, times sqrt(D), that a residual may keep
_NOISE = 0.5  # units in the last place of |z| + |start| that rounding of fn leaves: a search that has come there ends


class Solution(NamedTuple):
    """A fixed point and how it was found.

    Attributes:
        value: z, NaN where it was not found.
        n_iterations: evaluations by Anderson acceleration and by repetition.
        n_newton: Newton steps between them.
        residual: |fn(z) - z| in the norm of the contraction.
        error_bound: what |z - fixed point| cannot exceed, residual / (1 - rate).
        is_converged: whether the residual is of the size of rounding.
    """

    value: Float[Array, "size"]
    n_iterations: Int[Array, ""]
    n_newton: Int[Array, ""]
    residual: Float[Array, ""]
    error_bound: Float[Array, ""]
    is_converged: Bool[Array, ""]


def fixed_point_of(fn: Callable[[Any, Array], Array], weights: Any, start: Array, rate: Array, norm: float) -> Solution:
    """The fixed point of fn, a contraction of vectors (D,), differentiable in `weights`.

    No turn is made where the rate is not below one. Derivatives of every order and mode are those of the implicit
    function (`implicit_solution`); their linear systems have the Jacobian of fn, which contracts as fn does, and are
    solved by the same search, to rounding. NaN where that does not settle.
    """

    def search(weights: Any, extras: tuple[Array, Array]) -> Solution:
        return _search(fn, weights, *extras, norm)

    def solve(affine: Callable, saved: Any, right: Array, extras: tuple[Array, Array], is_transposed: bool) -> Array:
        return _search(affine, saved, right, extras[1], _dual(norm) if is_transposed else norm).value

    return Solution(*implicit_solution(FixedPointProblem(fn, search, solve), weights, (start, rate)))


def _dual(norm: float) -> float:
    """The norm in which the transposed Jacobian contracts."""
    return {1.0: float("inf"), 2.0: 2.0}.get(norm, 1.0)


def _search(fn: Callable[[Any, Array], Array], weights: Any, start: Array, rate: Array, norm: float) -> Solution:
    eps = float(jnp.finfo(start.dtype).eps)

    def size(residual: Array) -> Array:
        return vector_norm(residual, norm)

    def scale(z: Array) -> Array:
        return jnp.max(jnp.abs(z)) + jnp.max(jnp.abs(start)) + 1

    def is_converged(z: Array, residual: Array) -> Array:
        return size(residual) <= _ROUNDING * eps * start.size**0.5 * scale(z)

    def is_there(z: Array, residual: Array) -> Array:
        return size(residual) <= _NOISE * eps * (size(z) + size(start))

    def again(z: Array) -> Array:
        return fn(weights, z)

    course = accelerate(fn, weights, start, rate, norm, _NOISE * eps)
    left_over = ~is_there(course.z, course.residual) & ~(course.has_stalled & is_converged(course.z, course.residual))
    left_over = left_over & (rate < 1)

    def newton(state: tuple[Array, ...]) -> tuple[Array, ...]:
        z, residual, n, _ = state
        candidate = z + newton_step(again, z, residual)
        after = again(candidate) - candidate
        before, now = size(residual), size(after)
        return jnp.where(now < before, candidate, z), jnp.where(now < before, after, residual), n + 1, now < before / 10

    def is_fast(state: tuple[Array, ...]) -> Array:
        z, residual, n, gained = state
        return left_over & gained & (n < _NEWTON_TURNS) & ~is_there(z, residual)

    nothing_yet = jnp.zeros((), jnp.int32)
    z, residual, n_newton, _ = jax.lax.while_loop(
        is_fast, newton, (course.z, course.residual, nothing_yet, jnp.ones((), bool))
    )

    def repeat(state: tuple[Array, ...]) -> tuple[Array, ...]:
        z, residual, best, least, n, since = state
        z = z + residual
        residual = again(z) - z
        is_better = size(residual) < size(least)
        best, least = jnp.where(is_better, z, best), jnp.where(is_better, residual, least)
        return z, residual, best, least, n + 1, jnp.where(is_better, 0, since + 1)

    def is_far(state: tuple[Array, ...]) -> Array:
        _, _, best, least, n, since = state
        is_moving = since < 1 / (1 - rate)  # in so many turns a residual above rounding falls by a factor e
        return left_over & is_moving & (n < _REPETITIONS) & ~is_there(best, least)

    outset = z, residual, z, residual, nothing_yet, nothing_yet
    *_, z, residual, n_more, _ = jax.lax.while_loop(is_far, repeat, outset)
    settled, left = is_converged(z, residual) & (rate < 1), size(residual)
    value, bound = jnp.where(settled, z + residual, jnp.nan), left / jnp.maximum(1 - rate, 0)
    return Solution(value, course.n_iterations + n_more, n_newton, left, bound, settled)
