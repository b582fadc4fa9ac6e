"""The protocol of autoregressive conditioners: all at once, or in order."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.networks.network import AbstractNetwork

# law(weights, parameters (P, ...), value (...)) -> (image, log-slope), element by element
TransformerFn = Callable[[Any, Array, Array], tuple[Array, Array]]


class AbstractAutoregressiveNetwork(AbstractNetwork):
    """A network whose parameters of a coordinate depend on the coordinates of lower rank, and on the context.

    *All at once*: `network(x, context)` gives the parameters (P, D) of every coordinate. *In order*:
    `network.solve(law, weights, z, context)` finds the x with x_i = law(weights, parameters_i(x, context), z_i), rank
    by rank, and reuses what it has computed for the ranks before.

    What a concrete class computes, it computes on coordinates that stand in order already: dependence is then
    triangular for every order, and weights, masks and caches need no permutation.

    Attributes:
        order: (D,), the coordinate at each place.
        inverse_order: (D,), the position of each coordinate in the order: the inverse permutation.
        ranks: (D,), when the turn of each coordinate comes; coordinates of one rank do not see each other.
        n_ranks: the number of different ranks, the length of the sequential direction.
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
        """Parameters (P, D) of all coordinates, from x (D,), both by place."""

    @abc.abstractmethod
    def solve(self, law: TransformerFn, weights: Any, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """x (D,) with x_i = law(weights, parameters_i(x, context), z_i), by place, and the sum of the log-slopes."""
