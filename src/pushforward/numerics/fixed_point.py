"""Fixed points by iteration, with implicit derivatives of every order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pushforward.numerics.tangents import replace_where, select_where, with_tangents


class FixedPointProblem(NamedTuple):
    """A fixed-point equation x = fn(weights, x), and the solvers of the equation and of its linearisation.

    The functions must not close over tracers.

    Attributes:
        fn: called as fn(weights, x).
        search: search(weights, extras) -> (x, *others), arrays; only x has derivatives.
        solve: solve(affine, saved, right, extras, is_transposed) -> u with u = affine(saved, u) = right + A u, where A
            is the Jacobian of fn in x or its transpose. NaN if it does not converge.
    """

    fn: Callable[[Any, Array], Array]
    search: Callable[[Any, Any], tuple[Array, ...]]
    solve: Callable[[Callable[[Any, Array], Array], Any, Array, Any, bool], Array]


def implicit_solution(problem: FixedPointProblem, weights: Any, extras: Any = ()) -> list[Array]:
    """The results of the search, the first of which, x, is differentiable in `weights` in every mode and order.

        dx = (I - J)^-1 (dfn/dweights) dweights,   J = dfn/dx at x

    Derivatives of x in this rule follow the rule again, so no order differentiates the search. Reverse mode solves
    u = g + J^T u and then computes the gradient of one evaluation of fn; weights that a batch shares get their gradient
    in one product over the batch. fn needs only reverse-mode derivatives.

    Args:
        problem: the equation and its solvers.
        weights: arrays.
        extras: inputs of the solvers on which the solution does not depend, such as an initial guess.
    """
    leaves, structure = jax.tree.flatten((weights, extras))
    n_weights = len(jax.tree.leaves(weights))

    def run(*leaves: Array) -> list[Array]:
        return list(problem.search(*jax.tree.unflatten(structure, leaves)))

    def tangent(leaves: list[Array], outs: list[Array], nonzero: tuple[bool, ...], dots: list[Array]) -> list[Array]:
        x, (weights, extras) = outs[0], jax.tree.unflatten(structure, leaves)
        nonzero = nonzero[:n_weights]
        if not any(nonzero):
            return []

        def at_weights(weights: list[Array]) -> Array:
            all_leaves = [*replace_where(nonzero, leaves[:n_weights], weights), *leaves[n_weights:]]
            return problem.fn(jax.tree.unflatten(structure, all_leaves)[0], x)

        right = _tangent_map(at_weights, select_where(nonzero, leaves[:n_weights]))(dots[: sum(nonzero)])
        _, pull = jax.vjp(lambda x: problem.fn(weights, x), x)
        return [
            jax.lax.custom_linear_solve(
                lambda v: v - _push(pull, v),
                right,
                lambda _, right: problem.solve(_affine, (pull, right), right, extras, False),
                lambda _, right: problem.solve(_adjoint, (pull, right), right, extras, True),
            )
        ]

    return with_tangents(run, tangent, *map(jnp.asarray, leaves))


def fixed_point(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, tolerance: float, max_iterations: int
) -> tuple[Float[Array, "*shape"], Int[Array, ""], Bool[Array, ""]]:
    """x = fn(weights, x) by iteration of fn, until no entry changes by more than `tolerance` (1 + |x|).

    With tolerance 0 it stops when two iterates are bitwise equal. Derivatives are implicit (`implicit_solution`). Their
    linear systems are solved by the same iteration, with the tolerance relative to the largest entry of the right-hand
    side, in at most max(max_iterations, size of x + 1) iterations (enough for a triangular Jacobian); NaN if that does
    not converge. Only `weights` have gradients: the solution does not depend on `start`.

    Returns:
        x, the number of iterations, and whether it converged; else x is the last iterate.
    """

    def search(weights: Any, start: Array) -> tuple[Array, ...]:
        return _iterate(lambda x: fn(weights, x), start, tolerance, max_iterations)

    def solve(affine: Callable, saved: Any, right: Array, start: Array, is_transposed: bool) -> Array:
        pull, _ = saved
        size = jnp.max(jnp.abs(right), initial=0.0)
        size = jnp.where((size > 0) & jnp.isfinite(size), size, 1.0)
        unit = right / size  # the tolerance is relative to the right-hand side
        max_n = max(max_iterations, right.size + 1)
        solution, _, converged = _iterate(lambda u: affine((pull, unit), u), unit, tolerance, max_n)
        return jnp.where(converged, size * solution, jnp.nan)

    x, n, converged = implicit_solution(FixedPointProblem(fn, search, solve), weights, start)
    return x, n, converged


def _iterate(
    step: Callable[[Array], Array], start: Array, tolerance: float, max_iterations: int
) -> tuple[Array, Array, Array]:
    # The comparison reads two stored iterates. The compiler may recompute a value for the comparison with other
    # rounding, and the iteration would then never converge.
    def is_converged(x: Array, previous: Array) -> Array:
        # equal infinite entries have converged; NaN never has
        return jnp.all((jnp.abs(x - previous) <= tolerance * (1 + jnp.abs(previous))) | (x == previous))

    def is_running(state: tuple[Array, Array, Array]) -> Array:
        x, previous, n = state
        return (n < max_iterations) & ((n == 0) | ~is_converged(x, previous))

    def iteration(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, n = state
        return step(x), x, n + 1

    x, previous, n = jax.lax.while_loop(is_running, iteration, (start, start, jnp.zeros((), jnp.int32)))
    return x, n, (n > 0) & is_converged(x, previous)


def _tangent_map(fn: Callable[[Any], Array], point: Any) -> Callable[[Any], Array]:
    """The tangent map of fn at a point, as the transpose of its pullback, so that fn may use `jax.custom_vjp`."""
    _, pull = jax.vjp(fn, point)
    out = jax.eval_shape(fn, point)
    return lambda dot: jax.linear_transpose(lambda g: pull(g)[0], out)(dot)[0]


def _push(pull: Callable, v: Array) -> Array:
    """J v, from the pullback u -> J^T u."""
    return jax.linear_transpose(lambda g: pull(g)[0], v)(v)[0]


def _affine(saved: tuple[Callable, Array], v: Array) -> Array:
    pull, right = saved
    return right + _push(pull, v)


def _adjoint(saved: tuple[Callable, Array], u: Array) -> Array:
    pull, right = saved
    return right + pull(u)[0]
