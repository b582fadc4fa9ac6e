"""Student's t-distribution with trained degrees of freedom, a base for heavy-tailed data."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from pushforward.bases.parameters import broadcast, broadcast_positive, event_shape
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.numerics.arrays import on_device
from pushforward.numerics.elementary import inverse_softplus


class StudentT(AbstractDistribution):
    """Independent Student-t distributions whose degrees of freedom nu_i are trained, one for each coordinate.

        log p(x) = sum_i log G((nu_i + 1) / 2) - log G(nu_i / 2) - log(pi nu_i) / 2
                         - (nu_i + 1) / 2 log(1 + u_i^2 / nu_i) - log scale_i,  u = (x - loc) / scale

    nu = softplus(raw_dof) + min_dof. A flow of Lipschitz layers preserves the tails of its base, so heavy-tailed data
    need a heavy-tailed base. Location and scale are fixed, since affine layers of the bijection adapt them.

    Args:
        shape: event shape.
        dof: initial value of nu, a number or an array of the event shape, above `min_dof`.
        loc: a number or an array of the event shape.
        scale: positive, a number or an array of the event shape.
        min_dof: lower bound of nu, positive; nu = 1 is the Cauchy distribution.

    Leaves (unconstrained): `raw_dof`, of the event shape.

    Cost: O(D) to score and to sample. Samples are differentiable in nu.

    Raises:
        ValueError: if a number is out of range.

    Reference: Jaini, Kobyzev, Yu & Brubaker 2020 (tails of Lipschitz flows). Sampling: Bailey 1994, the polar method.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> base = pf.bases.StudentT((1,), dof=3.0)
        >>> print(f"{base.log_prob(jnp.zeros(1)):.4f} {base.dof[0]:.1f}")
        -1.0009 3.0
    """

    raw_dof: Float[Array, "..."]
    loc: Float[Array, "..."] = frozen()
    scale: Float[Array, "..."] = frozen()
    min_dof: float = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        dof: ArrayLike = 5.0,
        *,
        loc: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        min_dof: float = 0.5,
    ) -> None:
        self.shape, self.context_shape, self.min_dof = event_shape(shape), None, float(min_dof)
        initial = broadcast("dof", dof, self.shape)
        if not (initial > self.min_dof).all():
            raise ValueError(f"dof: expected numbers above min_dof = {min_dof:g}, got {dof}. Lower min_dof.")
        raw = [inverse_softplus(float(nu) - self.min_dof) for nu in initial.reshape(-1)]
        self.raw_dof = on_device(broadcast("dof", raw, (initial.size,)).reshape(self.shape))
        self.loc = on_device(broadcast("loc", loc, self.shape))
        self.scale = on_device(broadcast_positive("scale", scale, self.shape))

    def __check_init__(self) -> None:
        if not 0 < self.min_dof < math.inf:
            raise ValueError(f"min_dof: expected a positive number, got {self.min_dof}.")

    @property
    def dof(self) -> Array:
        """The degrees of freedom, of the event shape."""
        return jax.nn.softplus(self.raw_dof) + self.min_dof

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return jnp.sum(_log_t((x - self.loc) / self.scale, self.dof) - jnp.log(self.scale))

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        radius_key, angle_key = jax.random.split(key)
        dtype, dof = self.raw_dof.dtype, self.dof
        # The minimum, half a step of the generator's grid, replaces zero, where the radius would be infinite.
        level = jax.random.uniform(radius_key, self.shape, dtype, minval=jnp.finfo(dtype).eps / 2)
        angle = jax.random.uniform(angle_key, self.shape, dtype, maxval=2.0 * math.pi)
        noise = jnp.sqrt(dof * jnp.expm1(-2.0 / dof * jnp.log(level))) * jnp.cos(angle)
        return self.loc + self.scale * noise, jnp.sum(_log_t(noise, dof) - jnp.log(self.scale))


def _log_t(u: Array, dof: Array) -> Array:
    ratio = u / jnp.sqrt(dof)
    is_far = jnp.abs(ratio) > 1.0
    near, far = jnp.where(is_far, 0.0, ratio), jnp.where(is_far, ratio, 1.0)
    # log(1 + ratio^2) without overflow
    log_growth = jnp.where(is_far, 2.0 * jnp.log(jnp.abs(far)) + jnp.log1p((1.0 / far) ** 2), jnp.log1p(near**2))
    return _log_gamma_step(0.5 * dof) - 0.5 * math.log(2.0 * math.pi) - 0.5 * (dof + 1.0) * log_growth


_SHIFT = 10


def _log_gamma_step(a: Array) -> Array:
    """log G(a + 1/2) - log G(a) - log(a) / 2 for a > 0, accurate to rounding.

    The difference of two log-gamma values cancels for large a. Here the series in 1 / a is evaluated at a + 10, and the
    recurrence G(a + 1) = a G(a) leads back to a.
    """
    inverse = 1.0 / (a + _SHIFT)
    square = inverse**2
    series = -1 / 8 + square * (1 / 192 + square * (-1 / 640 + square * (17 / 14336 - square * (31 / 18432))))
    steps = jnp.sqrt(1.0 + _SHIFT / a)
    for k in range(_SHIFT):
        steps = steps * (1.0 - 0.5 / (a + (k + 0.5)))
    return jnp.log(steps) + inverse * series
