"""The one root solver for monotone maps without a closed inverse: bracketed, element by element, with gradients.

A compiler may compute a value anew for each of its uses, rounded otherwise, and a sign near the root with it. So every
decision reads numbers that an earlier turn of a loop has stored; the image is evaluated at the end of a turn.
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
_STARTS, _AT_LOW, _AT_HIGH, _WIDENS, _NARROWS = range(5)  # why the image was taken at a point


def monotone_root(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Float[Array, "*shape"]:
    """x with fn(weights, x) = y, for fn increasing and acting element by element on arrays of the shape of y.

    A bracket around zero is widened fourfold until it holds the root, then narrowed by Chandrupatla's steps (inverse
    quadratic where that is safe, else bisection) down to two neighbouring floats or an exact hit: the tolerance is
    one unit in the last place of x, or what rounding of fn makes of it. NaN where y is NaN or infinite or out of the
    reach of fn. Derivatives of every order, forward and reverse, are those of the implicit function, dx = (dy -
    (dfn/dweights) dweights) / (dfn/dx): this rule holds at the root, which is itself differentiated by it.

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
    """The gradients of the weights and of y, from that of the root: the transpose of the implicit function's slope."""
    floats, rest, x = residuals
    _, pull = jax.vjp(lambda floats, x: fn(eqx.combine(floats, rest), x), floats, x)
    y_bar = x_bar / pull(jnp.ones_like(x))[1]
    return pull(-y_bar)[0], y_bar


class _State(NamedTuple):
    """Three abscissas with fn - y there; the root lies between `new` and `old`, `left` is the one dropped last.

    While the bracket is still looked for, `new` is the end from which it is widened.
    """

    new: Array
    old: Array
    left: Array
    f_new: Array
    f_old: Array
    f_left: Array
    share: Array  # where in the bracket to look next


class _Turn(NamedTuple):
    """What a turn of the loop starts from: at which point the image was taken last, why, and what it was."""

    count: Array
    phase: Array
    has_failed: Array
    state: _State
    x: Array
    f: Array


def _search(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Array:
    """One loop with one evaluation of fn in it: a law is often long, and each place where it stands is compiled."""
    info = jnp.finfo(y.dtype)
    most = float(info.max) / 4
    limit = 4 * info.bits + int(math.log(most, _WIDENING)) + 4

    def is_open(turn: _Turn) -> Array:
        return ~turn.has_failed & ((turn.phase != _NARROWS) | _is_open(turn.state))

    def turned(turn: _Turn) -> _Turn:
        x, f, state, phase = turn.x, turn.f, turn.state, turn.phase
        widens = phase == _WIDENS
        # the root is further out than x; at the first two ends only on one side, as fn is increasing
        is_short = jnp.where(x < 0, f > 0, f < 0) & (phase != _STARTS) & (phase != _NARROWS)
        is_held = (widens | (phase == _AT_HIGH)) & ~is_short
        looks_high = (phase == _AT_LOW) & ~is_short
        state = _pick(is_held, _bracket(state, x, f), _pick(phase == _NARROWS, _step(state, x, f), state))
        state = _pick(is_short | looks_high, state._replace(new=x, f_new=f), state)
        state = state._replace(share=jnp.where(is_held, 0.5, _next_share(state)))
        further = jnp.clip(_WIDENING * x + jnp.sign(x), -most, most)
        inside = state.new + state.share * (state.old - state.new)
        narrows = is_held | (phase == _NARROWS)
        x = jnp.where(phase == _STARTS, -1, jnp.where(looks_high, 1, jnp.where(narrows, inside, further)))
        after = jnp.where(is_short, _WIDENS, jnp.where(looks_high, _AT_HIGH, jnp.where(narrows, _NARROWS, _AT_LOW)))
        has_failed = turn.has_failed | (~narrows & jnp.isnan(f)) | (is_held & jnp.isnan(f))
        has_failed |= is_short & (jnp.abs(turn.x) >= most)
        return _Turn(turn.count + 1, after, has_failed, state, x, f)

    def body(turn: _Turn) -> _Turn:
        new, going = turned(turn), is_open(turn)
        state = _pick(going, new.state, turn.state)
        parts = (jnp.where(going, a, b) for a, b in zip(new[1:3], turn[1:3], strict=True))
        return _Turn(new.count, *parts, state, new.x, fn(weights, new.x) - y)

    nothing = jnp.zeros_like(y)
    start = _Turn(
        jnp.zeros((), jnp.int32), jnp.full(y.shape, _STARTS), ~jnp.isfinite(y), _State(*[nothing] * 7), nothing, nothing
    )  # fmt: skip
    end = jax.lax.while_loop(lambda turn: (turn.count < limit) & jnp.any(is_open(turn)), body, start)
    found = (end.phase == _NARROWS) & ~end.has_failed
    return jnp.where(found, _best(end.state), jnp.nan)


def _pick(where: Array, a: _State, b: _State) -> _State:
    return _State(*(jnp.where(where, one, other) for one, other in zip(a, b, strict=True)))


def _bracket(state: _State, x: Array, f: Array) -> _State:
    """The first bracket: between x and the end it was widened from.

    A sign that rounding turned at the end where the root lies makes that end an exact hit.
    """
    down = x < state.new
    low, high = jnp.where(down, x, state.new), jnp.where(down, state.new, x)
    f_low = jnp.minimum(jnp.where(down, f, state.f_new), 0)
    f_high = jnp.maximum(jnp.where(down, state.f_new, f), 0)
    return _State(low, high, high, f_low, f_high, f_high, state.share)


def _best(state: _State) -> Array:
    return jnp.where(jnp.abs(state.f_new) < jnp.abs(state.f_old), state.new, state.old)


def _least(state: _State) -> Array:
    """One unit in the last place of the better end, as a share of the bracket."""
    info = jnp.finfo(state.new.dtype)
    width = jnp.abs(state.old - state.new)
    return (info.eps * jnp.abs(_best(state)) + info.tiny) / jnp.where(width > 0, width, 1)


def _is_open(state: _State) -> Array:
    return (_least(state) < 0.5) & (state.f_new != 0) & (state.f_old != 0)


def _step(state: _State, x: Array, f: Array) -> _State:
    """The bracket with x as its newest end; the end on the other side of the root stays."""
    same = (f > 0) == (state.f_new > 0)
    old, f_old = jnp.where(same, state.old, state.new), jnp.where(same, state.f_old, state.f_new)
    left, f_left = jnp.where(same, state.new, state.old), jnp.where(same, state.f_new, state.f_old)
    return _State(x, old, left, f, f_old, f_left, state.share)


def _next_share(state: _State) -> Array:
    """Inverse quadratic interpolation where the three points promise that it stays inside, else the middle."""
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
