"""Shared by planar, radial and Sylvester layers: a bounded scale, and nonlinearities with their inverses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.numerics.elementary import log_derivative_tanh, log_one_plus
from pushforward.numerics.roots import monotone_root

_MIN_SLOPE = 2e-3  # of the map along a unit: twice the documented bound, to allow for rounding
_MAX_DECREASE = 1.0 - _MIN_SLOPE
_LEAK = 0.1


def bounded_scale(s: Float[Array, "*shape"]) -> tuple[Array, Array]:
    """m(s) = s / (1 + max(-s, 0) / c) > -c, with c = 0.998, and the factor m(s) / s in (0, 1].

    m is increasing and continuously differentiable, the identity for s >= 0 and close to it for small s < 0. It divides
    by no norm, so zero weights are not a special case.
    """
    negative = jnp.where(s < 0, -s, 0.0)
    factor = 1.0 / (1.0 + negative / _MAX_DECREASE)
    return jnp.where(s < 0, -negative * factor, s), factor


@dataclass(frozen=True)
class Nonlinearity:
    """An increasing scalar function h with slopes in (0, 1], of a planar or Sylvester unit.

    Attributes:
        value: h(a).
        log_slope: log h'(a).
        solve: (m, e) to t = h(a), where a solves a + m h(a) = e; one root, since m > -1.
    """

    value: Callable[[Array], Array]
    log_slope: Callable[[Array], Array]
    solve: Callable[[Array, Array], Array]

    def log_derivative(self, a: Array, scale: Array) -> Array:
        """log(1 + m h'(a)), the log-derivative of a + m h(a)."""
        return log_one_plus(scale * jnp.exp(self.log_slope(a)))


def _solve_tanh(scale: Array, e: Array) -> Array:
    """The root in terms of t = tanh(a), which is bounded: no digits are lost for large |e|."""
    return monotone_root(_excess, (scale, e), jnp.zeros_like(e))


def _excess(weights: Any, t: Array) -> Array:
    scale, e = weights
    return t - jnp.tanh(e - scale * t)


def _leaky(a: Array) -> Array:
    return jnp.where(a < 0, _LEAK * a, a)


def _solve_leaky(scale: Array, e: Array) -> Array:
    return _leaky(e / (1.0 + jnp.where(e < 0, _LEAK * scale, scale)))


NONLINEARITIES = {
    "tanh": Nonlinearity(jnp.tanh, log_derivative_tanh, _solve_tanh),
    "leaky_relu": Nonlinearity(_leaky, lambda a: jnp.where(a < 0, jnp.log(_LEAK).astype(a.dtype), 0.0), _solve_leaky),
}


def check_nonlinearity(name: str) -> None:
    """Raise if the name is unknown."""
    if name not in NONLINEARITIES:
        raise ValueError(f"nonlinearity: expected one of {', '.join(NONLINEARITIES)}, got {name!r}.")
