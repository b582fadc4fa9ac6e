"""The element-wise flow: one scalar map per coordinate."""

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bases import Normal
from pushforward.bijections import Chain, Conditional, Elementwise, Repeat
from pushforward.bijections.scalar import transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.fields import count_parameters
from pushforward.core.flow import Flow
from pushforward.networks import MLP
from pushforward.recipes.checks import check_count
from pushforward.recipes.outer_layers import outer_layers


def elementwise_flow(
    dim: int,
    *,
    key: PRNGKeyArray | int,
    transformer: str | AbstractBijection = "rational_quadratic",
    context_dim: int | None = None,
    whiten: bool = False,
    n_layers: int = 1,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    base: AbstractDistribution | None = None,
) -> Flow:
    """Element-wise flow: x_i = mean_i + scale_i h(z_i; theta_i(context)). Models marginals without dependence.

    Args:
        dim: number of coordinates D.
        key: a JAX key or an int, for the context networks.
        transformer: h, a name in `pushforward.bijections.TRANSFORMERS` or a scalar bijection.
        context_dim: length of the context, or None. With a context every layer has a network.
        whiten: an outer full-covariance `Whiten` layer, which `fit` fills: training then starts from the Gaussian of
            the data instead of independent columns.
        n_layers: number of element-wise layers.
        width, depth, activation: of the context networks.
        base: distribution of shape (dim,); standard normal by default.

    Returns:
        A flow of shape (dim,).

    Cost: D evaluations of h in each direction and layer.

    Raises:
        ValueError: if an argument is out of range.

    Reference: Kobyzev, Prince & Brubaker 2021, section 3.1.

    Example:
        >>> import pushforward as pf
        >>> print(pf.elementwise_flow(dim=1, key=0).sample(4, key=1).shape)
        (4, 1)
    """
    check_count(dim=dim, n_layers=n_layers, width=width, depth=depth)
    transformer = transformer_named(transformer)
    layers: list[AbstractBijection] = []
    for index in range(n_layers):
        layer: AbstractBijection = Elementwise(transformer, (dim,))
        if context_dim is not None:
            check_count(context_dim=context_dim)
            out, layer_key = (count_parameters(layer),), jax.random.fold_in(as_key(key), index)
            network = MLP(context_dim, out, width=width, depth=depth, activation=activation, key=layer_key)
            layer = Conditional(layer, network, (context_dim,))
        layers.append(layer)
    return Flow(base or Normal((dim,)), Chain([Repeat(layers), *outer_layers(dim, whiten)]))
