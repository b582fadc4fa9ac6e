"""The transformer flow: autoregressive layers with causal attention."""

from jaxtyping import PRNGKeyArray

from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks.activations import Activation
from pushforward.recipes.autoregressive_flow import Order, autoregressive_flow
from pushforward.recipes.checks import check_count
from pushforward.recipes.network_factory import NetworkFactory, network_arguments

_MOST_TOKENS = 16  # by default: the cost of a layer grows with them, and each is a step of sampling


def transformer_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "affine",
    context_dim: int | None = None,
    whiten: bool | None = None,
    n_layers: int = 4,
    width: int = 64,
    depth: int = 2,
    n_heads: int = 4,
    token_size: int | None = None,
    activation: Activation = "gelu",
    order: Order = "reverse",
    method: str | None = None,
    network: NetworkFactory | None = None,
    start_at_identity: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    """Autoregressive flow whose conditioners are causal transformers over blocks of coordinates (tokens).

        x_i = h(z_i; theta_i(tokens before that of i, context)) in each of n_layers layers

    Density in one pass; sampling token by token with cached keys and values. With `token_size` above 1 the
    coordinates of a token are independent within a layer, and the stack mixes them through the reversed orders.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection.
        width: size of a token's representation, a multiple of `n_heads`.
        depth: transformer blocks in each layer.
        n_heads: attention heads.
        token_size: coordinates in a token; by default the least number that makes at most 16 tokens.
        context_dim, whiten, n_layers, activation, order, method, network, start_at_identity, base: as for
            `autoregressive_flow`.

    Returns:
        A flow of shape (dim,).

    Cost: with T = dim / token_size tokens, log_prob O(T width^2 + T^2 width) a block; sample the same in T steps.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Zhai et al. 2025, section 2; Patacchiola, Shysheya, Hofmann & Turner 2024.

    Example:
        >>> import pushforward as pf
        >>> print(pf.transformer_flow(dim=4, token_size=2, key=0).sample(3, key=1).shape)
        (3, 4)
    """
    arguments = network_arguments(transformer_flow, locals())
    if network is not None:
        return autoregressive_flow(**arguments)
    if token_size is None:
        check_count(dim=dim)
        arguments["token_size"] = -(-dim // _MOST_TOKENS)
    return autoregressive_flow(**arguments, conditioner="attention")
