"""Fixed points by repetition, differentiated at the solution instead of through the repetitions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pushforward.precision import in_full_precision


def fixed_point(
    fn: Callable[[Any, Array], Array], weights: Any, start: Array, tolerance: float, max_sweeps: int
) -> tuple[Float[Array, "*shape"], Int[Array, ""], Bool[Array, ""]]:
    """x with x = fn(weights, x), from x <- fn(weights, x) until no entry moves by more than `tolerance` (1 + |x|).

    With tolerance 0 it stops when two sweeps agree in every bit. The gradient is that of one ordinary evaluation of fn
    at x, after its cotangent g has been replaced by the solution of u = g + J^T u, found the same way, J being the
    Jacobian of fn at x (implicit function theorem). It reaches `weights` alone: the solution does not depend on
    `start`. Weights that a batch shares get their gradient from that evaluation, in one product over the batch. There
    are first derivatives only, in reverse mode: JAX refuses to differentiate the search for u.

    Returns:
        x, the number of sweeps, and whether it stopped by itself: after `max_sweeps` the last iterate is returned.
    """
    held, outset = jax.lax.stop_gradient((weights, start))
    x, n, settled = _repeat(lambda x: fn(held, x), outset, tolerance, max_sweeps)
    x = jax.lax.stop_gradient(x)
    return _implicit(fn, fn(weights, x), weights, x, tolerance, max_sweeps), n, settled


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 4, 5))
def _implicit(fn: Callable, again: Array, weights: Any, x: Array, tolerance: float, max_sweeps: int) -> Array:
    """x, which is also `again` = fn(weights, x); all of the gradient goes to `again`."""
    return x


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


def _forward(
    fn: Callable, again: Array, weights: Any, x: Array, tolerance: float, max_sweeps: int
) -> tuple[Array, Any]:
    out = _implicit(fn, again, weights, x, tolerance, max_sweeps)
    return out, (weights, out)


@in_full_precision
def _backward(fn: Callable, tolerance: float, max_sweeps: int, saved: Any, cotangent: Array) -> tuple[Any, ...]:
    weights, x = saved
    _, pull = jax.vjp(lambda x: fn(weights, x), x)
    adjoint, _, _ = _repeat(lambda u: cotangent + pull(u)[0], cotangent, tolerance, max_sweeps)
    return adjoint, None, None


_implicit.defvjp(_forward, _backward)
