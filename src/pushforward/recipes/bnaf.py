"""The block neural autoregressive flow."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import BlockAutoregressive, Repeat
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.flow import Flow
from pushforward.recipes.autoregressive_flow import Order, order_of
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.vector_flow import vector_flow


def bnaf(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 1,
    n_units: int = 8,
    depth: int = 2,
    order: Order = "reverse",
    base: AbstractDistribution | None = None,
) -> Flow:
    """Block neural autoregressive flow: each layer is one monotone triangular network, z = f(x; context).

    Density in one pass. The layer has no closed inverse: sampling solves for one coordinate after the other.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        n_layers: number of networks; a single one is a universal approximator.
        n_units: hidden units of each coordinate.
        depth: hidden layers of each network.
        context_dim, whiten, order, base: as for `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: log_prob one pass of every network of D n_units units; sample D such passes and D root searches.

    Raises:
        ValueError: if an argument is out of range.

    Reference: De Cao, Titov & Aziz 2019. Deviation: the activation is unbounded, so that the density integrates to one.

    Example:
        >>> import pushforward as pf
        >>> print(pf.bnaf(dim=2, key=0).log_prob([[0.0, 0.0]]).shape)
        (1,)
    """
    check_sizes(context_dim, dim=dim, n_layers=n_layers, n_units=n_units, depth=depth)
    layers = [
        BlockAutoregressive(
            dim, n_units=n_units, depth=depth, order=order_of(order, dim, index), context_dim=context_dim,
            key=jax.random.fold_in(as_key(key), index),
        )
        for index in range(n_layers)
    ]  # fmt: skip
    return vector_flow([Repeat(layers)], whiten, base)
