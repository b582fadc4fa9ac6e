"""The one root solver for monotone maps without a closed inverse: bracketed, element by element, with gradients."""

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

    def too_narrow(bracket: tuple[Array, Array, Array, Array]) -> Array:
        low, high, f_low, f_high = bracket
        return jnp.any(((f_low > 0) & (low > -info.max / 8)) | ((f_high < 0) & (high < info.max / 8)))

    def widen(bracket: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        low, high, f_low, f_high = bracket
        # the end that was passed over becomes the other end: the bracket stays one step wide
        down, up = f_low > 0, f_high < 0
        new_low = jnp.where(down, low * _WIDENING - 1, jnp.where(up, high, low))
        new_high = jnp.where(up, high * _WIDENING + 1, jnp.where(down, low, high))
        new_low, new_high = (jnp.clip(v, -info.max / 4, info.max / 4) for v in (new_low, new_high))
        return new_low, new_high, excess(new_low), excess(new_high)

    low, high = jnp.full_like(y, -1), jnp.full_like(y, 1)
    start = (low, high, excess(low), excess(high))
    low, high, f_low, f_high = jax.lax.while_loop(too_narrow, widen, start)
    holds = (f_low <= 0) & (f_high >= 0) & jnp.isfinite(y)

    def tolerance(state: _State) -> tuple[Array, Array]:
        best = jnp.where(jnp.abs(state.f_new) < jnp.abs(state.f_old), state.new, state.old)
        width = jnp.abs(state.old - state.new)
        return (info.eps * jnp.abs(best) + info.tiny) / jnp.where(width > 0, width, 1), best

    def unfinished(carry: tuple[Array, _State]) -> Array:
        n, state = carry
        return (n < 4 * info.bits) & jnp.any(_is_open(state, tolerance(state)[0]) & holds)

    def narrow(carry: tuple[Array, _State]) -> tuple[Array, _State]:
        n, state = carry
        is_open = _is_open(state, tolerance(state)[0])
        x = state.new + state.share * (state.old - state.new)
        moved = _step(state, x, excess(x))
        share = _next_share(moved, tolerance(moved)[0])
        moved = moved._replace(share=share)
        return n + 1, _State(*(jnp.where(is_open, a, b) for a, b in zip(moved, state, strict=True)))

    first = _State(low, high, high, f_low, f_high, f_high, jnp.full_like(y, 0.5))
    _, end = jax.lax.while_loop(unfinished, narrow, (jnp.zeros((), jnp.int32), first))
    return jnp.where(holds, tolerance(end)[1], jnp.nan)


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
