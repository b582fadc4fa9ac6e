"""Elementary functions that stay accurate in the tails, with derivatives of every order."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from pushforward.numerics.trailing_batch import custom_jvp

_TAIL, _TAIL_TERMS = 10.0, 14  # beyond this a continued fraction is used; its number of terms, for an error of 1e-16


_NEWTON_STEPS = 6


def inverse_softplus(value: float) -> float:
    """log(exp(value) - 1) for a positive Python number, without overflow: the inverse of softplus."""
    return value + math.log(-math.expm1(-value))


def log_derivative_tanh(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2|u|))), exact to rounding for every u."""
    size = magnitude(u)
    return 2.0 * (jnp.log(2.0).astype(u.dtype) - size - jnp.log1p(jnp.exp(-2.0 * size)))


def log_one_plus(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + u) for u > -1, accurate where XLA's `log1p` is not: it errs by up to 120 ulp (float64) near -0.4."""
    far = u < -0.25
    return jnp.where(far, jnp.log(jnp.where(far, 1.0 + u, 1.0)), jnp.log1p(jnp.where(far, 0.0, u)))


def log_cosh(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log cosh u, without overflow."""
    size = magnitude(u)
    return size + jnp.log1p(jnp.exp(-2.0 * size)) - jnp.log(2.0).astype(u.dtype)


def soft_clamp(u: Float[Array, "*shape"], bound: float) -> Float[Array, "*shape"]:
    """bound * tanh(u / bound): the identity near zero, bounded by +-bound."""
    return bound * jnp.tanh(u / bound)


@custom_jvp
def log_normal_cdf(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log Phi(u) of the standard normal, with a derivative, phi / Phi, that is accurate in the left tail."""
    return _normal_tail(u)[0]


@log_normal_cdf.defjvp
def _log_normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (tangent,) = primals, tangents
    return log_normal_cdf(u), jnp.exp(log_normal_hazard(u)) * tangent


@custom_jvp
def log_normal_hazard(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(phi(u) / Phi(u)), the logarithm of the derivative of log Phi."""
    return _normal_tail(u)[1]


@log_normal_hazard.defjvp
def _log_normal_hazard_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (tangent,) = primals, tangents
    _, log_hazard, rest = _normal_tail(u)
    return log_hazard, -rest * tangent


def _normal_tail(u: Array) -> tuple[Array, Array, Array]:
    """log Phi, log(phi / Phi), and phi / Phi + u, computed without cancellation.

    Below -10 it uses Laplace's continued fraction, phi / Phi = -u + 1/(-u + 2/(-u + ...)).
    """
    in_tail = u < -_TAIL
    size = jnp.where(in_tail, -u, _TAIL)
    rest = jnp.zeros_like(u)
    for term in range(_TAIL_TERMS, 0, -1):
        rest = term / (size + rest)
    far = jnp.log(size + rest)
    inner = jnp.where(in_tail, -_TAIL, u)
    beyond = 0.5 * erfc(magnitude(inner) / math.sqrt(2))
    near = jnp.where(inner < 0, jnp.log(jnp.where(inner < 0, beyond, 1.0)), log_one_plus(-beyond))
    log_hazard = jnp.where(in_tail, far, -0.5 * inner**2 - 0.5 * math.log(2 * math.pi) - near)
    log_cdf = jnp.where(in_tail, -0.5 * u**2 - 0.5 * math.log(2 * math.pi) - far, near)
    return log_cdf, log_hazard, jnp.where(in_tail, rest, jnp.exp(jnp.where(in_tail, 0.0, log_hazard)) + inner)


def magnitude(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|x| with the derivative 1 at zero, where `jnp.abs` has 0.

    Even and odd functions of x that are written in terms of |x| then have the derivatives of their upper half at zero.
    """
    return jnp.where(x < 0, -x, x)


@custom_jvp
def log_normal_quantile(log_p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """u <= 0 with log Phi(u) = log_p, for log_p <= log(1/2); by Newton steps from below, where log Phi is concave."""

    def step(_: Array, u: Array) -> Array:
        log_cdf, log_hazard, _ = _normal_tail(u)
        return jnp.minimum(u + (log_p - log_cdf) * jnp.exp(-log_hazard), 0.0)

    start = -jnp.sqrt(jnp.maximum(-2.0 * (log_p + math.log(2)), 0.0))
    return jax.lax.fori_loop(0, _NEWTON_STEPS, step, start)


@log_normal_quantile.defjvp
def _log_normal_quantile_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (log_p,), (tangent,) = primals, tangents
    u = log_normal_quantile(log_p)
    return u, jnp.exp(-log_normal_hazard(u)) * tangent
