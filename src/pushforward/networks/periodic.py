"""An autoregressive network of angles: it sees cosines and sines, so a full turn changes nothing."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.autoregressive import AbstractAutoregressiveNetwork, TransformerFn


class PeriodicInputs(AbstractAutoregressiveNetwork):
    """Autoregressive network whose coordinates are angles: theta_i = network(cos x_j, sin x_j; j of lower rank).

    Args:
        network: an autoregressive network that takes two features of each coordinate (`n_features=2`).

    Cost: a pass of the network; in order, one pass for each rank.

    Raises:
        ShapeError: if the network takes another number of features.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, section 2.3.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import MaskedMLP, PeriodicInputs
        >>> network = PeriodicInputs(MaskedMLP(3, 2, width=8, depth=1, n_features=2, key=jax.random.key(0)))
        >>> print(network(jnp.ones(3)).shape)
        (2, 3)
    """

    network: AbstractAutoregressiveNetwork
    is_periodic: ClassVar[bool] = True

    def __init__(self, network: AbstractAutoregressiveNetwork) -> None:
        self.network = network

    def __check_init__(self) -> None:
        if (found := getattr(self.network, "n_features", 1)) != 2:
            raise ShapeError(f"network: expected one of two features of each coordinate, n_features=2, got {found}.")

    @property
    def order(self) -> Int[Array, "..."]:
        return self.network.order

    @property
    def inverse_order(self) -> Int[Array, "..."]:
        return self.network.inverse_order

    @property
    def ranks(self) -> Int[Array, "..."]:
        return self.network.ranks

    @property
    def n_ranks(self) -> int:
        return self.network.n_ranks

    def parameters(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        features = jnp.stack([jnp.cos(x), jnp.sin(x)], 1).reshape(-1)
        return self.network.parameters(features, context, key=key)

    def solve(self, law: TransformerFn, weights: Any, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        ranks = self.ranks[self.order]

        def one_pass(carry: tuple[Array, Array], rank: Array) -> tuple[tuple[Array, Array], None]:
            found = law(weights, self.parameters(carry[0], context), z)
            x, log_slopes = (jnp.where(ranks == rank, new, old) for new, old in zip(found, carry, strict=True))
            return (x, log_slopes), None

        (x, log_slopes), _ = jax.lax.scan(one_pass, (jnp.zeros_like(z), jnp.zeros_like(z)), jnp.arange(self.n_ranks))
        return x, jnp.sum(log_slopes)
