"""A base distribution whose parameters depend on the context."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.conditional import shift_leaves
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.fields import count_parameters
from pushforward.core.network_call import call_network, check_output
from pushforward.errors import ShapeError


class ConditionalBase(AbstractDistribution):
    """A base made conditional: log p(x | c) = log p_base(x; theta + network(c)).

    The network's output is split and added to the trained leaves of the base; zero output leaves the base unchanged.
    The counterpart for bijections is `Conditional`.

    Args:
        base: an unconditional distribution with trained leaves: `MultivariateNormal`, `StudentT`, a `Mixture`, ...
        network: maps a context to a vector of `count_parameters(base)` numbers.
        context_shape: shape of the context.

    Cost: one pass of the network, then that of the base, to score and to sample.

    Raises:
        ShapeError: if the base is conditional already, has nothing to train, or the network's output does not fit.

    Reference: Winkler, Worrall, Hoogeboom & Welling 2019, section 3 (conditional base).

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> network = pf.networks.MLP(3, (5,), width=8, depth=1, key=jax.random.key(0))
        >>> base = pf.bases.ConditionalBase(pf.bases.MultivariateNormal(2), network, context_shape=(3,))
        >>> print(f"{base.log_prob(jnp.zeros(2), jnp.ones(3)):.4f}")
        -1.8379
    """

    base: AbstractDistribution
    network: Callable[..., Array]
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self, base: AbstractDistribution, network: Callable[..., Array], context_shape: tuple[int, ...]
    ) -> None:
        self.base, self.network, self.context_shape = base, network, tuple(context_shape)

    def __check_init__(self) -> None:
        name = type(self.base).__name__
        if self.base.context_shape is not None:
            raise ShapeError(f"base: expected an unconditional distribution, but {name} is conditional.")
        expected = count_parameters(self.base)
        if expected == 0:
            raise ShapeError(
                f"base: {name} has no trained leaves for a context to act on. Use MultivariateNormal, StudentT or a "
                "Mixture, or make the bijection conditional."
            )
        meaning = f"one number for each trained number of {name}"
        check_output(self.network, self.context_shape or (), None, (expected,), meaning)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return self._at(context).log_prob_one(x, None, key)

    def sample_and_log_prob_one(self, key: PRNGKeyArray, context: Array | None) -> tuple[Array, Array]:
        return self._at(context).sample_and_log_prob_one(key, None)

    def _at(self, context: Any) -> AbstractDistribution:
        return shift_leaves(self.base, call_network(self.network, context, None, None))
