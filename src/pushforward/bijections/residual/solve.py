"""Fixed points of contractions: safeguarded Anderson acceleration, then Newton-Krylov, then plain iteration.

    z = fn(weights, z),   |fn(a) - fn(b)| <= rate |a - b|   in the norm `norm`

An iteration takes one evaluation. Anderson's candidate (the combination of the last steps whose residuals nearly
cancel) is accepted if it reduces the residual |fn(z) - z|. If it does not reduce it by the factor `rate`, the next
iteration is a plain one, which must: two iterations gain at least as much as one plain iteration. They end when the
residual is of the size of the rounding of fn, or when a plain iteration no longer reduces it. Samples that have not
converged after a hundred iterations continue with Newton-Krylov while a step gains a digit, and then with plain
iterations, of which they need log(eps) / log(rate) at worst (for a rotation, which no combination accelerates). The
distance from the fixed point is at most residual / (1 - rate); the last value fn(z) is nearer than z by the factor
`rate`.

Reference: Anderson 1965; Walker & Ni 2011 (as a least-squares problem); Toth & Kelley 2015 (contractions); Knoll &
Keyes 2004 (Newton-Krylov); derivatives at the solution: implicit function theorem.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import gmres
from jaxtyping import Array, Bool, Float, Int

from pushforward.bijections.residual.anderson import accelerate
from pushforward.networks import vector_norm
from pushforward.numerics.fixed_point import FixedPointProblem, implicit_solution

_MAX_NEWTON_STEPS, _MAX_PLAIN_ITERATIONS = 20, 100_000
_KRYLOV_DIM = 60
_ROUNDING = 100.0  # tolerance of the residual, in units in the last place, times sqrt(D)
_NOISE = 0.5  # rounding of fn, in units in the last place of |z| + |start|: iterations end there


class Solution(NamedTuple):
    """A fixed point and the statistics of its solver.

    Attributes:
        value: z, NaN if not converged.
        n_iterations: number of Anderson and plain iterations.
        n_newton: number of Newton steps.
        residual: |fn(z) - z| in the norm of the contraction.
        error_bound: bound of |z - fixed point|, residual / (1 - rate).
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

    There are no iterations if the rate is not below one. Derivatives of every order and mode are implicit
    (`implicit_solution`); their linear systems have the Jacobian of fn, which contracts as fn does, and are solved
    by the same solver, to rounding. NaN if it does not converge.
    """

    def search(weights: Any, extras: tuple[Array, Array]) -> Solution:
        return _search(fn, weights, *extras, norm)

    def solve(affine: Callable, saved: Any, right: Array, extras: tuple[Array, Array], is_transposed: bool) -> Array:
        return _search(affine, saved, right, extras[1], _dual(norm) if is_transposed else norm).value

    return Solution(*implicit_solution(FixedPointProblem(fn, search, solve), weights, (start, rate)))


def _dual(norm: float) -> float:
    """The norm in which the transposed Jacobian contracts."""
    return {1.0: float("inf"), 2.0: 2.0}.get(norm, 1.0)


def _newton_step(fn: Callable[[Array], Array], z: Array, residual: Array) -> Float[Array, "size"]:
    """The d in a Krylov space of up to 60 dimensions that solves (I - J) d = residual best, J = dfn/dz."""
    _, push = jax.linearize(fn, z)
    size = min(z.size, _KRYLOV_DIM)
    return gmres(lambda d: d - push(d), residual, tol=0.0, restart=size, maxiter=1, solve_method="batched")[0]


def _search(fn: Callable[[Any, Array], Array], weights: Any, start: Array, rate: Array, norm: float) -> Solution:
    eps = float(jnp.finfo(start.dtype).eps)

    def size(vector: Array) -> Array:
        return vector_norm(vector, norm)

    def scale(z: Array) -> Array:
        return jnp.max(jnp.abs(z)) + jnp.max(jnp.abs(start)) + 1

    def is_converged(z: Array, residual: Array) -> Array:
        return size(residual) <= _ROUNDING * eps * start.size**0.5 * scale(z)

    def is_at_rounding(z: Array, residual: Array) -> Array:
        return size(residual) <= _NOISE * eps * (size(z) + size(start))

    def iterate(z: Array) -> Array:
        return fn(weights, z)

    anderson = accelerate(fn, weights, start, rate, norm, _NOISE * eps)
    has_stopped = anderson.has_stalled & is_converged(anderson.z, anderson.residual)
    is_unfinished = ~is_at_rounding(anderson.z, anderson.residual) & ~has_stopped & (rate < 1)

    def newton(state: tuple[Array, ...]) -> tuple[Array, ...]:
        z, residual, n, _ = state
        candidate = z + _newton_step(iterate, z, residual)
        new_residual = iterate(candidate) - candidate
        old_size, new_size = size(residual), size(new_residual)
        is_better = new_size < old_size
        z, residual = jnp.where(is_better, candidate, z), jnp.where(is_better, new_residual, residual)
        return z, residual, n + 1, new_size < old_size / 10

    def is_fast(state: tuple[Array, ...]) -> Array:
        z, residual, n, has_gained = state
        return is_unfinished & has_gained & (n < _MAX_NEWTON_STEPS) & ~is_at_rounding(z, residual)

    zero = jnp.zeros((), jnp.int32)
    z, residual, n_newton, _ = jax.lax.while_loop(
        is_fast, newton, (anderson.z, anderson.residual, zero, jnp.ones((), bool))
    )

    def plain(state: tuple[Array, ...]) -> tuple[Array, ...]:
        z, residual, best_z, best_residual, n, n_stalled = state
        z = z + residual
        residual = iterate(z) - z
        is_better = size(residual) < size(best_residual)
        best_z, best_residual = jnp.where(is_better, z, best_z), jnp.where(is_better, residual, best_residual)
        return z, residual, best_z, best_residual, n + 1, jnp.where(is_better, 0, n_stalled + 1)

    def is_far(state: tuple[Array, ...]) -> Array:
        _, _, best_z, best_residual, n, n_stalled = state
        # a residual above rounding falls by a factor e within 1 / (1 - rate) iterations
        is_improving = n_stalled < 1 / (1 - rate)
        return is_unfinished & is_improving & (n < _MAX_PLAIN_ITERATIONS) & ~is_at_rounding(best_z, best_residual)

    first = z, residual, z, residual, zero, zero
    *_, z, residual, n_more, _ = jax.lax.while_loop(is_far, plain, first)
    has_converged, residual_size = is_converged(z, residual) & (rate < 1), size(residual)
    value, bound = jnp.where(has_converged, z + residual, jnp.nan), residual_size / jnp.maximum(1 - rate, 0)
    return Solution(value, anderson.n_iterations + n_more, n_newton, residual_size, bound, has_converged)
