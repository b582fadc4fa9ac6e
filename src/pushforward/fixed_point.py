"""Fixed points by repetition, differentiated at the solution instead of through the repetitions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3, 4))
def fixed_point(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, tolerance: float, max_sweeps: int
) -> tuple[Float[Array, "*shape"], Int[Array, ""], Bool[Array, ""]]:
    """x with x = fn(weights, x), from x <- fn(weights, x) until no entry moves by more than `tolerance` (1 + |x|).

    With tolerance 0 it stops when two sweeps agree in every bit. The gradient solves u = g + J^T u the same way, J
    being the Jacobian of fn at x (implicit function theorem); it reaches `weights` alone, for the solution does not
    depend on `start`.

    Returns:
        x, the number of sweeps, and whether it stopped by itself: after `max_sweeps` the last iterate is returned.
    """

    def step(x: Array) -> Array:
        return fn(weights, x)

    return _repeat(step, start, tolerance, max_sweeps)


def _repeat(
    step: Callable[[Array], Array], start: Array, tolerance: float, max_sweeps: int
) -> tuple[Array, Array, Array]:
    # Both iterates are kept, and compared as they are kept: a compiler may compute a value anew for the comparison,
    # rounded otherwise, and a sweep that has settled would then never seem to.
    def is_settled(x: Array, before: Array) -> Array:
        # an infinite entry that stays is settled too; NaN never is
        return jnp.all((jnp.abs(x - before) <= tolerance * (1 + jnp.abs(before))) | (x == before))

    def moving(state: tuple[Array, Array, Array]) -> Array:
        x, before, n = state
        return (n < max_sweeps) & ((n == 0) | ~is_settled(x, before))

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, n = state
        return step(x), x, n + 1

    x, before, n = jax.lax.while_loop(moving, sweep, (start, start, jnp.zeros((), jnp.int32)))
    return x, n, (n > 0) & is_settled(x, before)


def _forward(fn: Callable, weights: Any, start: Array, tolerance: float, max_sweeps: int) -> tuple[Any, Any]:
    out = fixed_point(fn, weights, start, tolerance, max_sweeps)
    return out, (weights, out[0])


def _backward(fn: Callable, tolerance: float, max_sweeps: int, saved: Any, cotangents: Any) -> tuple[Any, Array]:
    weights, x = saved
    gradient = cotangents[0]
    _, pull = jax.vjp(fn, weights, x)
    adjoint, _, _ = _repeat(lambda u: gradient + pull(u)[1], gradient, tolerance, max_sweeps)
    return pull(adjoint)[0], jnp.zeros_like(x)


fixed_point.defvjp(_forward, _backward)
