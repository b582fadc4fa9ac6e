"""The protocol of autoregressive conditioners: a parallel pass and a sequential solve."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.networks.network import AbstractNetwork

# transformer_fn(weights, parameters (P, ...), value (...)) -> (value, log-slope), element by element
TransformerFn = Callable[[Any, Array, Array], tuple[Array, Array]]


class AbstractAutoregressiveNetwork(AbstractNetwork):
    """A network whose parameters of coordinate i depend on the coordinates of lower rank and on the context.

    *Parallel*: `network(x, context)` returns the parameters (P, D) of all coordinates in one pass. *Sequential*:
    `network.solve(transformer_fn, weights, z, context)` returns the x with
    x_i = transformer_fn(weights, parameters_i(x, context), z_i), rank by rank, and caches what lower ranks computed.

    Concrete classes implement `parameters` and `solve` on coordinates sorted by `order`: the dependence is then
    triangular for every order, and weights, masks and caches need no permutation.

    Attributes:
        order: (D,), the coordinate at each position.
        inverse_order: (D,), the position of each coordinate: the inverse permutation.
        ranks: (D,), the step at which each coordinate is computed; coordinates of equal rank do not depend on each
            other.
        n_ranks: number of distinct ranks, the length of the sequential direction.
    """

    order: eqx.AbstractVar[Int[Array, "..."]]
    inverse_order: eqx.AbstractVar[Int[Array, "..."]]
    ranks: eqx.AbstractVar[Int[Array, "..."]]
    n_ranks: eqx.AbstractVar[int]

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        """Parameters (P, D) of all coordinates, from x (D,)."""
        return self.parameters(x[self.order], context, key=key)[:, self.inverse_order]

    @abc.abstractmethod
    def parameters(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        """Parameters (P, D) of all coordinates, from x (D,), both sorted by `order`."""

    @abc.abstractmethod
    def solve(
        self, transformer_fn: TransformerFn, weights: Any, z: Array, context: Array | None = None
    ) -> tuple[Array, Array]:
        """x (D,) with x_i = transformer_fn(weights, parameters_i(x, context), z_i), sorted by `order`, and the
        log-determinant.
        """
