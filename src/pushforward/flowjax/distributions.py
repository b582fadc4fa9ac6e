"""A distribution of FlowJAX as one of pushforward, and the other way round."""

from typing import Any

import equinox as eqx
import flowjax.distributions
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import frozen
from pushforward.flowjax.constants import join_flowjax, join_pushforward, split_flowjax, split_pushforward
from pushforward.numerics.programs import Static


class FlowJAXDistribution(AbstractDistribution):
    """A distribution p of FlowJAX as a distribution of pushforward, or as the base of a flow.

        log p(x | context) = p.log_prob(x, context)

    Args:
        distribution: p. Its condition is the context.

    Cost: that of p.

    Raises:
        TypeError: if p is not a distribution of FlowJAX.

    Reference: Ward 2024, FlowJAX (software).

    Example:
        >>> import flowjax.distributions, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.flowjax import FlowJAXDistribution
        >>> base = FlowJAXDistribution(flowjax.distributions.Gumbel(jnp.array([0.0, 1.0])))
        >>> flow = pf.nsf(dim=2, base=base, key=0)
        >>> print(flow.sample(3, key=0).shape)
        (3, 2)
    """

    trained: flowjax.distributions.AbstractDistribution
    constants: flowjax.distributions.AbstractDistribution = frozen()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, distribution: Any) -> None:
        if not isinstance(distribution, flowjax.distributions.AbstractDistribution):
            raise TypeError(
                "distribution: expected one of FlowJAX such as flowjax.distributions.StandardNormal((2,)), got "
                f"{distribution!r}."
            )
        self.trained, self.constants = split_flowjax(distribution)
        self.shape, self.context_shape = distribution.shape, distribution.cond_shape

    @property
    def distribution(self) -> flowjax.distributions.AbstractDistribution:
        """The distribution of FlowJAX, with the present weights."""
        return join_flowjax(self.trained, self.constants)

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return self.distribution.log_prob(x, context)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        return self.distribution.sample_and_log_prob(key, (), context)


class PushforwardDistribution(flowjax.distributions.AbstractDistribution):
    """A distribution p of pushforward, such as a flow, as a distribution of FlowJAX.

        log_prob(x, condition) = log p(x | condition)

    Its methods are FlowJAX's: not compiled, and data far from zero are not centred in float64 before the cast. Frozen
    arrays are `NonTrainable`.

    Args:
        distribution: p.

    Cost: that of p.

    Raises:
        TypeError: if p is not a distribution of pushforward.

    Reference: Ward 2024, FlowJAX (software).

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.flowjax import PushforwardDistribution
        >>> print(PushforwardDistribution(pf.nsf(dim=2, key=0)).sample(jax.random.key(0), (3,)).shape)
        (3, 2)
    """

    arrays: tuple[Any, ...]  # constant ones are `NonTrainable`
    static: Static = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, distribution: Any) -> None:
        if not isinstance(distribution, AbstractDistribution):
            raise TypeError(
                f"distribution: expected one of pushforward such as pf.nsf(dim=2, key=0), got {distribution!r}."
            )
        self.arrays, self.static = split_pushforward(distribution)
        self.shape, self.cond_shape = distribution.shape, distribution.context_shape

    @property
    def distribution(self) -> AbstractDistribution:
        """The distribution of pushforward, with the present weights."""
        return join_pushforward(self.arrays, self.static)

    def _log_prob(self, x: Array, condition: Array | None = None) -> Array:
        return self.distribution.log_prob_one(x, self._context(condition), None)

    def _sample(self, key: PRNGKeyArray, condition: Array | None = None) -> Array:
        return self._sample_and_log_prob(key, condition)[0]

    def _sample_and_log_prob(self, key: PRNGKeyArray, condition: Array | None = None) -> tuple[Array, Array]:
        return self.distribution.sample_and_log_prob_one(key, self._context(condition))

    def _context(self, condition: Array | None) -> Array | None:
        return None if self.cond_shape is None else condition
