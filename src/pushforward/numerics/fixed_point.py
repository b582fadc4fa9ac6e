"""Fixed points by repetition, differentiated at the solution instead of through the repetitions, to every order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pushforward.numerics.tangents import merged, moving, with_tangents


class Problem(NamedTuple):
    """x = fn(weights, x), and how this and its linearisation are solved.

    The functions must not close over traced values.

    Attributes:
        fn: called as fn(weights, x).
        search: search(weights, extras) -> (x, *others), arrays; only x has a derivative.
        solve: solve(affine, saved, right, extras, is_transposed) -> u with u = affine(saved, u) = right + A u, A being
            the Jacobian of fn in x or its transpose. NaN where it is not found.
    """

    fn: Callable[[Any, Array], Array]
    search: Callable[[Any, Any], tuple[Array, ...]]
    solve: Callable[[Callable[[Any, Array], Array], Any, Array, Any, bool], Array]


def implicit(problem: Problem, weights: Any, extras: Any = ()) -> list[Array]:
    """What the search returns, its first result x differentiable in `weights`, in every mode and to every order.

        dx = (I - J)^-1 (dfn/dweights) dweights,   J = dfn/dx at x

    The rule holds at x, which is itself differentiated by it; so no order needs the derivative of the search. Reverse
    mode solves u = g + J^T u and then takes the gradient of one evaluation of fn: weights that a batch shares get
    theirs in one product over the batch. fn needs derivatives in reverse mode alone.

    Args:
        problem: the equation and its solvers.
        weights: arrays.
        extras: arrays that the solvers read and the solution does not depend on, such as a start.
    """
    leaves, structure = jax.tree.flatten((weights, extras))
    n_weights = len(jax.tree.leaves(weights))

    def run(*leaves: Array) -> list[Array]:
        return list(problem.search(*jax.tree.unflatten(structure, leaves)))

    def tangent(leaves: list[Array], outs: list[Array], moves: tuple[bool, ...], dots: list[Array]) -> list[Array]:
        x, (weights, extras) = outs[0], jax.tree.unflatten(structure, leaves)
        of_weights = moves[:n_weights]
        if not any(of_weights):
            return []

        def at_weights(weights: list[Array]) -> Array:
            all_leaves = merged(leaves, (*of_weights, *[False] * (len(moves) - n_weights)), weights)
            return problem.fn(jax.tree.unflatten(structure, all_leaves)[0], x)

        right = _tangent_map(at_weights, moving(leaves[:n_weights], of_weights))(dots[: sum(of_weights)])
        _, pull = jax.vjp(lambda x: problem.fn(weights, x), x)
        return [
            jax.lax.custom_linear_solve(
                lambda v: v - _pushed(pull, v),
                right,
                lambda _, right: problem.solve(_affine, (pull, right), right, extras, False),
                lambda _, right: problem.solve(_adjoint, (pull, right), right, extras, True),
            )
        ]

    return with_tangents(run, tangent, *map(jnp.asarray, leaves))


def fixed_point(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, tolerance: float, max_iterations: int
) -> tuple[Float[Array, "*shape"], Int[Array, ""], Bool[Array, ""]]:
    """x with x = fn(weights, x), from x <- fn(weights, x) until no entry moves by more than `tolerance` (1 + |x|).

    With tolerance 0 it stops when two sweeps agree in every bit. Derivatives are those of the implicit function
    (`implicit`), their linear systems solved in the same way, to the same tolerance relative to the largest entry of
    the right-hand side, in at most as many sweeps or one more than x has entries (a triangular Jacobian needs no more);
    NaN where that does not suffice. They reach `weights` alone: the solution does not depend on `start`.

    Returns:
        x, the number of sweeps, and whether it stopped by itself: after `max_iterations` the last iterate is returned.
    """

    def search(weights: Any, start: Array) -> tuple[Array, ...]:
        return _repeat(lambda x: fn(weights, x), start, tolerance, max_iterations)

    def solve(affine: Callable, saved: Any, right: Array, start: Array, is_transposed: bool) -> Array:
        pull, _ = saved
        size = jnp.max(jnp.abs(right), initial=0.0)
        size = jnp.where((size > 0) & jnp.isfinite(size), size, 1.0)
        unit = right / size  # a system of a small right-hand side is no nearer to its solution
        sweeps = max(max_iterations, right.size + 1)
        found, _, settled = _repeat(lambda u: affine((pull, unit), u), unit, tolerance, sweeps)
        return jnp.where(settled, size * found, jnp.nan)

    x, n, settled = implicit(Problem(fn, search, solve), weights, start)
    return x, n, settled


def _repeat(
    step: Callable[[Array], Array], start: Array, tolerance: float, max_iterations: int
) -> tuple[Array, Array, Array]:
    # Both iterates are kept, and compared as they are kept: a compiler may compute a value anew for the comparison,
    # rounded otherwise, and a sweep that has settled would then never seem to.
    def is_converged(x: Array, before: Array) -> Array:
        # an infinite entry that stays is settled too; NaN never is
        return jnp.all((jnp.abs(x - before) <= tolerance * (1 + jnp.abs(before))) | (x == before))

    def moving(state: tuple[Array, Array, Array]) -> Array:
        x, before, n = state
        return (n < max_iterations) & ((n == 0) | ~is_converged(x, before))

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, n = state
        return step(x), x, n + 1

    x, before, n = jax.lax.while_loop(moving, sweep, (start, start, jnp.zeros((), jnp.int32)))
    return x, n, (n > 0) & is_converged(x, before)


def _tangent_map(fn: Callable[[Any], Array], point: Any) -> Callable[[Any], Array]:
    """The tangent map of fn at a point, as the transpose of its pullback: so fn may have a `jax.custom_vjp` inside."""
    _, pull = jax.vjp(fn, point)
    out = jax.eval_shape(fn, point)
    return lambda dot: jax.linear_transpose(lambda g: pull(g)[0], out)(dot)[0]


def _pushed(pull: Callable, v: Array) -> Array:
    """J v, of the pullback u -> J^T u."""
    return jax.linear_transpose(lambda g: pull(g)[0], v)(v)[0]


def _affine(saved: tuple[Callable, Array], v: Array) -> Array:
    pull, right = saved
    return right + _pushed(pull, v)


def _adjoint(saved: tuple[Callable, Array], u: Array) -> Array:
    pull, right = saved
    return right + pull(u)[0]
