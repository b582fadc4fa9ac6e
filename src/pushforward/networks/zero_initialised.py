"""A wrapper with which any network starts at zero."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.core.network_call import call_network
from pushforward.networks.network import AbstractNetwork
from pushforward.numerics.arrays import zeros


class ZeroInitialised(AbstractNetwork):
    """Any network times trained gates that start at zero: out = gates * network(x, context).

    There is one gate for each number of the output. A layer built on the network then starts at its transformer's start
    values: a new flow is the identity. The gates move in the first training step, the network's weights from the second
    on. The dependence on x is that of the network, so an autoregressive network remains one.

    Args:
        network: a module called as network(x, context, key=...), or of one array, as `equinox.nn.MLP`.
        out_shape: shape of the output; a vector of as many numbers is reshaped.

    Cost: one pass of the network. The sequential direction of an autoregressive network takes one pass for each rank.

    Raises:
        ShapeError: at the first call, if the network's output does not fit.

    Reference: Bachlechner, Majumder, Mao, Cottrell & McAuley 2021, section 3 (gates at zero). Deviation: a gate for
    each output.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from pushforward.networks import ZeroInitialised
        >>> network = ZeroInitialised(eqx.nn.MLP(2, 6, 8, 1, key=jax.random.key(0)), (3, 2))
        >>> print(network(jnp.ones(2)).shape, bool((network(jnp.ones(2)) == 0).all()))
        (3, 2) True
    """

    network: Callable[..., Array]
    gates: Float[Array, "..."]

    def __init__(self, network: Callable[..., Array], out_shape: Sequence[int]) -> None:
        self.network, self.gates = network, zeros(tuple(out_shape))

    @property
    def ranks(self) -> Any:
        return self.network.ranks  # ty: ignore[missing-attribute]

    @property
    def is_triangular(self) -> bool:
        return getattr(self.network, "is_triangular", False)

    @property
    def is_periodic(self) -> bool:
        return getattr(self.network, "is_periodic", False)

    def __call__(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "..."]:
        return self.gates * call_network(self.network, x, context, self.gates.shape, key=key)
