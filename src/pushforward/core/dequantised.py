"""Dequantised integers: lower bounds of their masses from a density of the integers with noise added."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.arrays import bits_of

_BOUNDS = ("evidence", "importance")
_ULPS = 8.0  # tolerance for integers that were converted to another floating-point type


class Dequantised(AbstractDistribution):
    """Distribution of integers 0 .. L - 1: a density p of x + u, u in [0, 1)^D, bounds the masses P(x | c) from below.

        log P(x | c) >= E_q[log p(x + u | c) - log q(u | x)],      u drawn from q(u | x)

    `log_prob` returns this BOUND, not the mass. Training (with a key) uses one u; evaluation uses the mean over
    `n_draws`, whose seed is computed from the bits of the event, so equal events have equal scores. The estimate for a
    single event may exceed the bound by chance; the mean over many events is a bound to within its standard error.

    Samples are those of the density, rounded down and clipped to [0, L). With a `PixelSigmoid` as the last layer a
    sample exceeds that range by at most alpha L / (1 - 2 alpha); with an affine map there is no limit.

    Args:
        flow: density p of the event's shape, such as `glow(shape, levels=256)`.
        levels: L, at least 2.
        noise: q, a conditional distribution of the event's shape on the unit cube that takes x as its context, such as
            `dequantisation_flow(shape, levels=256)`, trained with the flow; None for uniform noise.
        n_draws: number of draws of u in evaluation.
        bound: "evidence" as above, or "importance" for the log of the mean of p(x + u | c) / q(u | x) over the draws in
            evaluation: its expectation is never lower, and it is tight as n_draws grows.

    Cost: n_draws densities in evaluation, one in training. A sample costs one draw of the flow and its score.

    Raises:
        ShapeError: if the shape or the context shape of the noise differs from the event shape.
        ValueError: if levels or n_draws is too small or the bound is unknown.
        DataError: from `log_prob` and `fit`, for values that are not levels (not checked under a caller's trace).

    Reference: Theis, van den Oord & Bethge 2016, section 3.1 (uniform noise); Ho, Chen, Srinivas, Duan & Abbeel 2019,
        section 3.1 (variational); Burda, Grosse & Salakhutdinov 2016 (importance).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> flow = pf.Dequantised(pf.glow((2, 2, 1), levels=4, n_scales=1, n_layers=1, width=4, key=0), 4)
        >>> print(flow.log_prob(np.ones((3, 2, 2, 1))).shape)
        (3,)
    """

    flow: AbstractDistribution
    noise: AbstractDistribution | None
    levels: int = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)
    bound: str = eqx.field(static=True)

    def __init__(
        self,
        flow: AbstractDistribution,
        levels: int,
        *,
        noise: AbstractDistribution | None = None,
        n_draws: int = 8,
        bound: str = "evidence",
    ) -> None:
        self.flow, self.noise, self.levels, self.n_draws, self.bound = flow, noise, int(levels), int(n_draws), bound

    def __check_init__(self) -> None:
        for name, number, least in (("levels", self.levels, 2), ("n_draws", self.n_draws, 1)):
            if number < least:
                raise ValueError(f"{name}: expected an integer of at least {least}, got {number}.")
        if self.bound not in _BOUNDS:
            raise ValueError(f"bound: expected one of {', '.join(_BOUNDS)}, got {self.bound!r}.")
        if self.noise is not None and not self.noise.shape == self.noise.context_shape == self.flow.shape:
            raise ShapeError(
                f"noise: expected shape {self.flow.shape} given a context of shape {self.flow.shape}, the event, got "
                f"{self.noise.shape} given {self.noise.context_shape}. See dequantisation_flow."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.flow.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.flow.context_shape

    @property
    def layers(self) -> tuple[AbstractBijection, ...]:
        """The layers of the flow; see `Flow.layers`."""
        flow: Any = self.flow
        return flow.layers

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        if key is not None:
            first, second = jax.random.split(key)
            return self._log_ratio(x, context, first, second)
        keys = jax.random.split(jax.random.key(bits_of(jnp.round(x))), self.n_draws)
        # sequentially, so that memory is that of one density
        log_ratios = jax.lax.map(lambda key: self._log_ratio(x, context, key, None), keys)
        if self.bound == "importance":
            return jax.scipy.special.logsumexp(log_ratios) - math.log(self.n_draws)
        return jnp.mean(log_ratios)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        y, _ = self.flow.sample_and_log_prob_one(key, context)
        x = jnp.clip(jnp.floor(y), 0, self.levels - 1)
        return x, self.log_prob_one(x, context, None)

    def context_centred(self) -> tuple["Dequantised", np.ndarray | None]:
        inner, centre = self.flow.context_centred()
        return (self, None) if centre is None else (eqx.tree_at(lambda d: d.flow, self, inner), centre)

    def _log_ratio(
        self, x: Array, context: Array | None, noise_key: PRNGKeyArray, train_key: PRNGKeyArray | None
    ) -> Array:
        """log p(x + u) - log q(u | x) for one u."""
        if self.noise is None:
            return self.flow.log_prob_one(x + jax.random.uniform(noise_key, x.shape, x.dtype), context, train_key)
        u, log_q = self.noise.sample_and_log_prob_one(noise_key, x)
        return self.flow.log_prob_one(x + u, context, train_key) - log_q

    def check_samples(self, name: str, x: np.ndarray | Array) -> None:
        x = np.asarray(x)
        tolerance = _ULPS * np.finfo(np.float32).eps * np.maximum(np.abs(x), 1)
        bad = (np.abs(x - np.round(x)) > tolerance) | (x < -tolerance) | (x > self.levels - 1 + tolerance)
        if bad.any():
            index = np.argwhere(bad)[0]
            raise DataError(
                f"expected integers from 0 to {self.levels - 1}, got {x[tuple(index)]:g} at row {index[0]}, "
                f"index {tuple(int(n) for n in index[1:])} ({int(bad.sum())} such values). Round the data, or use the "
                "flow without Dequantised for real numbers.",
                name,
            )


def bits_per_dim(log_prob: Any, shape: tuple[int, ...]) -> Any:
    """Bits per element of an event, -log_prob / (D log 2); for integers its mean is at least their entropy.

    Args:
        log_prob: log-probability of events in nats, a number or an array.
        shape: event shape, of D elements.

    Returns:
        An array or number like `log_prob`. For `Dequantised` it is an upper bound of the bits.

    Reference: Theis, van den Oord & Bethge 2016, section 3.1.

    Example:
        >>> import math, pushforward as pf
        >>> print(pf.bits_per_dim(-4 * math.log(256), (2, 2, 1)))
        8.0
    """
    return -log_prob / (math.prod(shape) * math.log(2))
