"""Shared by planar, radial and Sylvester layers: a bounded strength, and nonlinearities with their inverses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.numerics.elementary import log_derivative_tanh, log_one_plus
from pushforward.numerics.roots import monotone_root

LEAST_SLOPE = 2e-3  # of the map along a unit: twice what is promised, so that rounding cannot break the promise
_LOWEST = 1.0 - LEAST_SLOPE
_LEAK = 0.1


def bounded_strength(s: Float[Array, "*shape"]) -> tuple[Array, Array]:
    """m(s) = s / (1 + max(-s, 0) / c) > -c, with c = 0.998, and the factor m(s) / s in (0, 1].

    m is increasing with one continuous derivative, the identity for s >= 0, and near it for small s < 0. Nothing is
    divided by a norm, so weights of zero are no special case.
    """
    below = jnp.where(s < 0, -s, 0.0)
    factor = 1.0 / (1.0 + below / _LOWEST)
    return jnp.where(s < 0, -below * factor, s), factor


@dataclass(frozen=True)
class Nonlinearity:
    """An increasing scalar function h with slopes in (0, 1], as a planar or Sylvester unit applies it.

    Attributes:
        value: h(a).
        log_slope: log h'(a).
        solve: (m, e) to t = h(a) where a + m h(a) = e, that is t = h(e - m t); one root, as m > -1.
    """

    value: Callable[[Array], Array]
    log_slope: Callable[[Array], Array]
    solve: Callable[[Array, Array], Array]

    def log_stretch(self, a: Array, strength: Array) -> Array:
        """log(1 + m h'(a)), the log-derivative of a + m h(a)."""
        return log_one_plus(strength * jnp.exp(self.log_slope(a)))


def _solve_tanh(strength: Array, e: Array) -> Array:
    """In terms of t = tanh(a), which is bounded: far out, where a is e to the last digit, nothing is lost."""
    return monotone_root(_excess, (strength, e), jnp.zeros_like(e))


def _excess(weights: Any, t: Array) -> Array:
    strength, e = weights
    return t - jnp.tanh(e - strength * t)


def _leaky(a: Array) -> Array:
    return jnp.where(a < 0, _LEAK * a, a)


def _solve_leaky(strength: Array, e: Array) -> Array:
    return _leaky(e / (1.0 + jnp.where(e < 0, _LEAK * strength, strength)))


NONLINEARITIES = {
    "tanh": Nonlinearity(jnp.tanh, log_derivative_tanh, _solve_tanh),
    "leaky_relu": Nonlinearity(_leaky, lambda a: jnp.where(a < 0, jnp.log(_LEAK).astype(a.dtype), 0.0), _solve_leaky),
}


def check_nonlinearity(name: str) -> None:
    """Raise if the name is unknown."""
    if name not in NONLINEARITIES:
        raise ValueError(f"nonlinearity: expected one of {', '.join(NONLINEARITIES)}, got {name!r}.")
