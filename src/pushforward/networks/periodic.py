"""An autoregressive network of angles: its inputs are cosines and sines, so its output is periodic."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.errors import ShapeError
from pushforward.networks.autoregressive import AbstractAutoregressiveNetwork, TransformerFn


class PeriodicInputs(AbstractAutoregressiveNetwork):
    """Autoregressive network whose coordinates are angles: theta_i = network(cos x_j, sin x_j; j of lower rank).

    Args:
        network: an autoregressive network of two input features per coordinate (`n_features=2`).

    Cost: one pass of the network; sequential direction one pass for each rank.

    Raises:
        ShapeError: if the network has another number of input features.

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
        if (n_features := getattr(self.network, "n_features", 1)) != 2:
            raise ShapeError(f"network: expected one with n_features=2, got {n_features}.")

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

    def solve(
        self, transformer_fn: TransformerFn, weights: Any, z: Array, context: Array | None = None
    ) -> tuple[Array, Array]:
        ranks = self.ranks[self.order]

        def one_pass(carry: tuple[Array, Array], rank: Array) -> tuple[tuple[Array, Array], None]:
            result = transformer_fn(weights, self.parameters(carry[0], context), z)
            x, log_slopes = (jnp.where(ranks == rank, new, old) for new, old in zip(result, carry, strict=True))
            return (x, log_slopes), None

        (x, log_slopes), _ = jax.lax.scan(one_pass, (jnp.zeros_like(z), jnp.zeros_like(z)), jnp.arange(self.n_ranks))
        return x, jnp.sum(log_slopes)
