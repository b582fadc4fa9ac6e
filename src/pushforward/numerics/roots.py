"""Bracketing root solver for monotone element-wise functions, with implicit gradients.

The compiler may recompute a value for each of its uses with other rounding, and so change its sign near the root. So
every decision reads values that an earlier iteration has stored; the function is evaluated at the end of an iteration.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.numerics.linear_maps import transpose_of
from pushforward.numerics.trailing_batch import custom_jvp

_WIDENING = 4.0
_START, _AT_LOW, _AT_HIGH, _WIDEN, _NARROW = range(5)  # phases: the reason for the last evaluation


def monotone_root(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Float[Array, "*shape"]:
    """x with fn(weights, x) = y, for fn increasing and acting element by element on arrays of the shape of y.

    A bracket around zero is widened by factors of four until it contains the root. Chandrupatla's method (inverse
    quadratic interpolation if that is safe, else bisection) then narrows it to two neighbouring floats or an exact
    root: the tolerance is one unit in the last place of x, or what rounding in fn makes of it. The result is NaN if y
    is not finite or outside the range of fn. Derivatives of every order, forward and reverse, are implicit: dx = (dy -
    (dfn/dweights) dweights) / (dfn/dx), where derivatives of the root x follow the same rule.

    Reference: Chandrupatla 1997.
    """
    root = custom_jvp(lambda weights, y: _search(fn, weights, y))

    @root.defjvp
    def implicit(primals: tuple[Any, Array], tangents: tuple[Any, Array]) -> tuple[Array, Array]:
        (weights, y), (weights_dot, y_dot) = primals, tangents
        x = root(weights, y)
        floats, rest = eqx.partition(weights, eqx.is_inexact_array)
        floats_dot = jax.tree.map(lambda leaf, dot: dot if eqx.is_inexact_array(leaf) else None, weights, weights_dot)
        return x, transpose_of(functools.partial(_pull, fn), (floats, rest, x), x, (floats_dot, y_dot))

    return root(weights, y)


def _pull(fn: Callable[[Any, Array], Array], residuals: tuple[Any, Any, Array], x_bar: Array) -> tuple[Any, Array]:
    """The gradients of the weights and of y, given that of the root: the transpose of the implicit derivative."""
    floats, rest, x = residuals
    _, pull = jax.vjp(lambda floats, x: fn(eqx.combine(floats, rest), x), floats, x)
    y_bar = x_bar / pull(jnp.ones_like(x))[1]
    return pull(-y_bar)[0], y_bar


class _State(NamedTuple):
    """Three points with their values of fn - y: the root lies between `new` and `old`; `left` is the last one dropped.

    While the bracket is being widened, `new` is its last end.
    """

    new: Array
    old: Array
    left: Array
    f_new: Array
    f_old: Array
    f_left: Array
    share: Array  # the next point, as a fraction of the bracket


class _SolverStep(NamedTuple):
    """State of the loop: the phase, the bracket, and the last point x with its value f = fn - y."""

    count: Array
    phase: Array
    has_failed: Array
    state: _State
    x: Array
    f: Array


def _search(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Array:
    """One loop with a single evaluation of fn: fn is often large, and every call of it is compiled."""
    info = jnp.finfo(y.dtype)
    most = float(info.max) / 4
    limit = 4 * info.bits + int(math.log(most, _WIDENING)) + 4

    def is_running(step: _SolverStep) -> Array:
        return ~step.has_failed & ((step.phase != _NARROW) | _is_open(step.state))

    def next_step(step: _SolverStep) -> _SolverStep:
        x, f, state, phase = step.x, step.f, step.state, step.phase
        # the root is further out than x; the first two ends are on one side each, as fn is increasing
        is_short = jnp.where(x < 0, f > 0, f < 0) & (phase != _START) & (phase != _NARROW)
        is_bracketed = ((phase == _WIDEN) | (phase == _AT_HIGH)) & ~is_short
        goes_high = (phase == _AT_LOW) & ~is_short
        state = _where(is_bracketed, _bracket(state, x, f), _where(phase == _NARROW, _shrink(state, x, f), state))
        state = _where(is_short | goes_high, state._replace(new=x, f_new=f), state)
        state = state._replace(share=jnp.where(is_bracketed, 0.5, _next_share(state)))
        outer = jnp.clip(_WIDENING * x + jnp.sign(x), -most, most)
        inner = state.new + state.share * (state.old - state.new)
        narrows = is_bracketed | (phase == _NARROW)
        x = jnp.where(phase == _START, -1, jnp.where(goes_high, 1, jnp.where(narrows, inner, outer)))
        phase = jnp.where(is_short, _WIDEN, jnp.where(goes_high, _AT_HIGH, jnp.where(narrows, _NARROW, _AT_LOW)))
        has_failed = step.has_failed | (~narrows & jnp.isnan(f)) | (is_bracketed & jnp.isnan(f))
        has_failed |= is_short & (jnp.abs(step.x) >= most)
        return _SolverStep(step.count + 1, phase, has_failed, state, x, f)

    def body(step: _SolverStep) -> _SolverStep:
        new, running = next_step(step), is_running(step)
        state = _where(running, new.state, step.state)
        parts = (jnp.where(running, a, b) for a, b in zip(new[1:3], step[1:3], strict=True))
        return _SolverStep(new.count, *parts, state, new.x, fn(weights, new.x) - y)

    zero = jnp.zeros_like(y)
    start = _SolverStep(
        jnp.zeros((), jnp.int32), jnp.full(y.shape, _START), ~jnp.isfinite(y), _State(*[zero] * 7), zero, zero
    )
    end = jax.lax.while_loop(lambda step: (step.count < limit) & jnp.any(is_running(step)), body, start)
    converged = (end.phase == _NARROW) & ~end.has_failed
    return jnp.where(converged, _best(end.state), jnp.nan)


def _where(condition: Array, a: _State, b: _State) -> _State:
    return _State(*(jnp.where(condition, one, other) for one, other in zip(a, b, strict=True)))


def _bracket(state: _State, x: Array, f: Array) -> _State:
    """The first bracket, between x and the previous end.

    If rounding flips the sign of an end that is next to the root, that end becomes an exact root.
    """
    down = x < state.new
    low, high = jnp.where(down, x, state.new), jnp.where(down, state.new, x)
    f_low = jnp.minimum(jnp.where(down, f, state.f_new), 0)
    f_high = jnp.maximum(jnp.where(down, state.f_new, f), 0)
    return _State(low, high, high, f_low, f_high, f_high, state.share)


def _best(state: _State) -> Array:
    return jnp.where(jnp.abs(state.f_new) < jnp.abs(state.f_old), state.new, state.old)


def _least(state: _State) -> Array:
    """One unit in the last place of the better end, as a fraction of the bracket."""
    info = jnp.finfo(state.new.dtype)
    width = jnp.abs(state.old - state.new)
    return (info.eps * jnp.abs(_best(state)) + info.tiny) / jnp.where(width > 0, width, 1)


def _is_open(state: _State) -> Array:
    return (_least(state) < 0.5) & (state.f_new != 0) & (state.f_old != 0)


def _shrink(state: _State, x: Array, f: Array) -> _State:
    """The bracket with x as its new end; the end on the other side of the root stays."""
    same = (f > 0) == (state.f_new > 0)
    old, f_old = jnp.where(same, state.old, state.new), jnp.where(same, state.f_old, state.f_new)
    left, f_left = jnp.where(same, state.new, state.old), jnp.where(same, state.f_new, state.f_old)
    return _State(x, old, left, f, f_old, f_left, state.share)


def _next_share(state: _State) -> Array:
    """Inverse quadratic interpolation if it is certain to stay inside the bracket, else bisection."""
    least = _least(state)
    f1, f2, f3 = state.f_new, state.f_old, state.f_left
    phi = _ratio(f1 - f2, f3 - f2)
    xi = _ratio(state.new - state.old, state.left - state.old)
    safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
    reach = _ratio(state.left - state.new, state.old - state.new)
    quadratic = _ratio(f1, f2 - f1) * _ratio(f3, f2 - f3) + reach * _ratio(f1, f3 - f1) * _ratio(f2, f3 - f2)
    share = jnp.where(safe & jnp.isfinite(quadratic), quadratic, 0.5)
    return jnp.clip(share, jnp.minimum(least, 0.5), jnp.maximum(1 - least, 0.5))


def _ratio(above: Array, below: Array) -> Array:
    return above / jnp.where(below == 0, 1, below)
