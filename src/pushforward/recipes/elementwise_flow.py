"""The element-wise flow: one scalar map per coordinate."""

import functools

import jax
from jaxtyping import PRNGKeyArray

from pushforward.bijections import Elementwise
from pushforward.bijections.scalar import transformer_named
from pushforward.core.bijection import AbstractBijection
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow
from pushforward.networks import MLP
from pushforward.networks.activations import Activation
from pushforward.numerics.keys import as_key
from pushforward.recipes.checks import check_sizes
from pushforward.recipes.network_factory import NetworkFactory, check_has_network, network_arguments, repeated
from pushforward.recipes.vector_flow import conditional, vector_flow


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
    activation: Activation = "relu",
    network: NetworkFactory | None = None,
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
        network: makes a network of the context for each layer instead: called as network(context_dim, out_shape,
            context_size=0, key=...), see `coupling_flow`.
        base: distribution of shape (dim,); standard normal by default, uniform on circles.

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
    network_arguments(elementwise_flow, locals())
    check_has_network(network, context_dim)
    check_sizes(context_dim, dim=dim, n_layers=n_layers, width=width, depth=depth)
    transformer = transformer_named(transformer)
    layer = Elementwise(transformer, (dim,))
    make = network or functools.partial(MLP, width=width, depth=depth, activation=activation)
    keys = [jax.random.fold_in(as_key(key), index) for index in range(n_layers)]
    layers = [conditional(layer, context_dim, key, make) for key in keys]
    return vector_flow([repeated(layers, network)], whiten, base, transformer)
