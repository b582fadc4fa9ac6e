"""An autoregressive network of angles: its inputs are cosines and sines, so its output is periodic."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.network_call import call_network
from pushforward.errors import ShapeError
from pushforward.networks.network import AbstractNetwork


class PeriodicInputs(AbstractNetwork):
    """Autoregressive network whose coordinates are angles: theta_i = network(cos x_j, sin x_j; j of lower rank).

    Args:
        network: an autoregressive network of two input features per coordinate, called as network(features, context,
            key=...) with (cos x_0, sin x_0, cos x_1, ...); one of the library with `n_features=2`, or one's own.

    Cost: one pass of the network; sequential direction one pass for each rank.

    Raises:
        ShapeError: if the network has another number of input features.

    Reference: Rezende, Papamakarios, Racaniere et al. 2020, section 2.3.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.networks import MaskedMLP, PeriodicInputs
        >>> network = PeriodicInputs(MaskedMLP(3, (2, 3), width=8, depth=1, n_features=2, key=jax.random.key(0)))
        >>> print(network(jnp.ones(3)).shape)
        (2, 3)
    """

    network: Callable[..., Array]
    is_periodic: ClassVar[bool] = True

    def __init__(self, network: Callable[..., Array]) -> None:
        self.network = network

    def __check_init__(self) -> None:
        if (n_features := getattr(self.network, "n_features", 2)) != 2:
            raise ShapeError(f"network: expected one with n_features=2, got {n_features}.")

    @property
    def ranks(self) -> Any:
        return self.network.ranks  # ty: ignore[missing-attribute]

    @property
    def n_ranks(self) -> int:
        return self.network.n_ranks  # ty: ignore[missing-attribute]

    @property
    def is_triangular(self) -> bool:
        return getattr(self.network, "is_triangular", False)

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        features = jnp.stack([jnp.cos(x), jnp.sin(x)], 1).reshape(-1)
        return call_network(self.network, features, context, None, key=key)
