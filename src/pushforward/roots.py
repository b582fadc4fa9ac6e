"""The one root solver for monotone maps without a closed inverse: bracketed, element by element, with gradients.

A compiler may compute a value anew for each of its uses, rounded otherwise, and a sign near the root with it. So every
decision reads numbers that an earlier turn of a loop has stored; the image is evaluated at the end of a turn.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_WIDENING = 4.0


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def monotone_root(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Float[Array, "*shape"]:
    """x with fn(weights, x) = y, for fn increasing and acting element by element on arrays of the shape of y.

    A bracket around zero is widened fourfold until it holds the root, then narrowed by Chandrupatla's steps (inverse
    quadratic where that is safe, else bisection) down to two neighbouring floats or an exact hit: the tolerance is
    one unit in the last place of x, or what rounding of fn makes of it. NaN where y is NaN or infinite or out of the
    reach of fn. The gradient is that of the implicit function: dx = (dy - (dfn/dweights) dweights) / (dfn/dx).

    Reference: Chandrupatla 1997.
    """
    return _search(fn, weights, y)


class _State(NamedTuple):
    """Three abscissas with fn - y there; the root lies between `new` and `old`, `left` is the one dropped last."""

    new: Array
    old: Array
    left: Array
    f_new: Array
    f_old: Array
    f_left: Array
    share: Array  # where in the bracket to look next


def _search(fn: Callable[[Any, Array], Array], weights: Any, y: Array) -> Array:
    dtype = y.dtype
    info = jnp.finfo(dtype)

    def excess(x: Array) -> Array:
        return fn(weights, x) - y

    low, high, f_low, f_high, is_held = _widened(excess, y)

    def tolerance(state: _State) -> tuple[Array, Array]:
        best = jnp.where(jnp.abs(state.f_new) < jnp.abs(state.f_old), state.new, state.old)
        width = jnp.abs(state.old - state.new)
        return (info.eps * jnp.abs(best) + info.tiny) / jnp.where(width > 0, width, 1), best

    def unfinished(carry: tuple[Array, _State, Array, Array]) -> Array:
        n, state, _, _ = carry
        return (n < 4 * info.bits) & jnp.any(_is_open(state, tolerance(state)[0]) & is_held)

    def narrow(carry: tuple[Array, _State, Array, Array]) -> tuple[Array, _State, Array, Array]:
        n, state, x, f = carry
        is_open = _is_open(state, tolerance(state)[0])
        moved = _step(state, x, f)
        moved = moved._replace(share=_next_share(moved, tolerance(moved)[0]))
        state = _State(*(jnp.where(is_open, a, b) for a, b in zip(moved, state, strict=True)))
        x = state.new + state.share * (state.old - state.new)
        return n + 1, state, x, excess(x)

    first, middle = _State(low, high, high, f_low, f_high, f_high, jnp.full_like(y, 0.5)), (low + high) / 2
    start = (jnp.zeros((), jnp.int32), first, middle, excess(middle))
    _, end, _, _ = jax.lax.while_loop(unfinished, narrow, start)
    return jnp.where(is_held, tolerance(end)[1], jnp.nan)


def _widened(excess: Callable[[Array], Array], y: Array) -> tuple[Array, Array, Array, Array, Array]:
    """A bracket, the excess at its ends (of either sign), and whether there is one; it moves in one direction only."""
    most = float(jnp.finfo(y.dtype).max)

    def is_short(carry: tuple[Array, ...]) -> Array:
        low, high, f_low, f_high, sign = carry
        return ((sign < 0) & (f_low > 0) & (low > -most / 8)) | ((sign > 0) & (f_high < 0) & (high < most / 8))

    def widen(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, f_low, f_high, sign = carry
        down = sign < 0
        end = jnp.where(down, low, high)
        further = jnp.clip(end * _WIDENING + sign, -most / 4, most / 4)
        f = excess(further)
        # the end that was passed over becomes the other end: the bracket stays one step wide
        moved = (
            jnp.where(down, further, high), jnp.where(down, low, further),
            jnp.where(down, f, f_high), jnp.where(down, f_low, f), sign,
        )  # fmt: skip
        return tuple(jnp.where(is_short(carry), a, b) for a, b in zip(moved, carry, strict=True))

    low, high = jnp.full_like(y, -1), jnp.full_like(y, 1)
    f_low, f_high = excess(low), excess(high)
    sign = jnp.where(f_low > 0, -1, jnp.where(f_high < 0, 1, 0)).astype(y.dtype)
    start = (low, high, f_low, f_high, sign)
    low, high, f_low, f_high, sign = jax.lax.while_loop(lambda carry: jnp.any(is_short(carry)), widen, start)
    reaches = (sign == 0) | ((sign < 0) & (f_low <= 0)) | ((sign > 0) & (f_high >= 0))
    is_held = reaches & ~jnp.isnan(f_low) & ~jnp.isnan(f_high) & jnp.isfinite(y)
    # a sign that rounding turned at the end where the root lies makes that end an exact hit
    return low, high, jnp.minimum(f_low, 0), jnp.maximum(f_high, 0), is_held


def _is_open(state: _State, least: Array) -> Array:
    return (least < 0.5) & (state.f_new != 0) & (state.f_old != 0)


def _step(state: _State, x: Array, f: Array) -> _State:
    """The bracket with x as its newest end; the end on the other side of the root stays."""
    same = (f > 0) == (state.f_new > 0)
    old, f_old = jnp.where(same, state.old, state.new), jnp.where(same, state.f_old, state.f_new)
    left, f_left = jnp.where(same, state.new, state.old), jnp.where(same, state.f_new, state.f_old)
    return _State(x, old, left, f, f_old, f_left, state.share)


def _next_share(state: _State, least: Array) -> Array:
    """Inverse quadratic interpolation where the three points promise that it stays inside, else the middle."""
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


def _forward(fn: Callable, weights: Any, y: Array) -> tuple[Array, Any]:
    x = monotone_root(fn, weights, y)
    return x, (weights, x)


def _backward(fn: Callable, saved: Any, cotangent: Array) -> tuple[Any, Array]:
    weights, x = saved
    _, pull = jax.vjp(fn, weights, x)
    slope = pull(jnp.ones_like(x))[1]
    by_y = cotangent / slope
    return pull(-by_y)[0], by_y


monotone_root.defvjp(_forward, _backward)
