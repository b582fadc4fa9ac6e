"""Estimators of log|det(I + J)|, J the Jacobian of a contraction: exact, truncated, or Russian roulette.

    log|det(I + J)| = sum over k >= 1 of (-1)^(k+1) / k tr(J^k),       tr(A) = E[v^T A v]  for E[v v^T] = I

The series converges as the spectral radius of J is below one. Its gradient is E[w^T (dJ) v] with w = (I + J)^-T v, the
Neumann series sum (-1)^k (J^T)^k v: n terms of both series are sums of the same n - 1 products. The backward pass
stores nothing of their loop, so that memory does not grow with the number of terms.

The first derivative of an estimate is this estimate of the gradient, from the same v: it equals the derivative of the
estimated value in expectation, not for each v. Second derivatives are exactly those of the estimated gradient. Russian
roulette has them by forward mode over reverse; reverse over reverse is an error.
"""

import abc
import math
import warnings
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from pushforward.bijections.residual.power_series import power_series
from pushforward.bijections.residual.probes import check_probes, checked_key, draw_probes
from pushforward.errors import ShapeError
from pushforward.networks import AbstractLipschitzNetwork

_DISTRIBUTIONS = ("geometric", "poisson")


class AbstractLogDet(eqx.Module):
    """An estimator of the log-determinant of x -> x + g(x), which also returns g(x).

    Attributes:
        is_random: whether it is random and needs a key.
    """

    is_random: ClassVar[bool] = True

    @abc.abstractmethod
    def __call__(
        self,
        network: AbstractLipschitzNetwork,
        z: Array,
        context: Array | None,
        key: PRNGKeyArray | None,
        *,
        is_shared: bool = False,
    ) -> tuple[Array, Array]:
        """g(z) and the log-determinant of one sample.

        Args:
            network: g.
            z: one sample.
            context: of the network, or None.
            key: for random estimators.
            is_shared: whether all samples of a batch use the number of terms that the first one draws. Each estimate
                stays unbiased; otherwise a batch takes as long as its largest number of terms.
        """

    def check_size(self, size: int) -> None:
        """Raise if the estimator does not support this number of coordinates."""


class Exact(AbstractLogDet):
    """The logarithm of the determinant of the full Jacobian, by forward-mode differentiation.

    Cost: D tangents through the network and O(D^3).

    Reference: the determinant is the definition; formulas for D = 1, 2, an LU decomposition above.

    Example:
        >>> from pushforward.bijections import Exact
        >>> Exact().is_random
        False
    """

    is_random: ClassVar[bool] = False

    def __call__(
        self,
        network: AbstractLipschitzNetwork,
        z: Array,
        context: Array | None,
        key: PRNGKeyArray | None,
        *,
        is_shared: bool = False,
    ) -> tuple[Array, Array]:
        value, push = jax.linearize(lambda z: network(z.reshape(network.shape), context).reshape(-1), z.reshape(-1))
        jacobian = jax.vmap(push, out_axes=1)(jnp.eye(z.size, dtype=z.dtype))
        return value.reshape(z.shape), _log_det_of_identity_plus(jacobian)


class PowerSeries(AbstractLogDet):
    """The first terms of the power series, with traces estimated by probes; biased by the omitted terms.

        sum over k = 1 .. n of (-1)^(k+1) / k v^T J^k v,        |bias| <= D L^(n+1) / ((n + 1) (1 - L))

    Args:
        n_terms: n.
        probe: "gaussian", "rademacher", or "orthogonal".
        n_probes: number of v in the average.

    Cost: n products with the Jacobian or its transpose for each probe.

    Raises:
        ValueError: if a number is not positive or the probe is unknown.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, section 3.2; bias: theorem 4.

    Example:
        >>> from pushforward.bijections import PowerSeries
        >>> PowerSeries(8).n_terms
        8
    """

    n_terms: int = eqx.field(static=True)
    probe: str = eqx.field(static=True)
    n_probes: int = eqx.field(static=True)

    def __init__(self, n_terms: int = 10, *, probe: str = "gaussian", n_probes: int = 1) -> None:
        self.n_terms, self.probe, self.n_probes = n_terms, probe, n_probes

    def __check_init__(self) -> None:
        if self.n_terms < 1:
            raise ValueError(f"n_terms: expected at least 1, got {self.n_terms}.")
        check_probes(self.probe, self.n_probes)

    def check_size(self, size: int) -> None:
        _check_orthogonal(self.probe, self.n_probes, size)

    def __call__(
        self,
        network: AbstractLipschitzNetwork,
        z: Array,
        context: Array | None,
        key: PRNGKeyArray | None,
        *,
        is_shared: bool = False,
    ) -> tuple[Array, Array]:
        probes = draw_probes(self.probe, self.n_probes, z.size, z.dtype, key)
        return power_series(network, z, context, probes, self.n_terms, lambda k: jnp.ones((), z.dtype))


class RussianRoulette(AbstractLogDet):
    """The power series with a random number of terms, unbiased: term k is divided by P(N >= k).

        sum over k = 1 .. N of (-1)^(k+1) / (k P(N >= k)) v^T J^k v,       N = n_exact + extra

    geometric: P(extra >= j) = q^j. The variance is finite for every J of norm up to L if q > L^2; by default q is
    (1 + L^2) / 2, with L of the network. poisson: the published choice; P(extra >= j) falls faster than any L^2j, so
    that the variance is *infinite* in the worst case and estimates may have rare and huge errors: the constructor
    warns.

    Args:
        distribution: of the number of terms, "geometric" or "poisson".
        continuation: q of the geometric distribution in (0, 1), or None to derive it from the network.
        rate: mean of the Poisson distribution.
        n_exact: number of terms that are always included.
        probe: "gaussian", "rademacher", or "orthogonal".
        n_probes: number of v in the average.

    Cost: N products with the Jacobian or its transpose for each probe, n_exact + q / (1 - q) on average.

    Raises:
        ValueError: if an argument is out of range or a name unknown.

    Reference: Chen, Behrmann, Duvenaud & Jacobsen 2019, section 3.1, theorems 1 and 2 (with the Neumann gradient);
        Kahn 1955. Deviation: q derived from L.

    Example:
        >>> from pushforward.bijections import RussianRoulette
        >>> RussianRoulette(n_exact=4).distribution
        'geometric'
    """

    distribution: str = eqx.field(static=True)
    continuation: float | None = eqx.field(static=True)
    rate: float = eqx.field(static=True)
    n_exact: int = eqx.field(static=True)
    probe: str = eqx.field(static=True)
    n_probes: int = eqx.field(static=True)

    def __init__(
        self,
        distribution: str = "geometric",
        *,
        continuation: float | None = None,
        rate: float = 2.0,
        n_exact: int = 4,
        probe: str = "gaussian",
        n_probes: int = 1,
    ) -> None:
        self.distribution, self.continuation, self.rate = distribution, continuation, float(rate)
        self.n_exact, self.probe, self.n_probes = n_exact, probe, n_probes
        if distribution == "poisson":
            warnings.warn(
                "distribution='poisson': the variance of this estimator is infinite in the worst case; "
                "distribution='geometric' with its default continuation keeps it finite.",
                stacklevel=2,
            )

    def __check_init__(self) -> None:
        if self.distribution not in _DISTRIBUTIONS:
            raise ValueError(f"distribution: expected one of {', '.join(_DISTRIBUTIONS)}, got {self.distribution!r}.")
        if self.continuation is not None and not 0 < self.continuation < 1:
            raise ValueError(f"continuation: expected a number between 0 and 1, got {self.continuation}.")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise ValueError(f"rate: expected a positive number, got {self.rate}.")
        if self.n_exact < 0:
            raise ValueError(f"n_exact: expected at least 0, got {self.n_exact}.")
        check_probes(self.probe, self.n_probes)

    def check_size(self, size: int) -> None:
        _check_orthogonal(self.probe, self.n_probes, size)

    def continues(self, lipschitz: float) -> float:
        """q, for a network of this bound."""
        return (1 + lipschitz**2) / 2 if self.continuation is None else self.continuation

    def __call__(
        self,
        network: AbstractLipschitzNetwork,
        z: Array,
        context: Array | None,
        key: PRNGKeyArray | None,
        *,
        is_shared: bool = False,
    ) -> tuple[Array, Array]:
        key_number, key_probes = jax.random.split(checked_key(key))
        q = self.continues(network.lipschitz)
        if self.distribution == "geometric":
            # floor(log u / log q) is at least j with probability q^j
            uniform = 1 - jax.random.uniform(key_number, (), z.dtype)
            extra = jnp.floor(jnp.log(uniform) / math.log(q)).astype(jnp.int32)
        else:
            extra = jax.random.poisson(key_number, self.rate, (), jnp.int32)
        number = self.n_exact + (_of_first_sample(extra) if is_shared else extra)

        def survival(k: Array) -> Array:
            """P(N >= k)."""
            j = jnp.maximum(k - self.n_exact, 0).astype(z.dtype)
            if self.distribution == "geometric":
                return jnp.exp(j * math.log(q))
            tail = jax.scipy.special.gammainc(jnp.maximum(j, 1), jnp.asarray(self.rate, z.dtype))
            return jnp.where(j > 0, tail, 1)

        probes = draw_probes(self.probe, self.n_probes, z.size, z.dtype, key_probes)
        return power_series(network, z, context, probes, number, survival)


@jax.custom_batching.custom_vmap
def _of_first_sample(number: Int[Array, ""]) -> Int[Array, ""]:
    """A number; in a batch, that of the first sample for all."""
    return number


@_of_first_sample.def_vmap
def _batched(axis_size: int, is_batched: list[bool], number: Array) -> tuple[Array, bool]:
    return (number[0], False) if is_batched[0] else (_of_first_sample(number), False)


def _log_det_of_identity_plus(jacobian: Array) -> Array:
    """log det(I + J) of a contraction J; for D <= 2 by a formula that keeps the digits of a small J."""
    if len(jacobian) == 1:
        return jnp.log1p(jacobian[0, 0])
    if len(jacobian) == 2:
        (a, b), (c, d) = jacobian
        return jnp.log1p(a + d + (a * d - b * c))
    return jnp.linalg.slogdet(jacobian + jnp.eye(len(jacobian), dtype=jacobian.dtype))[1]


def _check_orthogonal(probe: str, n_probes: int, size: int) -> None:
    if probe == "orthogonal" and n_probes > size:
        raise ShapeError(
            f"n_probes: expected at most {size} orthogonal probes, the number of coordinates, got {n_probes}."
        )
